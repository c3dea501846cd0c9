"""Rank the pool and freeze the next batch."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import numpy as np

from unseen.dataset import appearance, reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.loop import rules
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

    The saved view holds the images themselves, not the query, so scoring again does not change a
    batch that people work on. While no image of the newest batch is labelled, another batch is
    refused unless `replace` is set.
    """
    names = loop.names
    reading.check_label_field(loop.dataset, names.label_field, must_exist=False)
    iteration = loop.iteration()
    waiting = loop.open_batch()
    if waiting is not None and not config.replace:
        raise DatasetError(rules.open_batch_problem(names.batch(waiting)))
    number = waiting or max(loop.batches(), default=0) + 1
    tag = names.batch(number)
    writing.check_own_view(loop, tag)
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

    if waiting is not None:
        replaced = dict.fromkeys(loop.dataset.match_tags(tag).values("id"))
        for name in (names.rank, names.chosen_by):
            if replaced and loop.dataset.get_field(name) is not None:
                loop.dataset.set_values(name, replaced, key_field="id")
    text = f"Batch {number}: {len(ranked)} images in rank order, strategy {config.strategy}"
    writing.save_own_view(loop, tag, loop.dataset.select(ranked, ordered=True), text)
    writing.set_tag(loop.dataset, ranked, tag)
    ranks = {sample_id: rank for rank, sample_id in enumerate(ranked, start=1)}
    _save(loop, names.rank, fo.IntField, "Rank in its batch, 1 = label first", ranks)
    if sources or loop.dataset.get_field(names.chosen_by) is not None:
        # Also without sources: nothing of an earlier batch may stay on an image.
        text = "Criterion that chose the image: " + ", ".join(CRITERIA)
        values = {i: sources.get(i) for i in ranked}
        _save(loop, names.chosen_by, fo.StringField, text, values)
    writing.group_fields(loop)
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
    counts = {c: list(sources.values()).count(c) for c in CRITERIA}
    return SelectResult(
        dataset=loop.dataset.name,
        iteration=number,
        batch=tag,
        strategy=config.strategy,
        sample_ids=ranked,
        pool=len(pool.ids),
        unscored=unscored,
        criteria={c: n for c, n in counts.items() if n},
        trust=chosen.trust,
        features=mixture["features"]["origin"] if mixture else "",
    )


def _save(loop: Loop, name: str, kind: type, text: str, values: dict[str, Any]) -> None:
    """Write a field of the batch, and show it where it is new."""
    is_new = loop.dataset.get_field(name) is None
    writing.declare(loop, name, kind, text)
    loop.dataset.set_values(name, values, key_field="id")
    if is_new and not loop.names.series:  # baselines stay in the background
        appearance.show(loop, name)
