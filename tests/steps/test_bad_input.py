"""Every bad input ends in an error that names the value and the way out, and changes nothing."""

from __future__ import annotations

import json
import math
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fiftyone as fo
import pytest
from quick_steps import contents

import unseen
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import (
    BudgetError,
    CheckpointError,
    ConfigError,
    DatasetError,
    LabelError,
    LockedError,
)

pytestmark = pytest.mark.fiftyone

UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}


def test_a_dataset_that_does_not_exist_is_named_with_what_there_is(wafers):
    with pytest.raises(DatasetError, match=rf"'{wafers.name}x' does not exist.*{wafers.name}"):
        unseen.train_unet(wafers.name + "x")


@pytest.mark.parametrize("kind", ["video", "point-cloud"])
def test_a_dataset_of_other_media_is_refused(tmp_path, empty, kind):
    name = "a.mp4" if kind == "video" else "a.pcd"
    empty.add_sample(fo.Sample(filepath=str(tmp_path / name)))
    for step in ("screen_images", "split_dataset", "train_unet", "score_samples", "select_batch"):
        with pytest.raises(DatasetError, match=rf"holds '{kind}' media; expected images"):
            getattr(unseen, step)(empty)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"no labelled images in field 'ground_truth'.*initial"),
        (fo.Detections(), r"4 labelled images hold no usable box"),
    ],
)
def test_training_without_labels_or_boxes_says_what_to_do(make_wafers, labels, message):
    dataset = make_wafers(4, labelled=0, test=0)
    dataset.set_values("ground_truth", [labels] * 4)
    before = contents(dataset)
    with pytest.raises(LabelError, match=message):
        unseen.train_unet(dataset, **UNET)
    with pytest.raises(LabelError, match=message):
        unseen.train_detector(dataset, steps=1, architecture="small", classes=("particle",))
    assert contents(dataset) == before


def test_a_label_field_of_the_wrong_type_is_refused(wafers):
    wafers.set_values("kind", [fo.Classification(label="a")] * len(wafers))
    with pytest.raises(DatasetError, match=r"'kind' holds Classification; expected Detections"):
        unseen.train_unet(wafers, label_field="kind")
    with pytest.raises(DatasetError, match=r"no label field 'nothing'.*ground_truth"):
        unseen.train_unet(wafers, label_field="nothing")
    with pytest.raises(DatasetError, match=r"'filepath' holds StringField"):
        unseen.train_unet(wafers, label_field="filepath")


@pytest.mark.parametrize("name", ["unseen", "background", "Background"])
def test_a_reserved_class_name_is_refused(wafers, name):
    wafers.map_labels("ground_truth", {"particle": name}).save()
    with pytest.raises(LabelError, match=rf"class '{name}' has a name that the ranking uses"):
        unseen.train_unet(wafers, **UNET)
    with pytest.raises(LabelError, match=rf"class '{name}'"):
        unseen.train_detector(wafers, steps=1, architecture="small")


def test_bad_boxes_are_dropped_and_counted(wafers):
    sample = wafers.match_tags("test", bool=False).exists("ground_truth").first()
    boxes = {
        "clipped": [0.9, 0.9, 0.3, 0.3],
        "outside": [1.5, 0.1, 0.2, 0.2],
        "empty": [0.5, 0.5, 0.0, 0.2],
        "not finite": [math.nan, 0.1, 0.2, 0.2],
    }
    inside = [0.1, 0.1, 0.2, 0.2]
    odd = [
        *(fo.Detection(label="particle", bounding_box=box) for box in boxes.values()),
        fo.Detection(label="particle"),
        fo.Detection(label="", bounding_box=inside),
        fo.Detection(bounding_box=inside),
    ]
    sample.ground_truth = fo.Detections(detections=odd)
    sample.save()
    result = unseen.train_unet(wafers, **UNET)
    problems = {**dict.fromkeys(boxes, 1), "without a class or a place": 3}
    assert result.box_problems == problems
    assert "" not in Loop(wafers).classes()
    good = wafers.match_tags("test", bool=False).count("ground_truth.detections") - 6
    assert result.boxes == sum(result.class_counts.values()) == good
    detector = unseen.train_detector(wafers, steps=1, architecture="small")
    assert detector.box_problems == result.box_problems


def test_a_report_draws_the_labels_that_there_are(scored, tmp_path):
    unseen.select_batch(scored, budget=2)
    sample = scored.match_tags("batch_01").first()
    inside = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.2, 0.2])
    sample.ground_truth = fo.Detections(detections=[fo.Detection(label="particle"), inside])
    sample.save()
    assert unseen.compare_iterations(scored, output=tmp_path / "report").pictures
    scored.delete_sample_field("ground_truth")
    assert unseen.compare_iterations(scored).pictures


