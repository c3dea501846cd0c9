"""Rank the pool and freeze the next batch."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np

from unseen.dataset import appearance, reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES
from unseen.ranking.choosing import choose
from unseen.ranking.mixed import CRITERIA
from unseen.steps.select_batch import SelectConfig, SelectResult
from unseen.steps.select_batch.pool import read_pool
from unseen.steps.step import elapsed, step


@step(SelectConfig)
def select_batch(loop: Loop, config: SelectConfig, progress: Progress) -> SelectResult:
    """Choose the images to label next: tag, saved view in rank order, and rank.

    The saved view holds the images themselves, not the query: scoring again does not change a
    batch that people work on. As long as nobody has labelled any of the newest batch, another one
    is refused, unless `replace` is set.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    iteration = loop.iteration()
    waiting = loop.open_batch()
    if waiting is not None and not config.replace:
        raise DatasetError(
            f"{loop.names.batch(waiting)} is still out: none of its images is labelled yet. Label it "
            "first, or pass replace=True to choose it anew"
        )
    number = waiting or max(loop.batches(), default=0) + 1
    writing.check_own_view(loop, loop.names.batch(number))
    progress(0, 3, "read the ranking")
    pool = read_pool(loop, config, progress)
    chosen = choose(
        config.strategy,
        pool.numbers,
        config.budget,
        rng=np.random.default_rng(config.seed),
        random_share=config.random_share,
    )
    ranked = [pool.ids[i] for i in chosen.order]
    sources = dict(zip(ranked, chosen.criteria, strict=False))  # the rest is drawn at random
    mixture: dict[str, Any] = {}
    if config.strategy == "mixed":
        mixture = {**pool.facts, "sources": sources, "shares": chosen.shares, "trust": chosen.trust}
    is_scored = config.strategy in SCORED_STRATEGIES
    unscored = len(pool.ids) - len(pool.numbers.scored) if is_scored else 0
    progress(1, 3, "freeze the batch")

    tag = loop.names.batch(number)
    if waiting is not None:
        _take_back(loop, tag)
    text = f"Batch {number}: {len(ranked)} images in rank order, strategy {config.strategy}"
    writing.save_own_view(loop, tag, loop.dataset.select(ranked, ordered=True), text)
    writing.set_tag(loop.dataset, ranked, tag)
    is_new = loop.dataset.get_field(loop.names.rank) is None
    writing.declare(loop, loop.names.rank, fo.IntField, "Rank in its batch, 1 = label first")
    ranks = {sample_id: rank for rank, sample_id in enumerate(ranked, start=1)}
    loop.dataset.set_values(loop.names.rank, ranks, key_field="id")
    _save_sources(loop, ranked, sources)
    writing.group_fields(loop)
    if is_new and not loop.names.series:
        appearance.show(loop, loop.names.rank)
    progress(2, 3, "write the record")
    loop.write_entry(
        iteration,
        "select_batch",
        {
            "parameters": config.to_dict(),
            "seconds": elapsed(),
            "batch": tag,
            "batch_ids": ranked,
            "pool": len(pool.ids),
            "unscored": unscored,
            **mixture,
        },
        strategy=config.strategy,
        seed=config.seed,
        **loop.label_facts(),
    )
    progress(3, 3, "write the record")
    return SelectResult(
        dataset=loop.dataset.name,
        iteration=number,
        batch=tag,
        strategy=config.strategy,
        sample_ids=ranked,
        pool=len(pool.ids),
        unscored=unscored,
        criteria={c: n for c in CRITERIA if (n := list(sources.values()).count(c))},
        trust=chosen.trust,
        features=mixture["features"]["origin"] if mixture else "",
    )


def _take_back(loop: Loop, tag: str) -> None:
    """Undo a batch that is replaced."""
    before = loop.dataset.match_tags(tag).values("id")
    for name in (loop.names.rank, loop.names.chosen_by):
        if before and loop.dataset.get_field(name) is not None:
            loop.dataset.set_values(name, dict.fromkeys(before), key_field="id")


def _save_sources(loop: Loop, ids: list[str], sources: dict[str, str]) -> None:
    """What each image was chosen for; another strategy leaves nothing of an earlier batch."""
    if sources:
        is_new = loop.dataset.get_field(loop.names.chosen_by) is None
        text = "Criterion that chose the image: " + ", ".join(CRITERIA)
        writing.declare(loop, loop.names.chosen_by, fo.StringField, text)
        if is_new and not loop.names.series:  # baselines stay in the background
            appearance.show(loop, loop.names.rank, loop.names.chosen_by)
    if loop.dataset.get_field(loop.names.chosen_by) is not None:
        loop.dataset.set_values(
            loop.names.chosen_by, {i: sources.get(i) for i in ids}, key_field="id"
        )
