"""Read what a strategy has to know about the pool from the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.dataset import reading, scope
from unseen.dataset.fields import REMOVED, SENT
from unseen.dataset.loop import Loop, features_folder
from unseen.errors import BudgetError, DatasetError
from unseen.loop import criteria_history as history
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES, ranking_metric
from unseen.ranking.choosing import Pool
from unseen.ranking.feature_evidence import KnownImage, feature_evidence
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features, feature_name
from unseen.steps.newest_scores import newest_scores
from unseen.steps.select_batch import SelectConfig


@dataclass(frozen=True)
class ReadPool:
    """The pool of a dataset.

    Attributes:
        ids: of the samples, in directory order.
        numbers: what the strategy ranks by.
        facts: what else goes on record with a mixed batch.
    """

    ids: list[str]
    numbers: Pool
    facts: dict[str, Any] = field(default_factory=dict)


def read_pool(loop: Loop, config: SelectConfig, progress: Progress) -> ReadPool:
    """Read the pool; for the strategy `mixed` also its pretrained features, which progress counts.

    Raises:
        BudgetError: the pool is empty or smaller than the budget.
        CheckpointError: the features that were asked for cannot be had.
        DatasetError: the strategy needs scores of the newest UNet, and there are none.
        StoreError: stored features are damaged or cannot be written.
    """
    names = loop.names
    view = loop.pool.sort_by("filepath")
    if config.strategy not in SCORED_STRATEGIES:
        ids, _ = reading.raw_values(view, [])
        _check_size(loop, len(ids), config.budget)
        return ReadPool(ids, Pool(len(ids)))

    mark, entry = newest_scores(loop, otherwise=", or choose the strategy random or sequential")
    metric = names.metric(ranking_metric(config.strategy, config.metric))
    counts = [names.expected_counts] if config.strategy == "balanced" else []
    ids, values = reading.raw_values(view, ["filepath", names.model, metric, *counts])
    _check_size(loop, len(ids), config.budget)
    scored = np.flatnonzero([value == mark for value in values[names.model]])
    if not len(scored):
        raise DatasetError(
            f"none of the {len(ids)} pool images was scored by the newest UNet ({mark}); run "
            "score_samples first"
        )
    pool = Pool(
        len(ids),
        scored,
        metric=np.asarray(values[metric], dtype=np.float64)[scored],
        embed=lambda rows: _embeddings(loop, [ids[i] for i in scored[rows]]),
        seed=config.seed,
    )
    if config.strategy == "balanced":
        expected = [values[names.expected_counts][i] for i in scored]
        labelled = _labelled_counts(loop, list(entry["classes"]))
        pool = replace(pool, expected_counts=expected, labelled_counts=labelled)
    if config.strategy != "mixed":
        return ReadPool(ids, pool)
    paths = {ids[i]: str(values["filepath"][i]) for i in scored}
    return _with_features(loop, config, ReadPool(ids, pool), paths, progress)


def _with_features(
    loop: Loop, config: SelectConfig, pool: ReadPool, paths: dict[str, str], progress: Progress
) -> ReadPool:
    """What `mixed` reads besides; `paths` are of the scored images, by id."""
    labelled = history.labelled_boxes(loop)
    classes = sorted(labelled.counts)
    known = _known_images(loop, labelled, classes, paths.keys())
    backbone, origin = find_backbone(config.features)
    evidence = feature_evidence(
        Features(backbone, features_folder(config.model_dir)),
        list(paths.values()),
        known,
        len(classes),
        seed=config.seed,
        progress=progress,
    )
    earlier = history.found_and_tried(loop, labelled)
    facts = {
        "sought": [c for c, is_sought in zip(classes, evidence.sought, strict=True) if is_sought],
        "known": classes,
        "rehearsal": asdict(evidence.rehearsal),
        "features": {"name": feature_name(backbone), "origin": origin},
    }
    return ReadPool(pool.ids, replace(pool.numbers, features=evidence, history=earlier), facts)


def _known_images(
    loop: Loop, labelled: history.LabelledBoxes, classes: Sequence[str], pool: Any
) -> list[KnownImage]:
    """The labelled images, and those that are chosen already and wait for their labels."""
    known: list[KnownImage] = []
    has_labels = loop.dataset.get_field(loop.names.label_field) is not None
    if has_labels:
        view = loop.whole.labelled
        images = reading.read_labels(view, loop.names.label_field, classes).images
        scopes, _ = scope.read(loop.on(view), images)
        known = [
            KnownImage(
                image.filepath,
                np.asarray(image.xyxy, np.float32).reshape(-1, 4),
                np.asarray([classes.index(n) for n in image.labels], np.int64),
                (image.width, image.height),
                scope=scopes.get(image.sample_id),
                is_initial=image.sample_id in labelled.initial,
            )
            for image in sorted(images, key=lambda image: image.filepath)
        ]
    tags = list(loop.batches().values())
    waiting = loop.dataset.match_tags(tags) if tags else loop.dataset.limit(0)
    if has_labels:
        waiting = waiting.exists(loop.names.label_field, False)
    if loop.dataset.get_field(loop.names.annotation) is not None:
        out = loop.dataset.match(fo.ViewField(loop.names.annotation).is_in([SENT, REMOVED]))
        waiting = waiting.concat(out) if tags else out
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    paths = dict(zip(*waiting.values(["id", "filepath"]), strict=True)) if len(waiting) else {}
    known += [
        KnownImage(path, *none, (1, 1), is_labelled=False)
        for sample_id, path in sorted(paths.items(), key=lambda item: item[1])
        if sample_id not in pool and sample_id not in labelled.labels
    ]
    return known


def _check_size(loop: Loop, size: int, budget: int) -> None:
    if not size:
        raise BudgetError(
            f"the pool of dataset {loop.dataset.name!r} is empty: every image is labelled, in the "
            "test split or excluded. Add images, or widen the view"
        )
    if budget > size:
        raise BudgetError(
            f"budget {budget} exceeds the {size} unlabelled images of the pool; lower it, or widen "
            "the view"
        )


def _labelled_counts(loop: Loop, classes: list[str]) -> list[int]:
    counts = loop.label_facts()["class_counts"]
    # The paper's UNet knows one foreground for all classes.
    known = [counts.get(c, 0) for c in classes] if classes else [sum(counts.values())]
    return [*known, 0]


def _embeddings(loop: Loop, ids: list[str]) -> np.ndarray:
    stored = dict(zip(*loop.dataset.select(ids).values(["id", loop.names.embedding]), strict=True))
    size = max((len(v) for v in stored.values() if v is not None), default=1)
    missing = np.full(size, np.nan)
    return np.stack([missing if stored.get(i) is None else np.asarray(stored[i]) for i in ids])
