"""Score the pool: heatmap, image metrics and unseen regions."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import fiftyone as fo

from unseen.arrays.images import image_size
from unseen.dataset import feature_runs, reading, structure, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop, features_folder
from unseen.dataset.records import scored_mark
from unseen.errors import DatasetError, LabelError, UnseenError
from unseen.progress import Progress
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.local import LocalScoring, Scored
from unseen.ranking.scorer import Scorer, Thresholds
from unseen.results import Skipped
from unseen.steps.score_samples import ScoreConfig, ScoreResult
from unseen.steps.step import elapsed, step
from unseen.unet.imbalance import adapted_alpha, class_imbalance

logger = logging.getLogger(__name__)

#: Samples written in one bulk operation.
CHUNK = 256
#: Parameters that change what is stored; with others, samples count as scored already.
_DECISIVE = (
    "alpha",
    "adapt_alpha",
    "threshold",
    "threshold_quantile",
    "region_quantile",
    "max_regions",
    "heatmap_size",
)


@step(ScoreConfig)
def score_samples(loop: Loop, config: ScoreConfig, progress: Progress) -> ScoreResult:
    """Score the samples of a view; of a whole dataset, its pool.

    The thresholds of the metrics are quantiles over the pool, taken once per model. A run that was
    interrupted goes on where it stopped, with the same thresholds; unreadable images are skipped
    singly and listed.
    """
    scorer, iteration = load_scorer(loop, config)
    is_pool = isinstance(loop.view, fo.Dataset)
    target = loop.pool if is_pool else loop.view
    if not len(target):
        where = "the pool" if is_pool else "the view"
        raise DatasetError(
            f"nothing to score: {where} of dataset {loop.dataset.name!r} is empty; expected unlabelled "
            f"images without the tags {loop.names.test_tag!r} and {loop.names.excluded_tag!r}. Add images, "
            "or pass a view of what to score"
        )
    rules = structure.read_record(loop)
    mark = structure.score_mark(scorer.digest, rules)
    known = _known_entry(loop, config, iteration, mark, is_pool=is_pool)
    thresholds = Thresholds(**known["thresholds"]) if known else None
    scorer.alpha, imbalance = _alpha(loop, config, known)
    already = 0
    if thresholds is not None and loop.dataset.get_field(loop.names.model) is not None:
        todo = target.match(fo.ViewField(loop.names.model) != mark)
        already = len(target) - len(todo)
        target = todo
    ids, paths = reading.ids_and_paths(target)
    writing.declare_score_fields(loop)

    scoring = LocalScoring(
        scorer,
        quantile=config.threshold_quantile,
        region_quantile=config.region_quantile,
        threshold=config.threshold,
        thresholds=thresholds,
        batch_size=config.batch_size,
        workers=config.workers,
        seed=config.seed,
        weights=_weights(target, loop.names, rules, ids, paths),
    )
    scored = skipped_count = regions = 0
    total_score = 0.0
    skipped: list[Skipped] = []
    entry: dict[str, Any] = {
        "parameters": config.to_dict(),
        "digest": scorer.digest,
        "mark": mark,
        "classes": scorer.classes,
        "from_pool": known["from_pool"] if known else is_pool,
        "alpha": scorer.alpha,
        "imbalance": imbalance,
        "brain_runs": feature_runs.own(loop),
    }
    with _Writer(loop, mark) as writer:
        for result in _after_thresholds(scoring, paths, loop, iteration, entry):
            if result.score is None:
                skipped_count += 1
                skipped.append(
                    Skipped(
                        sample_id=ids[result.index],
                        filepath=paths[result.index],
                        reason=result.error or "",
                    )
                )
                logger.warning("skipped: %s", result.error)
            else:
                scored += 1
                regions += len(result.score.regions)
                total_score += result.score.mean_score
                writer.add(ids[result.index], result)
            progress(scored + skipped_count, len(ids), "score images")
    used = asdict(scoring.thresholds) if scoring.thresholds else {}
    mean = total_score / scored if scored else 0.0
    if scored or skipped:  # a run with nothing to do must not overwrite what was measured
        entry |= {
            "state": "done",
            "seconds": elapsed(),
            "thresholds": used,
            "scored": scored,
            "already_scored": already,
            "skipped": skipped_count,
            "mean_score": mean,
            "regions": regions,
        }
        loop.write_entry(iteration, "score_samples", entry)
        if scored and is_pool and config.embeddings and not loop.names.series:
            made = _register_features(loop, config, progress)
            entry["brain_runs"] = sorted({*entry["brain_runs"], *made})
            loop.write_entry(iteration, "score_samples", entry)
    elif known and config.checkpoint:  # on record that this UNet was named on purpose
        named = {**known, "parameters": config.to_dict()}
        loop.write_entry(iteration, "score_samples", named)
    return ScoreResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        scored=scored,
        already_scored=already,
        thresholds=used,
        mean_score=mean,
        regions=regions,
        checkpoint=scorer.path,
        skipped=skipped,
        alpha=scorer.alpha,
        imbalance=imbalance if config.adapt_alpha else None,
    )


def load_scorer(loop: Loop, config: ScoreConfig) -> tuple[Scorer, int]:
    """The UNet as asked for, or the newest of the loop, and its iteration.

    Raises:
        LabelError: no UNet was trained yet.
        CheckpointError: its file is missing, damaged or another.
    """
    if config.checkpoint:
        scorer = Scorer(config.checkpoint, config)
        return scorer, loop.iteration()
    iteration = loop.newest_with("train_unet")
    record = None if iteration is None else loop.record(iteration)
    if iteration is None or record is None:
        raise LabelError(
            f"no UNet has been trained on dataset {loop.dataset.name!r} yet; label the initial images "
            "and run train_unet first"
        )
    entry = record["steps"]["train_unet"]
    return Scorer(entry["checkpoint"], config, digest=entry["digest"]), iteration


def _known_entry(
    loop: Loop, config: ScoreConfig, iteration: int, mark: str, *, is_pool: bool
) -> dict[str, Any] | None:
    """The record of an earlier run, finished or not, whose thresholds hold for this one too.

    Same model, same zone, same parameters; and the thresholds of a view that somebody scored first must not
    become those of the whole pool.
    """
    record = loop.record(iteration)
    entry: dict[str, Any] | None = (record or {"steps": {}})["steps"].get("score_samples")
    if config.rescore or not entry or not entry.get("thresholds"):
        return None
    if scored_mark(entry) != mark:
        return None
    now = config.to_dict()
    # What an older version did not know, it did as the default does.
    before = {**ScoreConfig().to_dict(), **entry["parameters"]}
    if any(before[k] != now[k] for k in _DECISIVE):
        return None
    return entry if entry["from_pool"] or not is_pool else None


def _register_features(loop: Loop, config: ScoreConfig, progress: Progress) -> list[str]:
    """Brain keys of the similarity and visualization of labelled images and pool.

    They are for looking at, so that what is in their way does not fail the scoring.
    """
    ids, paths = [], []
    for view in (
        loop.whole.labelled,
        loop.whole.pool,
    ):
        of_view = reading.ids_and_paths(view)
        ids += of_view[0]
        paths += of_view[1]
    if len(ids) > feature_runs.MOST:
        logger.info("no similarity and no visualization of %d images: too many", len(ids))
        return []
    try:
        backbone, origin = find_backbone("auto")
        features = Features(backbone, features_folder(config.model_dir), workers=config.workers)
        vectors = features.vectors(paths, progress=progress)
    except UnseenError as error:
        logger.warning("no similarity and no visualization: %s", error)
        return []
    return feature_runs.register(loop, ids, vectors, origin)


def _alpha(loop: Loop, config: ScoreConfig, known: dict[str, Any] | None) -> tuple[float, float]:
    """The exponent, and the imbalance of what is labelled; a run that goes on keeps both."""
    if known and "imbalance" in known:
        return known["alpha"], known["imbalance"]
    counts = loop.label_facts()["class_counts"]
    imbalance = class_imbalance(list(counts.values()))
    return adapted_alpha(config.alpha, imbalance) if config.adapt_alpha else config.alpha, imbalance


def _weights(
    target: Any,
    names: Names,
    rules: structure.StructureRecord | None,
    ids: list[str],
    paths: list[str],
) -> structure.ZoneReader | None:
    """What each pixel counts by the dataset's known structure; None where all count in full."""
    if rules is None or rules.version is None:
        return None
    sizes = reading.sizes(target)

    def size_of(position: int) -> tuple[int, int]:
        return sizes[position] or image_size(paths[position])

    return structure.ZoneReader(Loop(reading.dataset_of(target), names), rules, ids, size_of)