def test_unreadable_images_are_skipped_singly_and_listed(wafers):
    pool = wafers.match_tags("test", bool=False).exists("ground_truth", False).sort_by("filepath")
    truncated, missing, text = (Path(p) for p in pool.values("filepath")[:3])
    data = truncated.read_bytes()
    truncated.write_bytes(data[: len(data) // 2])
    missing.unlink()
    text.write_text("not an image")
    labelled = wafers.match_tags("test", bool=False).exists("ground_truth").sort_by("filepath")
    Path(labelled.first().filepath).unlink()
    test = Path(wafers.match_tags("test").first().filepath)
    test.write_bytes(test.read_bytes()[:200])

    screened = unseen.screen_images(wafers)
    assert screened.excluded["unreadable"] == 5
    wafers.untag_samples("excluded")

    trained = unseen.train_unet(wafers, **UNET)
    assert (trained.images, len(trained.skipped)) == (3, 1)
    assert "no such file" in trained.skipped[0].reason
    scored = unseen.score_samples(wafers)
    assert scored.scored == 5
    assert {s.filepath for s in scored.skipped} == {str(truncated), str(missing), str(text)}
    assert unseen.select_batch(wafers, budget=2).unscored == 3
    unseen.train_detector(wafers, steps=1, architecture="small")
    applied = unseen.apply_detector(wafers)
    assert (applied.images, [s.filepath for s in applied.skipped]) == (3, [str(test)])
    assert unseen.evaluate_detector(wafers).images == 3


def test_an_empty_pool_is_said(make_wafers):
    dataset = make_wafers(4, labelled=4, test=2)
    unseen.train_unet(dataset, **UNET)
    before = contents(dataset)
    with pytest.raises(DatasetError, match=r"nothing to score: the pool"):
        unseen.score_samples(dataset)
    for strategy in ("random", "sequential"):
        with pytest.raises(BudgetError, match=r"pool of dataset .* is empty"):
            unseen.select_batch(dataset, strategy=strategy)
    assert contents(dataset) == before


def test_a_budget_beyond_the_pool_is_said(scored):
    before = contents(scored)
    for strategy in ("diverse", "balanced", "random", "sequential", "entropy"):
        with pytest.raises(BudgetError, match=r"budget 9 exceeds the 8 unlabelled images"):
            unseen.select_batch(scored, budget=9, strategy=strategy)
    with pytest.raises(BudgetError, match=r"initial=13 exceeds the 12 images"):
        unseen.split_dataset(scored, initial=13)
    assert contents(scored) == before


def test_ranking_without_scores_or_with_old_ones_says_what_to_do(wafers, scored):
    with pytest.raises(LabelError, match=r"no UNet has been trained"):
        unseen.score_samples(wafers)
    with pytest.raises(DatasetError, match=r"has been scored yet"):
        unseen.select_batch(wafers, budget=2)
    unseen.train_unet(scored, seed=1, **UNET)
    with pytest.raises(DatasetError, match=r"older than the newest UNet"):
        unseen.select_batch(scored, budget=2)


def test_a_damaged_checkpoint_is_refused(wafers, tmp_path):
    path = Path(unseen.train_unet(wafers, **UNET).checkpoint)
    sidecar = path.with_suffix(".json")
    data, text = path.read_bytes(), sidecar.read_text()
    foreign = json.loads(text)
    foreign["spec"]["classes"] = ["other"]
    cases = [
        (path, data[:-100], r"truncated or changed"),
        (path, data[:-1] + bytes([data[-1] ^ 1]), r"SHA-256"),
        (path, None, r"No such file"),
        (sidecar, b"{", r"cannot be read"),
        (sidecar, None, r"needs its JSON sidecar"),
        (sidecar, json.dumps(foreign).encode(), r"do not fit"),
    ]
    for file, content, message in cases:
        before = file.read_bytes()
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            unseen.score_samples(wafers)
        file.write_bytes(before)
    with pytest.raises(CheckpointError, match=r"nothing.safetensors"):
        unseen.score_samples(wafers, checkpoint=str(tmp_path / "nothing.safetensors"))
    assert unseen.score_samples(wafers).scored == 8


def test_a_detector_of_another_class_list_or_kind_is_refused(make_wafers):
    other = make_wafers(3, labelled=3, test=1)
    other.map_labels("ground_truth", {"particle": "void"}).save()
    detector = unseen.train_detector(other, steps=1, architecture="small")
    dataset = make_wafers(3, labelled=3, test=1)
    with pytest.raises(CheckpointError, match=r"was trained for classes scratch, void"):
        unseen.apply_detector(dataset, checkpoint=detector.checkpoint)
    unet = unseen.train_unet(dataset, **UNET)
    with pytest.raises(CheckpointError, match=r"kind 'unet', expected 'detector'"):
        unseen.apply_detector(dataset, checkpoint=unet.checkpoint)


def test_a_full_disk_leaves_the_earlier_checkpoint_and_record(wafers):
    first = unseen.train_unet(wafers, **UNET)
    before = contents(wafers)
    # A limit on file sizes is the nearest thing to a full disk that needs no disk of its own.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(CheckpointError, match=r"free some disk space"):
            unseen.train_unet(wafers, seed=3, **UNET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(wafers) == before
    folder = Path(first.checkpoint).parent
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors"]
    assert unseen.score_samples(wafers).scored == 8


def test_two_runs_at_once_on_one_dataset_are_refused(wafers):
    refused = []

    def second_run(done, total, label=""):
        code = (
            "import sys, unseen\n"
            "try: unseen.train_unet(sys.argv[1], steps=1)\n"
            "except unseen.UnseenError as error: print(type(error).__name__, error)\n"
        )
        if not refused:
            run = [sys.executable, "-c", code, wafers.name]
            refused.append(subprocess.run(run, capture_output=True, text=True).stdout)
            with ThreadPoolExecutor(1) as threads:
                refused.append(threads.submit(unseen.split_dataset, wafers.name).exception())

    unseen.train_unet(wafers, progress=second_run, **UNET)
    said = f"LockedError dataset '{wafers.name}' is in use: train_unet has been running since"
    assert said in refused[0]
    assert isinstance(refused[1], LockedError)
    unseen.train_unet(wafers, **UNET)  # the lock fell with the first run


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_scoring_that_was_interrupted_goes_on_with_the_same_thresholds(trained, how):
    wafers = trained
    code = (
        "import os, signal, sys, unseen, unseen.steps.score_samples.writer as s\n"
        "s.CHUNK = 2\n"
        "def stop(done, total, label=''):\n"
        "    if done == 5: os.kill(os.getpid(), int(sys.argv[2]))\n"
        "unseen.score_samples(sys.argv[1], batch_size=1, progress=stop)\n"
    )
    run = [sys.executable, "-c", code, wafers.name, str(int(how))]
    assert subprocess.run(run, capture_output=True).returncode != 0
    wafers.reload()
    partly = wafers.exists("unseen_excess").values("unseen_excess")
    began = Loop(wafers, Names()).record(0)["steps"]["score_samples"]
    assert began["state"] == "running"
    assert 0 < len(partly) < 8

    rest = unseen.score_samples(wafers)
    assert rest.scored + rest.already_scored == 8
    assert rest.already_scored == len(partly)
    ended = Loop(wafers, Names()).record(0)["steps"]["score_samples"]
    assert ended["thresholds"] == began["thresholds"]
    scored = wafers.exists("unseen_excess")
    resumed = dict(zip(*scored.values(["id", "unseen_excess"]), strict=True))
    unseen.score_samples(wafers, rescore=True)
    whole = dict(zip(*scored.values(["id", "unseen_excess"]), strict=True))
    assert resumed == pytest.approx(whole, rel=1e-3)  # bf16, other batches


def test_parameters_out_of_range_are_refused_before_anything_happens(wafers):
    before = contents(wafers)
    bad = [
        ("select_batch", {"budget": 0}, "budget=0; expected a whole number"),
        ("select_batch", {"strategy": "best"}, "strategy='best'; expected one of mixed"),
        ("score_samples", {"alpha": "x"}, "alpha='x'; expected a number"),
        ("train_unet", {"steps": 2.5}, "steps=2.5; expected a whole number"),
        ("train_unet", {"speed": 1}, "no parameter 'speed'"),
        ("train_unet", {"prefix": "A b"}, "prefix='A b': expected lower-case"),
        (
            "train_unet",
            {"label_field": "a.b"},
            r"itself; copy .*clone_sample_field\('a.b', 'a_b'\)",
        ),
        ("train_unet", {"iteration": 3}, "iteration=3 does not exist; expected one of 0"),
        ("train_unet", {"device": "tpu"}, "tpu"),
        ("simulate", {"hidden_field": "ground_truth"}, "are both 'ground_truth'"),
    ]
    for step, settings, message in bad:
        with pytest.raises(ConfigError, match=message):
            getattr(unseen, step)(wafers, **settings)
    assert contents(wafers) == before


def test_a_field_of_the_user_is_never_taken_over_nor_cleaned(wafers):
    wafers.add_sample_field("unseen_excess", fo.FloatField)
    wafers.add_sample_field("predictions_01", fo.StringField)
    unseen.train_unet(wafers, **UNET)
    with pytest.raises(DatasetError, match=r"'unseen_excess' exists.*not made by this package"):
        unseen.score_samples(wafers)
    unseen.clean_dataset(wafers)
    assert {"unseen_excess", "predictions_01"} <= set(wafers.get_field_schema())
    unseen.train_unet(wafers, prefix="novelty", **UNET)
    assert unseen.score_samples(wafers, prefix="novelty").scored == 8
