"""Read what a strategy has to know about the pool from the dataset."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from unseen.dataset import indexes, reading, scope
from unseen.dataset.loop import Loop
from unseen.loop.facts import pool_sizes
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES, ranking_metric
from unseen.ranking.choosing import Pool, draw, to_rank
from unseen.ranking.cluster import named_cluster
from unseen.ranking.feature_evidence import KnownImage, feature_evidence
from unseen.ranking.feature_space import Floats
from unseen.ranking.features.compute import feature_name
from unseen.ranking.selection import CANDIDATES_PER_IMAGE, balanced_candidates
from unseen.steps.loop_features import loop_features
from unseen.steps.newest_scores import newest_scores
from unseen.steps.select_batch import SelectConfig, history
from unseen.steps.step import check_pool, check_readable, check_scored

#: `balanced` and `mixed` choose among at most so many images, which bounds memory and time.
MOST_CANDIDATES = 50_000


@dataclass(frozen=True)
class ReadPool:
    """The pool of a dataset, as far as its strategy looks at it."""

    size: int  #: images in the pool
    scored: int  #: of them, by the newest UNet
    ids: list[str]  #: of the images that can be ranked, in directory order
    numbers: Pool  #: what the strategy ranks these images by
    facts: dict[str, Any] = field(default_factory=dict)  #: what else is recorded of a mixed batch

    @property
    def candidates(self) -> int:
        """Of a pool that is too large to look at every image, those that were looked at; else 0."""
        return len(self.ids) if len(self.ids) < self.scored else 0


def read_pool(loop: Loop, config: SelectConfig, tag: str, progress: Progress) -> ReadPool:
    """Read what the strategy ranks; for `mixed` also the pretrained features, which progress counts.

    Images with the tag of the batch that is chosen count as any others: this choice replaces them.

    Where a metric decides, the database ranks, and only the best come out of it. `balanced` and
    `mixed` choose among at most `MOST_CANDIDATES` images, or three times the batch.

    Raises a BudgetError if the pool is smaller than the budget, a DatasetError if the strategy needs
    scores of the newest UNet and there are none, a CheckpointError if the features that were asked
    for cannot be had, a StoreError if stored features are damaged or cannot be written, and an
    ImageError if features are wanted and no image can be read.
    """
    names, strategy = loop.names, config.strategy
    is_ranked = strategy in SCORED_STRATEGIES
    mark: str | None = None
    if is_ranked:
        mark, entry = newest_scores(loop, otherwise=", or choose the strategy random or sequential")
    size, count = pool_sizes(loop, mark)
    check_pool(loop, size, config.budget)
    wanted = to_rank(strategy, config.budget, config.random_share)
    if not is_ranked:
        view = loop.pool.sort_by("filepath").limit(wanted) if wanted else loop.dataset.limit(0)
        ids, _ = reading.raw_values(view, [])
        return ReadPool(size, count, ids, Pool(len(ids)))
    check_scored(size, count, str(mark))
    ranks_by = ranking_metric(strategy, config.metric)
    if ranks_by != indexes.RANKING[0]:  # of that one there is an index since the step began
        indexes.ensure(loop, ranks_by)
    is_scored = indexes.scored(names, str(mark), ranks_by)
    view = loop.pool.match(is_scored)
    metric = names.metric(ranks_by)
    most = max(MOST_CANDIDATES, CANDIDATES_PER_IMAGE * wanted)
    if strategy == "balanced":
        labelled = loop.label_facts()["class_counts"]
        # The paper's UNet has one foreground for all classes.
        known = [labelled.get(c, 0) for c in entry["classes"]] or [sum(labelled.values())]
        ids, expected = _fullest(loop.on(view), [*known, 0], most)
        scored = np.arange(len(ids))
        pool = Pool(len(ids), scored, expected_counts=expected, labelled_counts=[*known, 0])
        return ReadPool(size, count, ids, pool)
    if strategy != "mixed":
        looked_at = CANDIDATES_PER_IMAGE * wanted if strategy == "diverse" else wanted
        view = reading.highest(view, metric, min(looked_at, count))
    elif count > most:
        best = reading.highest(view, metric, most // 2)
        only = is_scored if count < size else None
        view = _some(loop, best, only, count, most, config.seed)
    ids, values = reading.raw_values(view, [metric, "filepath"])
    # Sorted here: the database would carry whole samples along.
    rows = sorted(zip(map(str, values["filepath"]), ids, values[metric], strict=True))
    ids = [sample_id for _, sample_id, _ in rows]
    pool = Pool(
        len(ids),
        np.arange(len(ids)),
        metric=np.asarray([value for *_, value in rows], dtype=np.float64),
        embed=lambda rows: _embeddings(loop, [ids[i] for i in rows]),
        seed=config.seed,
    )
    read = ReadPool(size, count, ids, pool)
    if strategy != "mixed":
        return read
    paths = {sample_id: path for path, sample_id, _ in rows}
    return _with_features(loop, config, read, paths, tag, progress)


def _some(loop: Loop, best: Any, only: Any, count: int, most: int, seed: int) -> Any:
    """`most` of the `count` scored samples of the pool: the best, the others drawn.

    `only` is the query for the scored ones, None if all are.
    """
    ids, _ = reading.raw_values(best, [])
    drawn = draw(count - len(ids), most - len(ids), np.random.default_rng([seed, 97]))
    others = indexes.pool_ids(loop, drawn.tolist(), only=only, without=ids)
    return loop.dataset.select([*ids, *others])


def _fullest(loop: Loop, labelled: Sequence[int], most: int) -> tuple[list[str], Floats]:
    """Ids and expected counts (M, K) of the view's candidates, in directory order; samples stream."""
    field = loop.names.expected_counts
    pipeline = [*loop.view.sort_by("filepath")._pipeline(), {"$project": {field: 1}}]
    rows = loop.dataset._sample_collection.aggregate(pipeline, allowDiskUse=True, batchSize=5000)
    unknown = [np.nan] * len(labelled)
    read = ((row["_id"], *(row.get(field) or unknown)) for row in rows)
    ids, counts = np.zeros(0, object), np.zeros((0, len(labelled)))
    while block := list(itertools.islice(read, most)):
        ids = np.append(ids, [row[0] for row in block])
        counts = np.concatenate([counts, [row[1:] for row in block]])
        kept = balanced_candidates(counts, labelled, most)
        ids, counts = ids[kept], counts[kept]
    return [str(i) for i in ids], counts