def _after_thresholds(
    scoring: LocalScoring,
    paths: list[str],
    loop: Loop,
    iteration: int,
    entry: dict[str, Any],
) -> Iterable[Scored]:
    """Put the thresholds on record before the first score is written, for a run that goes on."""
    is_recorded = scoring.thresholds is not None
    for result in scoring.score(paths):
        if not is_recorded and scoring.thresholds is not None:
            loop.write_entry(
                iteration,
                "score_samples",
                {**entry, "state": "running", "thresholds": asdict(scoring.thresholds)},
            )
            is_recorded = True
        yield result


class _Writer:
    """Writes chunks in a thread of its own, so that computing goes on."""

    def __init__(self, loop: Loop, mark: str) -> None:
        self._loop = loop
        self._mark = mark
        self._chunk: dict[str, dict[str, Any]] = {}
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Also after Ctrl-C or a failure: what is complete is kept, and a new run goes on from there.
        try:
            self._flush()
            self._wait()
        finally:
            self._thread.shutdown()

    def add(self, sample_id: str, result: Scored) -> None:
        values = dict(vars(result.score))
        values["model"] = self._mark
        self._chunk[sample_id] = values
        if len(self._chunk) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._wait()  # one chunk in flight bounds the memory
        if self._chunk:
            chunk, self._chunk = self._chunk, {}
            self._pending = self._thread.submit(writing.save_scores, self._loop, chunk)

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
