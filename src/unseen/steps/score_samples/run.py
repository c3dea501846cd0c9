"""Score the pool: heatmap, image metrics and unseen regions."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import fiftyone as fo

from unseen.arrays.images import image_size
from unseen.dataset import brain, reading, structure, writing
from unseen.dataset.loop import Loop, Record
from unseen.errors import DatasetError, LabelError, UnseenError
from unseen.loop.facts import pool_sizes
from unseen.progress import Progress
from unseen.ranking.cluster import Cluster, named_cluster
from unseen.ranking.local import LocalScoring, Weights
from unseen.ranking.ray_scoring import RayScoring
from unseen.ranking.scorer import Scorer, Thresholds
from unseen.steps.loop_features import loop_features
from unseen.steps.score_samples import ScoreConfig, ScoreResult
from unseen.steps.score_samples.writer import ScoreWriter
from unseen.steps.step import check_readable, elapsed, step
from unseen.unet.imbalance import adapted_alpha, class_imbalance

logger = logging.getLogger(__name__)

#: Parameters that change what is stored; if one differs, samples are scored again.
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

    The thresholds of the metrics are quantiles over the pool, taken once per model. An interrupted
    run continues where it stopped, with the same thresholds. Unreadable images are skipped and
    listed.
    """
    with named_cluster(config.engine, config.address) as cluster:
        return _score(loop, config, progress, cluster)


def _score(
    loop: Loop, config: ScoreConfig, progress: Progress, cluster: Cluster | None
) -> ScoreResult:
    scorer, iteration = _load_scorer(loop, config)
    rules = structure.read_record(loop)
    mark = structure.score_mark(scorer.digest, rules)
    earlier = _earlier_run(loop, config, iteration, mark)
    target, already = _target(loop, mark if earlier else None)
    entry = _start_entry(loop, config, scorer, mark, earlier)
    scorer.alpha = entry["alpha"]
    ids, stored = reading.raw_values(target, ["filepath"])
    paths = stored["filepath"]
    writing.declare_score_fields(loop)
    if earlier is None:
        # Old scores of the same UNet: a run that is killed half-way must not take them for new ones.
        old = target.match(fo.ViewField(loop.names.model) == mark).values("id")
        writing.set_raw(loop.dataset, {i: {loop.names.model: None} for i in old})
    local = LocalScoring(
        scorer,
        quantile=config.threshold_quantile,
        region_quantile=config.region_quantile,
        threshold=config.threshold,
        thresholds=Thresholds(**earlier["thresholds"]) if earlier else None,
        batch_size=config.batch_size,
        workers=config.workers,
        seed=config.seed,
        weights=_weights(loop.on(target), rules, ids, paths),
    )
    scoring = RayScoring(local, cluster, config) if cluster else local
    is_recorded = earlier is not None
    with ScoreWriter(loop, mark) as scores:
        for result in scoring.score(paths):
            if not is_recorded and scoring.thresholds is not None:
                # Recorded before the first score is written: a run that continues needs them.
                known = {"state": "running", "thresholds": asdict(scoring.thresholds)}
                loop.write_entry(iteration, "score_samples", {**entry, **known})
                is_recorded = True
            scores.add(ids[result.index], paths[result.index], result)
            progress(scores.seen, len(ids), "score images")
    if not already:
        check_readable(len(ids), [image.reason for image in scores.skipped])
    thresholds = asdict(scoring.thresholds) if scoring.thresholds else {}
    has_features = loop.is_whole and config.embeddings and not loop.names.series
    is_unfinished = bool(earlier and earlier.get("state") == "running")
    is_cut_short = bool(earlier and "scored" not in earlier)
    if scores.seen or is_cut_short:  # a run with nothing to do must not overwrite what was measured
        entry |= {
            "state": "running" if has_features else "done",
            "seconds": elapsed(),
            "thresholds": thresholds,
            "scored": scores.scored,
            "already_scored": already,
            "skipped": len(scores.skipped),
            "mean_score": scores.mean,
            "regions": scores.regions,
            **(_of_both_runs(loop, mark) if is_cut_short else {}),
        }
        loop.write_entry(iteration, "score_samples", entry)
    elif is_unfinished:
        entry = {**entry, **(earlier or {})}
    if has_features and (scores.seen or is_unfinished):
        if scores.scored or is_unfinished:
            runs = _register_features(loop, config, progress, cluster)
            entry["brain_runs"] = sorted({*entry["brain_runs"], *runs})
        loop.write_entry(iteration, "score_samples", {**entry, "state": "done"})
    elif (
        not scores.seen and earlier and config.checkpoint
    ):  # record that this UNet was named on purpose
        named = {**earlier, "parameters": config.to_dict()}
        loop.write_entry(iteration, "score_samples", named)
    return ScoreResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        scored=scores.scored,
        already_scored=already,
        thresholds=thresholds,
        mean_score=scores.mean,
        regions=scores.regions,
        checkpoint=scorer.path,
        skipped=scores.skipped,
        alpha=scorer.alpha,
        imbalance=entry["imbalance"] if config.adapt_alpha else None,
        repeated=scoring.repeated,
    )


