"""Rank the pool and freeze the next batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.annotation.sendings import read_sending
from unseen.dataset import appearance, indexes, reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.loop import rules
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES
from unseen.ranking.choosing import draw, ranked, to_rank
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
    place = _place(loop, config)
    tag = names.batch(place.number)
    progress(0, 3, "read the ranking")
    pool = read_pool(loop, config, tag, progress)
    wanted = to_rank(config.strategy, config.budget, config.random_share)
    chosen = ranked(config.strategy, pool.numbers, wanted)
    batch = [pool.ids[i] for i in chosen.order]
    rng = np.random.default_rng(config.seed)
    drawn = draw(pool.size - len(batch), config.budget - len(batch), rng).tolist()
    batch += indexes.pool_ids(loop, drawn, without=batch)
    sources = dict(zip(batch, chosen.criteria, strict=False))  # the rest is drawn at random
    mixture: dict[str, Any] = {}
    if config.strategy == "mixed":
        mixture = {**pool.facts, "sources": sources, "shares": chosen.shares, "trust": chosen.trust}
    is_scored = config.strategy in SCORED_STRATEGIES
    unscored = pool.size - pool.scored if is_scored else 0
    progress(1, 3, "freeze the batch")
    entry = {
        "parameters": config.to_dict(),
        "batch": tag,
        "batch_ids": batch,
        "pool": pool.size,
        "unscored": unscored,
        **mixture,
    }
    loop.begin_entry(place.record, "select_batch", entry)
    _mark(loop, tag, batch, sources, place.earlier_ids)
    text = f"Batch {place.number}: {len(batch)} images in rank order, strategy {config.strategy}"
    writing.save_own_view(loop, tag, loop.dataset.select(batch, ordered=True), text)
    progress(2, 3, "write the record")
    entry["seconds"] = elapsed()
    top = {"strategy": config.strategy, "seed": config.seed, **loop.label_facts()}
    loop.write_entry(place.record, "select_batch", entry, **top)
    progress(3, 3, "write the record")
    counts = {c: list(sources.values()).count(c) for c in CRITERIA}
    return SelectResult(
        dataset=loop.dataset.name,
        iteration=place.number,
        batch=tag,
        strategy=config.strategy,
        sample_ids=batch,
        pool=pool.size,
        unscored=unscored,
        criteria={c: n for c, n in counts.items() if n},
        trust=chosen.trust,
        features=mixture["features"]["origin"] if mixture else "",
        candidates=pool.candidates if config.strategy in ("balanced", "mixed") else 0,
    )


@dataclass(frozen=True)
class _Place:
    """Which batch is chosen, and what is there of it already."""

    number: int
    record: int  #: the iteration whose record names it
    earlier_ids: list[str]  #: of a choice that was cut short


def _place(loop: Loop, config: SelectConfig) -> _Place:
    """The next batch, the one that is to be replaced, or the one that was not finished."""
    batches, iteration, unfinished = (
        loop.batches(),
        loop.iteration(),
        loop.unfinished("select_batch"),
    )
    newest = max(batches, default=0)
    waiting = newest if newest > iteration else None
    if unfinished is not None:
        record, entry = unfinished
        number = loop.names.batch_number(entry["batch"]) or 0
        place = _Place(number, record, entry["batch_ids"])
    elif waiting is not None:
        # Of a batch whose images were all deleted, nobody will ever label one.
        if len(loop.whole.tagged(batches[waiting]).limit(1)):
            if not config.replace:
                raise DatasetError(rules.open_batch_problem(batches[waiting]))
            sending = read_sending(loop, loop.names.anno_key(waiting))
            if sending is not None and sending.sent_ids() and not sending.closed:
                raise DatasetError(rules.sent_batch_problem(batches[waiting]))
        place = _Place(waiting, loop.record_of_batch(waiting), [])
    else:
        place = _Place(newest + 1, iteration, [])
    tag = loop.names.batch(place.number)
    writing.check_own_view(loop, tag)
    strangers = 0 if waiting or unfinished else len(loop.whole.tagged(tag))
    if strangers:
        raise DatasetError(
            f"{strangers} images of dataset {loop.dataset.name!r} have the tag {tag!r}, and no record "
            "says that it is a batch of ours. Rename the tag (view = dataset.match_tags(...); "
            f"view.tag_samples('my_{tag}'); view.untag_samples({tag!r})), or pass another series="
        )
    return place


def _mark(
    loop: Loop, tag: str, ranked: list[str], sources: dict[str, str], earlier: list[str]
) -> None:
    """Tag and rank exactly these images; what an earlier choice left on others goes."""
    names, dataset = loop.names, loop.dataset
    is_mixed = bool(sources) or dataset.get_field(names.chosen_by) is not None
    fields = [(names.rank, fo.IntField, "Rank in its batch, 1 = label first")]
    if is_mixed:  # also without sources: nothing of an earlier batch may stay on an image
        text = "Criterion that chose the image: " + ", ".join(CRITERIA)
        fields.append((names.chosen_by, fo.StringField, text))
    # Baselines stay in the background. On images a criterion would be taken for a class.
    if dataset.get_field(names.rank) is None and not names.series:
        appearance.show(loop, names.rank)
    for name, kind, text in fields:
        writing.declare(loop, name, kind, text)
    writing.group_fields(loop)
    values = {
        i: {names.rank: rank, **({names.chosen_by: sources.get(i)} if is_mixed else {})}
        for rank, i in enumerate(ranked, start=1)
    }
    writing.mark_batch(loop, tag, values, earlier)
