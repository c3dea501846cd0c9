"""Rank the strongest unseen regions of the whole pool, for teams that label regions."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import fiftyone as fo

from unseen.dataset import reading, regions, writing
from unseen.dataset.loop import Loop
from unseen.dataset.regions import Place
from unseen.errors import DatasetError
from unseen.loop.facts import pool_sizes
from unseen.progress import Progress
from unseen.steps.newest_scores import newest_scores
from unseen.steps.rank_regions import RankRegionsConfig, RankRegionsResult
from unseen.steps.step import check_pool, check_scored, step, write_down


@step(RankRegionsConfig)
def rank_regions(loop: Loop, config: RankRegionsConfig, progress: Progress) -> RankRegionsResult:
    """Give the strongest unseen regions of the pool a rank, and save their patches in that order.

    Ranks of an earlier run are removed. The saved view keeps its patches as they were ranked, also
    when the pool is scored again; rank again then.
    """
    names = loop.names
    reading.check_label_field(loop.dataset, names.label_field, must_exist=False)
    writing.check_own_view(loop, names.top_regions)
    iteration = loop.iteration()
    progress(0, 2, "read the regions")
    mark, _ = newest_scores(loop)
    by_newest = loop.pool.match(fo.ViewField(names.model) == mark)
    size, scored = pool_sizes(loop, mark)
    check_pool(loop, size)
    check_scored(size, scored, mark)
    scores = regions.read_scores(loop.on(by_newest), config.count)
    ranked = _strongest(scores, config)
    strongest = max(ranked.values(), default=regions.NO_SCORE)
    if strongest < config.min_score:
        raise DatasetError(_nothing(scored, strongest, config))
    progress(1, 2, "write the ranks")
    places = list(ranked)
    text = f"The {len(places)} strongest unseen regions of the pool in rank order"
    regions.save_ranks(loop, places, field=names.regions, view=names.top_regions, text=text)
    writing.group_fields(loop)
    sample_ids = [place.sample_id for place in places]
    result = RankRegionsResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        view=names.top_regions,
        regions=len(places),
        asked_for=config.count,
        images=len(set(sample_ids)),
        sample_ids=sample_ids,
        scores=list(ranked.values()),
        pool=size,
        unscored=size - scored,
    )
    write_down(loop, iteration, config, result, mark=mark)
    progress(2, 2, "write the record")
    return result


def _strongest(
    scores: Iterable[tuple[str, Sequence[float]]], config: RankRegionsConfig
) -> dict[Place, float]:
    """Regions and their scores, the highest first; ties in the order of the pool.

    Without one that is strong enough, the strongest there is.
    """
    candidates = (
        (of_image[position], Place(sample_id, position))
        for sample_id, of_image in scores
        for position in sorted(range(len(of_image)), key=lambda i: -of_image[i])[
            : config.max_per_image
        ]
    )
    best = heapq.nlargest(config.count, candidates, key=lambda candidate: candidate[0])
    strong = [candidate for candidate in best if candidate[0] >= config.min_score]
    return {place: score for score, place in strong or best[:1]}


def _nothing(scored: int, strongest: float, config: RankRegionsConfig) -> str:
    if strongest < 0:
        return (
            f"the {scored} scored images of the pool have no unseen region; score them again "
            "with max_regions above 0 or a lower region_quantile, or widen the view"
        )
    return (
        f"no unseen region of the {scored} scored images of the pool reaches "
        f"min_score={config.min_score:g}; the strongest has {strongest:.3f}. Lower min_score"
    )