def _with_features(
    loop: Loop,
    config: SelectConfig,
    pool: ReadPool,
    paths: dict[str, str],
    tag: str,
    progress: Progress,
) -> ReadPool:
    """The pool with what `mixed` reads besides; `paths` are of the scored images, by id."""
    labelled = history.labelled_boxes(loop)
    classes = sorted({c for labels in labelled.labels.values() for c in labels})
    known = _labelled_images(loop, labelled, classes)
    known += _images_out(loop, tag, without=paths.keys() | labelled.labels.keys())
    with named_cluster(config.engine, config.address) as cluster:
        features, origin = loop_features(loop, config, config.features, cluster=cluster)
        evidence = feature_evidence(
            features,
            list(paths.values()),
            known,
            len(classes),
            seed=config.seed,
            progress=progress,
        )
    is_unreadable = np.isnan(evidence.space).any(axis=1)
    check_readable(len(paths), np.asarray(list(paths.values()))[is_unreadable].tolist())
    earlier = history.found_and_tried(loop, labelled)
    facts = {
        "sought": [c for c, is_sought in zip(classes, evidence.sought, strict=True) if is_sought],
        "known": classes,
        "rehearsal": asdict(evidence.rehearsal),
        "features": {"name": feature_name(features.backbone), "origin": origin},
    }
    numbers = replace(pool.numbers, features=evidence, history=earlier)
    return replace(pool, numbers=numbers, facts=facts)


def _labelled_images(
    loop: Loop, labelled: history.LabelledBoxes, classes: Sequence[str]
) -> list[KnownImage]:
    if not loop.has_labels:
        return []
    view = loop.whole.labelled
    images = reading.read_labels(view, loop.names.label_field, classes).images
    scopes, _ = scope.read(loop.on(view), images)
    return [
        KnownImage(
            image.filepath,
            image.xyxy,
            np.asarray([classes.index(n) for n in image.labels], np.int64),
            (image.width, image.height),
            scope=scopes.get(image.sample_id),
            is_initial=image.sample_id in labelled.initial,
        )
        for image in images
    ]


def _images_out(loop: Loop, tag: str, *, without: Container[str]) -> list[KnownImage]:
    """The images that were chosen for other batches and wait for their labels."""
    others = [batch for batch in loop.batches().values() if batch != tag]
    waiting = loop.without_labels(loop.whole.tagged(*others))
    out = loop.dataset.match(indexes.handed_out(loop.names))
    paths: dict[str, str] = {}
    for view in (waiting, out):
        paths |= dict(zip(*view.values(["id", "filepath"]), strict=True))
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return [
        KnownImage(path, *none, (1, 1), is_labelled=False)
        for sample_id, path in sorted(paths.items(), key=lambda item: item[1])
        if sample_id not in without
    ]


def _embeddings(loop: Loop, ids: list[str]) -> np.ndarray:
    """(len(ids), E) stored embeddings; NaN where missing."""
    stored = dict(zip(*loop.dataset.select(ids).values(["id", loop.names.embedding]), strict=True))
    size = max((len(v) for v in stored.values() if v is not None), default=1)
    missing = np.full(size, np.nan)
    return np.stack([missing if stored.get(i) is None else np.asarray(stored[i]) for i in ids])
