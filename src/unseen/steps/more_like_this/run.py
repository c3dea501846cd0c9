"""Rank the pool's regions by how much they look like what somebody points at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unseen.dataset import reading, regions, writing
from unseen.dataset.fields import SIMILAR_LABEL
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError
from unseen.progress import Progress
from unseen.ranking.cluster import named_cluster
from unseen.ranking.similar import Example, Found, search
from unseen.results import Skipped
from unseen.steps.loop_features import loop_features
from unseen.steps.more_like_this import MoreLikeThisConfig, MoreLikeThisResult
from unseen.steps.step import check_pool, step, write_down


@step(MoreLikeThisConfig)
def more_like_this(
    loop: Loop, config: MoreLikeThisConfig, progress: Progress
) -> MoreLikeThisResult:
    """Find what looks like the wanted regions in the pool, and save the patches in that order.

    Pretrained features decide, so nothing has to be trained or scored first. The regions of an
    earlier run are replaced.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    writing.check_own_view(loop, loop.names.similar_regions)
    if not config.wanted:
        raise ConfigError(
            "wanted is empty; expected ids of labels or samples. In the App select some images, "
            "patches or boxes first; from Python pass wanted=[...]"
        )
    both = sorted(set(config.wanted) & set(config.unwanted))
    if both:
        raise ConfigError(f"{both[0]!r} is wanted and unwanted; leave it out of one of them")
    given = _examples(loop.dataset, config)
    ids, paths = loop.pool.values(["id", "filepath"])
    check_pool(loop, len(ids))
    with named_cluster(config.engine, config.address) as cluster:
        features, why = loop_features(loop, config, cluster=cluster)
        similar = search(
            features,
            paths,
            given,
            count=config.count,
            max_per_image=config.max_per_image,
            seed=config.seed,
            progress=progress,
        )
    if similar is None:
        raise DatasetError(
            f"none of the {sum(bool(e.wanted) for e in given)} images with something wanted, or "
            f"none of the {len(ids)} pool images, can be read; look at their files, for example "
            "with screen_images"
        )
    if not similar.places:
        raise DatasetError(
            f"nothing in the {len(ids)} pool images looks more like what is wanted than like the "
            "rest; point at more examples, at fewer unwanted ones, or widen the view"
        )
    iteration = loop.iteration()
    sample_ids = _write(loop, ids, similar)
    result = MoreLikeThisResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        view=loop.names.similar_regions,
        regions=len(sample_ids),
        asked_for=config.count,
        images=len(set(sample_ids)),
        sample_ids=sample_ids,
        scores=similar.confidences,
        pool=len(ids),
        backbone=why,
        skipped=[
            Skipped(sample_id=i, filepath=path, reason=similar.failures[path])
            for i, path in zip(ids, paths, strict=True)
            if path in similar.failures
        ],
    )
    write_down(loop, iteration, config, result)
    return result


def _examples(dataset: Any, config: MoreLikeThisConfig) -> list[Example]:
    by_path: dict[str, Example] = {}
    for parameter in ("wanted", "unwanted"):
        for box in regions.find_boxes(dataset, getattr(config, parameter), parameter):
            example = by_path.setdefault(box.filepath, Example(box.filepath, [], []))
            getattr(example, parameter).append(box.xywh)
    return list(by_path.values())


def _write(loop: Loop, ids: Sequence[str], similar: Found) -> list[str]:
    """Replace the regions of an earlier run and save a ranked view; ids of the images, by rank."""
    field = loop.names.similar
    writing.declare_detections(loop, field, "Regions that look like what was pointed at")
    boxes: dict[str, list[tuple[str, Sequence[float], float]]] = {}
    ranked = []
    for (index, region), confidence in zip(similar.places, similar.confidences, strict=True):
        of_image = boxes.setdefault(ids[index], [])
        ranked.append(regions.Place(ids[index], len(of_image)))
        of_image.append((SIMILAR_LABEL, region.xywh, confidence))
    loop.dataset.clear_sample_field(field)
    writing.save_detections(loop.dataset, field, boxes)
    text = f"The {len(ranked)} regions of the pool most like what was pointed at, in rank order"
    regions.save_ranks(loop, ranked, field=field, view=loop.names.similar_regions, text=text)
    writing.group_fields(loop)
    return [place.sample_id for place in ranked]
