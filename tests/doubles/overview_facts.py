"""Datasets as steps leave them, without a network: what the tests of the overview ask about."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

import unseen
from unseen.annotation import sendings, truth
from unseen.dataset import writing
from unseen.dataset.fields import SENT, Names
from unseen.dataset.loop import Loop
from unseen.loop import overview
from unseen.loop.facts import read_facts, read_records
from unseen.steps.request_annotations import RequestConfig

NAMES = Names()
CLASSES = ("particle", "scratch", "stain")
MARK = "abcdef012345"


def loop_of(dataset):
    return Loop(dataset, NAMES)


def all_answers(dataset, names=None):
    """Every question, checked for plain JSON and for counts that add up."""
    answers = [f(dataset, names) for f in (overview.now, overview.ranking, overview.progress)]
    now, ranking, progress = answers
    advice = overview.stopping(progress, ranking, now)
    json.dumps([a.to_dict() for a in (*answers, advice)], allow_nan=False)
    places = ("labelled", "pool", "out", "excluded", "test")
    assert sum(getattr(now.counts, part) for part in places) == len(dataset)
    return now, ranking, progress, advice


def score(dataset, ids, rng, mark=MARK):
    """What scoring leaves, without a network."""
    loop = loop_of(dataset)
    writing.declare_score_fields(loop)
    scores = {
        i: {
            **{m: float(rng.gamma(2)) for m in overview.ALL_METRICS},
            "model": mark,
            "expected_counts": [1.0, 1.0, 1.0],
            "embedding": np.ones(4, np.float32),
            "heatmap": None,
            "regions": [(0.1, 0.1, 0.1, 0.1, 0.5)] * 3,
        }
        for i in ids
    }
    writing.save_scores(loop, scores)


def learned(dataset, **more):
    """The entry of a model that learned the labels as they are, and the facts of its record."""
    facts = loop_of(dataset).label_facts()
    labelled = [facts["labelled_images"], sum(facts["class_counts"].values())]
    return {"labelled": labelled, "parameters": {}, **more}, facts


def record_unet(dataset, iteration, digest=MARK * 5):
    entry, facts = learned(dataset, digest=digest, classes=[], steps=1, working_scale=1)
    entry["parameters"] = {"mode": "default"}
    loop_of(dataset).write_entry(iteration, "train_unet", entry, **facts)


def begin(make_wafers, rng):
    """Split, initial images labelled, pool scored: 4 labelled, 26 in the pool, 5 test images."""
    dataset = make_wafers(30, labelled=4, test=5)
    unseen.split_dataset(dataset, initial=4)
    record_unet(dataset, 0)
    score(dataset, loop_of(dataset).pool.values("id"), rng)
    entry = {"digest": MARK * 5, "classes": [], "parameters": {}, "mean_score": 0.01}
    loop_of(dataset).write_entry(0, "score_samples", entry)
    return dataset


def predict(dataset, rng, iteration=0, quality=0.7, names=NAMES, classes=CLASSES):
    """Predictions that are shaken ground truth and noise, recorded and evaluated."""
    loop, field = Loop(dataset, names), names.predictions(iteration)
    writing.declare_detections(loop, field, "test")
    predictions = {}
    for sample in dataset.match_tags("test"):
        boxes = [
            (d.label, np.abs(np.asarray(d.bounding_box) + rng.normal(0, 0.01, 4)), rng.random())
            for d in sample.ground_truth.detections
            if rng.random() < quality
        ]
        for _ in range(2):
            box = (*rng.uniform(0, 0.7, 2), *rng.uniform(0.05, 0.2, 2))
            boxes.append((str(rng.choice(classes)), box, rng.random()))
        predictions[sample.id] = boxes
    writing.save_detections(dataset, field, predictions)
    entry, facts = learned(dataset, classes=list(classes))
    loop.write_entry(iteration, "train_detector", entry, **facts)
    loop.write_entry(iteration, "apply_detector", {"parameters": {"target": "test"}})
    place = {"series": names.series, "label_field": names.label_field}
    return unseen.evaluate_detector(dataset, gt_field="ground_truth", iteration=iteration, **place)


def facts_of(dataset):
    loop = loop_of(dataset)
    return read_facts(loop, read_records(loop))


def hand_out(dataset, number, backend="app"):
    """A batch that is out, without a server."""
    loop, key = loop_of(dataset), NAMES.anno_key(number)
    ids = dataset.match_tags(NAMES.batch(number)).values("id")
    truth.declare_fields(loop)
    truth.write(loop, key, {i: truth.Update(state=SENT, base=[]) for i in ids})
    config = RequestConfig(backend=backend)
    sending = sendings.begin(loop, config, key, number, CLASSES)
    sendings.write_sending(loop, replace(sending, sample_ids=ids, complete=True))
    return ids
