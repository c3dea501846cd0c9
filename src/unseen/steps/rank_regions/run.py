"""Rank the strongest unseen regions of the whole pool, for teams that label regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.dataset import reading, regions, writing
from unseen.dataset.loop import Loop
from unseen.dataset.regions import Place
from unseen.errors import DatasetError
from unseen.progress import Progress
from unseen.steps.newest_scores import newest_scores
from unseen.steps.rank_regions import RankRegionsConfig, RankRegionsResult
from unseen.steps.step import step, write_down


@step(RankRegionsConfig)
def rank_regions(loop: Loop, config: RankRegionsConfig, progress: Progress) -> RankRegionsResult:
    """Give the strongest unseen regions of the pool a rank, and save their patches in that order.

    Ranks of an earlier run are removed. The saved view keeps its patches as they were ranked, also
    when the pool is scored again; run this again then.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    writing.check_own_view(loop, loop.names.top_regions)
    iteration = loop.iteration()
    progress(0, 2, "read the regions")
    mark, _ = newest_scores(loop)
    pool = loop.pool
    by_newest = pool.match(fo.ViewField(loop.names.model) == mark)
    size, scored = len(pool), len(by_newest)
    _check_pool(loop.dataset, size, scored, mark)
    ids, scores = regions.read_scores(loop.on(by_newest))
    ranked, strengths = _strongest(ids, scores, config)
    if not ranked:
        raise DatasetError(_nothing(scores, config))
    progress(1, 2, "write the ranks")
    text = f"The {len(ranked)} strongest unseen regions of the pool in rank order"
    names = loop.names
    regions.save_ranks(loop, ranked, field=names.regions, view=names.top_regions, text=text)
    writing.group_fields(loop)
    images = len({place.sample_id for place in ranked})
    sample_ids = [place.sample_id for place in ranked]
    result = RankRegionsResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        view=loop.names.top_regions,
        regions=len(ranked),
        asked_for=config.count,
        images=images,
        sample_ids=sample_ids,
        scores=strengths,
        pool=size,
        unscored=size - scored,
    )
    write_down(loop, iteration, config, result, mark=mark)
    progress(2, 2, "write the record")
    return result


def _check_pool(dataset: Any, size: int, scored: int, mark: str) -> None:
    if not size:
        raise DatasetError(
            f"the pool of dataset {dataset.name!r} is empty: every image is labelled, out for "
            "labelling, in the test split or excluded. Add images, or widen the view"
        )
    if not scored:
        raise DatasetError(
            f"none of the {size} pool images was scored by the newest UNet ({mark}); run "
            "score_samples first"
        )


def _strongest(
    ids: Sequence[str], scores: Sequence[Sequence[float]], config: RankRegionsConfig
) -> tuple[list[Place], list[float]]:
    """Regions and their scores, the highest first; ties in the order of the pool."""
    counts = [len(of_image) for of_image in scores]
    flat = np.asarray([s for of_image in scores for s in of_image], dtype=np.float64)
    image = np.repeat(np.arange(len(ids)), counts)
    first = np.repeat(np.cumsum([0, *counts])[:-1], counts)
    order = np.argsort(-flat, kind="stable")
    taken: Counter[int] = Counter()
    ranked: list[Place] = []
    strengths: list[float] = []
    for i in order[: np.count_nonzero(flat >= config.min_score)]:
        if len(ranked) == config.count:
            break
        if taken[int(image[i])] < config.max_per_image:
            taken[int(image[i])] += 1
            ranked.append(Place(ids[image[i]], int(i - first[i])))
            strengths.append(float(flat[i]))
    return ranked, strengths


def _nothing(scores: Sequence[Sequence[float]], config: RankRegionsConfig) -> str:
    best = max((max(of_image) for of_image in scores if of_image), default=None)
    if best is None or best < 0:
        return (
            f"the {len(scores)} scored images of the pool have no unseen region; score them again "
            "with max_regions above 0 or a lower region_quantile, or widen the view"
        )
    return (
        f"no unseen region of the {len(scores)} scored images of the pool reaches "
        f"min_score={config.min_score:g}; the strongest has {best:.3f}. Lower min_score"
    )