def _load_scorer(loop: Loop, config: ScoreConfig) -> tuple[Scorer, int]:
    """The UNet that was asked for, or the newest of the loop, and its iteration."""
    if config.checkpoint:
        return Scorer(config.checkpoint, config), loop.iteration()
    iteration = loop.newest_with("train_unet")
    if iteration is None:
        raise LabelError(
            f"no UNet has been trained on dataset {loop.dataset.name!r} yet; label the initial "
            "images and run train_unet first"
        )
    entry = loop.entry(iteration, "train_unet")
    return Scorer(entry["checkpoint"], config, digest=entry["digest"]), iteration


def _target(loop: Loop, scored_as: str | None) -> tuple[Any, int]:
    """The samples to score, and how many have this mark already."""
    if loop.is_whole:
        target, (size, already) = loop.pool, pool_sizes(loop, scored_as)
    else:
        target, size = loop.view, len(loop.view)
        already = len(target.match({loop.names.model: scored_as})) if scored_as else 0
    if not size:
        raise DatasetError(
            f"nothing to score: the {'pool' if loop.is_whole else 'view'} of dataset "
            f"{loop.dataset.name!r} is empty; expected unlabelled images without the tags "
            f"{loop.names.test_tag!r} and {loop.names.excluded_tag!r}. Add images, or pass a view "
            "of what to score"
        )
    return target.match({loop.names.model: {"$ne": scored_as}}) if already else target, already


def _earlier_run(loop: Loop, config: ScoreConfig, iteration: int, mark: str) -> Record | None:
    """The entry of an earlier run, finished or not, whose thresholds hold for this one too.

    It has the same model, zone and parameters. The thresholds of a view that somebody scored first
    do not become those of the whole pool.
    """
    entry = loop.entry(iteration, "score_samples")
    if config.rescore or not entry.get("thresholds") or structure.scored_mark(entry) != mark:
        return None
    now, before = config.to_dict(), entry["parameters"]
    if any(before[name] != now[name] for name in _DECISIVE):
        return None
    return entry if entry["from_pool"] or not loop.is_whole else None


def _of_both_runs(loop: Loop, mark: str) -> Record:
    """What a run and the one that it continues have scored together."""
    names = loop.names
    _, stored = reading.raw_values(loop.whole.pool.match({names.model: mark}), [names.regions])
    regions = stored[names.regions]
    # None of earlier versions.
    means = [mean for r in regions if (mean := r.get("mean_score")) is not None]
    return {
        "scored": len(regions),
        "already_scored": 0,
        "mean_score": sum(means) / len(means) if means else 0.0,
        "regions": sum(len(r["detections"]) for r in regions),
    }


def _start_entry(
    loop: Loop, config: ScoreConfig, scorer: Scorer, mark: str, earlier: Record | None
) -> Record:
    """What is recorded whatever the scores are; a run that continues keeps its exponent."""
    if earlier:
        alpha, imbalance = earlier["alpha"], earlier["imbalance"]
    else:
        imbalance = class_imbalance(list(loop.label_facts()["class_counts"].values()))
        alpha = adapted_alpha(config.alpha, imbalance) if config.adapt_alpha else config.alpha
    return {
        "parameters": config.to_dict(),
        "digest": scorer.digest,
        "mark": mark,
        "classes": scorer.classes,
        "from_pool": earlier["from_pool"] if earlier else loop.is_whole,
        "alpha": alpha,
        "imbalance": imbalance,
        "brain_runs": brain.own_runs(loop),
    }


def _register_features(
    loop: Loop, config: ScoreConfig, progress: Progress, cluster: Cluster | None
) -> list[str]:
    """Brain keys of the similarity and visualization of labelled images and pool.

    They are for looking at, so scoring does not fail if they cannot be made.
    """
    ids, paths = loop.labelled.concat(loop.pool).values(["id", "filepath"])
    if len(ids) > brain.MOST:
        logger.info("no similarity and no visualization of %d images: too many", len(ids))
        return []
    try:
        features, origin = loop_features(loop, config, cluster=cluster)
        vectors = features.vectors(paths, progress=progress)
    except UnseenError as error:
        logger.warning("no similarity and no visualization: %s", error)
        return []
    return brain.register_runs(loop, ids, vectors, origin)


def _weights(
    loop: Loop, rules: structure.StructureRecord | None, ids: list[str], paths: list[str]
) -> Weights | None:
    """How much each pixel counts by the known structure; None: all count in full."""
    if rules is None or rules.version is None:
        return None
    sizes = reading.sizes(loop.view)
    return structure.zone_reader(loop, rules, ids, lambda i: sizes[i] or image_size(paths[i]))
