"""Rank the pool and freeze the next batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np

from unseen.dataset import appearance, reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, DatasetError
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES, selection
from unseen.ranking.mixed import CRITERIA
from unseen.steps.newest_scores import newest_scores
from unseen.steps.select_batch import SelectConfig, SelectResult
from unseen.steps.select_batch.mixed import Mixture, choose_mixed
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
    pool = loop.pool
    ranking = _rank(loop, pool, config, progress)
    ranked, mixture = ranking.ids, ranking.mixture
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
    sources = mixture.sources if mixture else {}
    _save_sources(loop, ranked, sources)
    writing.group_fields(loop)
    if is_new and not loop.names.series:
        appearance.show_rank(loop)
    progress(2, 3, "write the record")
    loop.write_entry(
        iteration,
        "select_batch",
        {
            "parameters": config.to_dict(),
            "seconds": elapsed(),
            "batch": tag,
            "batch_ids": ranked,
            "pool": ranking.pool,
            "unscored": ranking.unscored,
            **(mixture.to_record() if mixture else {}),
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
        pool=ranking.pool,
        unscored=ranking.unscored,
        criteria={c: n for c in CRITERIA if (n := list(sources.values()).count(c))},
        trust=mixture.trust() if mixture else "",
        features=mixture.features[1] if mixture else "",
    )


class _Ranking(NamedTuple):
    ids: list[str]  #: in rank order
    pool: int  #: its size
    unscored: int  #: how many of the pool the newest UNet has not scored
    mixture: Mixture | None = None  #: how a mixed batch came about


def _rank(loop: Loop, pool: Any, config: SelectConfig, progress: Progress) -> _Ranking:
    rng = np.random.default_rng(config.seed)
    budget = config.budget
    if config.strategy not in SCORED_STRATEGIES:
        ids, _ = reading.raw_values(reading.in_directory_order(pool), [])
        _check_pool(loop.dataset, len(ids), budget)
        if config.strategy == "random":
            order = selection.random(len(ids), budget, rng)
        else:
            order = selection.sequential(len(ids), budget)
            order = selection.mix_random(order, len(ids), share=config.random_share, rng=rng)
        return _Ranking([ids[i] for i in order], len(ids), 0)

    mark, entry = newest_scores(loop, otherwise=", or choose the strategy random or sequential")
    size, scored = reading.count_equal(pool, loop.names.model, mark)
    _check_pool(loop.dataset, size, budget)
    if not scored:
        raise DatasetError(
            f"none of the {size} pool images was scored by the newest UNet ({mark}); run "
            "score_samples first"
        )
    ranked_pool = pool.match(fo.ViewField(loop.names.model) == mark)
    fixed = min(budget - round(config.random_share * budget), scored)
    mixture = None
    if config.strategy == "mixed":
        mixture = choose_mixed(
            loop,
            ranked_pool,
            config,
            budget=fixed,
            embed=lambda ids: _embeddings(loop, ids),
            progress=progress,
        )
        chosen = mixture.ids
    elif config.strategy == "balanced":
        ids, values = reading.raw_values(ranked_pool, [loop.names.expected_counts])
        counts = np.asarray(values[loop.names.expected_counts], dtype=np.float64)
        labelled = _labelled_counts(loop, list(entry["classes"]))
        chosen = [ids[i] for i in selection.balanced(counts, labelled, fixed)]
    else:
        metric = {"entropy": loop.names.entropy, "foreground": loop.names.foreground}.get(
            config.strategy, loop.names.metric(config.metric)
        )
        wanted = fixed
        if config.strategy == "diverse":
            wanted = min(scored, selection.CANDIDATES_PER_IMAGE * fixed)
        ids, numbers = reading.highest(ranked_pool, metric, wanted) if wanted else ([], [])
        chosen = ids
        if config.strategy == "diverse" and ids:
            embeddings = _embeddings(loop, ids)
            chosen = [ids[i] for i in selection.diverse(numbers, embeddings, fixed)]
    ids = _fill_at_random(pool, chosen, budget, rng)
    return _Ranking(ids, size, size - scored, mixture)


def _fill_at_random(
    pool: Any, chosen: list[str], budget: int, rng: np.random.Generator
) -> list[str]:
    """Complete a batch with random images of the pool: the asked-for share, or what is missing."""
    missing = budget - len(chosen)
    if not missing:
        return chosen
    ids, _ = reading.raw_values(reading.in_directory_order(pool), [])
    taken = set(chosen)
    rest = [i for i in ids if i not in taken]
    return chosen + [rest[i] for i in selection.random(len(rest), missing, rng)]


def _check_pool(dataset: Any, size: int, budget: int) -> None:
    if not size:
        raise BudgetError(
            f"the pool of dataset {dataset.name!r} is empty: every image is labelled, in the test "
            "split or excluded. Add images, or widen the view"
        )
    if budget > size:
        raise BudgetError(
            f"budget {budget} exceeds the {size} unlabelled images of the pool; lower it, or widen "
            "the view"
        )


def _labelled_counts(loop: Loop, classes: list[str]) -> np.ndarray:
    counts = loop.label_facts()["class_counts"]
    # The paper's UNet knows one foreground for all classes.
    known = [counts.get(c, 0) for c in classes] if len(classes) else [sum(counts.values())]
    return np.asarray([*known, 0], dtype=np.float64)


def _embeddings(loop: Loop, ids: list[str]) -> np.ndarray:
    found = dict(zip(*loop.dataset.select(ids).values(["id", loop.names.embedding]), strict=True))
    size = max((len(v) for v in found.values() if v is not None), default=1)
    missing = np.full(size, np.nan)
    return np.stack([missing if found.get(i) is None else np.asarray(found[i]) for i in ids])


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
            appearance.show_criterion(loop)
    if loop.dataset.get_field(loop.names.chosen_by) is not None:
        loop.dataset.set_values(
            loop.names.chosen_by, {i: sources.get(i) for i in ids}, key_field="id"
        )
