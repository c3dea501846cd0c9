"""Where the loop stands, how far its ranking can be trusted, how good the detector is, when to stop.

One call per question, plain data back; nothing is changed. The panel, a notebook and the command
line ask the same functions::

    from unseen import overview

    now = overview.now("wafers")
    print(now.next_action.label, now.next_action.reason)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from unseen.annotation.status import ask_servers
from unseen.dataset import reading, setup
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, UnseenError
from unseen.loop import next_action as decide
from unseen.loop import preconditions
from unseen.loop import progress as overview_progress
from unseen.loop import ranking as overview_ranking
from unseen.loop import reading as reader
from unseen.loop import records as overview_records
from unseen.loop import stopping as stopping_rule
from unseen.loop.control import LabelledParts, control_group
from unseen.loop.curves import read_curves, summarise
from unseen.loop.learning import build_progress
from unseen.loop.overview_data import OLD, Advice, Control, Facts, Novelty, Now, Progress, Ranking
from unseen.loop.spread import histogram
from unseen.loop.trust import Evidence, judge_ranking
from unseen.parameters import StepConfig, parameters
from unseen.ranking import METRICS

#: What an image can be ranked by.
ALL_METRICS = (*METRICS, "entropy", "foreground")
#: With fewer images than this to compare with, a larger group is looked for.
FEW_IMAGES = 10

T = TypeVar("T")

#: What was answered, by question and loop, with the stamp of what it depends on.
_kept: dict[tuple[Any, ...], tuple[str, Any]] = {}
#: Answers that are kept.
_MOST = 256


def now(dataset: Any, names: Names | None = None) -> Now:
    """Where the loop stands, from the records and the database; no server is asked.

    Args:
        dataset: a dataset or its name.
        names: the loop; default: the main loop as it was set up.
    """
    look = _Look(dataset, names)
    return look.cached("now", lambda: _now(look))


def now_with_server(dataset: Any, names: Names | None = None) -> Now:
    """Like `now`, after asking the annotation server how far labelling is (seconds, network).

    A server that cannot be asked is no error: the answer is that of `now`, with the reason in its
    hints.
    """
    look = _Look(dataset, names)
    batch = look.facts.batch
    if batch is None or not batch.sent:
        return _now(look)
    key = look.names.anno_key(batch.number)
    if not batch.number:
        key = look.names.own_anno_key("initial")
    try:
        status = ask_servers(look.loop, key)[0]
    except UnseenError as error:
        asked = replace(batch, problem=str(error))
    else:
        done = max(0, status.images_finished - batch.labelled - batch.removed)
        known = None if status.problem else (done or 1) if status.waiting else 0
        asked = replace(batch, waiting_to_load=known, problem=status.problem)
    answer = _now(look, replace(look.facts, batch=asked))
    return replace(answer, asked_server=asked.problem is None)


def ranking(dataset: Any, names: Names | None = None, metric: str | None = None) -> Ranking:
    """What the newest scores say about the pool and the batch.

    Args:
        dataset: a dataset or its name.
        names: the loop.
        metric: one of excess, alpha, threshold, region_strength, entropy, foreground; default: the
            one that ranked the newest batch.

    Raises:
        ConfigError: there is no such metric.
    """
    look = _Look(dataset, names)
    if metric is not None and metric not in ALL_METRICS:
        raise ConfigError(f"metric={metric!r}; expected one of {', '.join(ALL_METRICS)}")
    return look.cached("ranking", lambda: _ranking(look, metric), metric)


def progress(dataset: Any, names: Names | None = None) -> Progress:
    """The learning curves of all loops of the dataset, with intervals over the test images.

    Args:
        dataset: a dataset or its name.
        names: the loop; its records and those of the series beside it are read.
    """
    look = _Look(dataset, names)
    return look.cached("progress", lambda: _progress(look))


def control(dataset: Any, names: Names | None = None) -> Control | None:
    """What ranking gained over random images, from the batches with a random share.

    Args:
        dataset: a dataset or its name.
        names: the loop.

    Returns:
        None where no batch with a random share has labels.
    """
    return _control(_Look(dataset, names))


def why_not(
    dataset: Any, step: str, params: Mapping[str, Any], names: Names | None = None
) -> tuple[str | None, str] | None:
    """Why a step would refuse to run now, as far as that is certain.

    Args:
        dataset: a dataset or its name.
        step: name of a step.
        params: its parameters, with defaults.
        names: the loop.

    Returns:
        The parameter that it is about (None = none of them) and a sentence; None = go on.
    """
    look = _Look(dataset, names)
    return preconditions.why_not(step, look.facts, params)


def stopping(progress: Progress, ranking: Ranking, now: Now) -> Advice:
    """Whether to label on, by the rule in docs/method.md, "When to stop"."""
    return stopping_rule.advise(progress, ranking, now)


def forget() -> None:
    """Drop every answer that is kept in this process."""
    _kept.clear()


# --- what all answers share ------------------------------------------------------------------------
class _Look:
    """One look at a loop: what is read once and used by every part of an answer."""

    def __init__(self, dataset: Any, names: Names | None) -> None:
        # The whole dataset, also where a view of it is shown.
        self.dataset = reading.open_collection(dataset)._dataset
        self.names = names or setup.names_of(self.dataset)
        self.loop = Loop(self.dataset, self.names)
        self.stamp = overview_records.stamp(self.dataset)

    def cached(self, question: str, answer: Callable[[], T], *more: Any) -> T:
        """The answer as kept, if nothing that it depends on has changed since."""
        key = (question, str(self.dataset._doc.id), self.dataset.name, self.names, *more)
        kept = _kept.get(key)
        if kept is not None and kept[0] == self.stamp:
            found: T = kept[1]
            return found
        made = answer()
        while len(_kept) >= _MOST:
            _kept.pop(next(iter(_kept)), None)
        _kept[key] = (self.stamp, made)
        return made

    @property
    def records(self) -> overview_records.Records:
        """The records of this loop and of those beside it."""
        return self.cached("records", lambda: overview_records.read(self.loop))

    @property
    def facts(self) -> Facts:
        """Counts and states."""
        return self.cached("facts", lambda: reader.read_facts(self.loop, self.records))

    @property
    def shared(self) -> dict[str, Any]:
        """The parameters that tell a step of which loop it is, where they are not the defaults."""
        defaults = {p.name: p.default for p in parameters(StepConfig)}
        given = {k: v for k, v in vars(self.names).items() if k in defaults}
        return {k: v for k, v in given.items() if v != defaults[k]}


# --- the answers -----------------------------------------------------------------------------------
def _now(look: _Look, facts: Facts | None = None) -> Now:
    facts = facts or look.facts
    problem = reader.why_unreadable(look.loop)
    best = decide.next_action(facts)
    others = decide.other_actions(facts, best)
    return Now(
        dataset=look.dataset.name,
        iteration=facts.iteration,
        counts=facts.counts,
        batch=facts.batch,
        next_action=decide.with_params(best, look.shared),
        other_actions=[decide.with_params(a, look.shared) for a in others],
        empty_state=problem or decide.empty_state(facts),
        hints=decide.hints(facts),
        series=sorted(look.records.all_series),
    )


def _ranking(look: _Look, metric: str | None) -> Ranking:
    dataset, names, records = look.dataset, look.names, look.records
    metric = overview_ranking.metric_of(records, metric)
    path = names.metric(metric)
    batch = look.facts.batch
    tag = batch.name if batch is not None and batch.images else None
    found = overview_ranking.read_values(
        Loop(dataset, names), path, overview_ranking.newest_mark(records), tag
    )
    labelled = overview_ranking.labelled_batch(Loop(dataset, names), records)
    scores = overview_ranking.newest_scores(records)
    trust = judge_ranking(
        found.candidates,
        metric=_in_words(metric, scores),
        budget=batch.images if batch is not None and batch.number else 10,
        mean_score=scores.get("mean_score"),
        evidence=_evidence(labelled, found.test_labels),
        classes=overview_ranking.known_classes(Loop(dataset, names), records),
        are_scores_old=look.facts.scores == OLD,
    )
    division = overview_ranking.division(records, tag)
    if division:
        trust = replace(trust, details=[division, *trust.details])
    empty = None
    if not len(found.candidates):
        empty = (
            "No image of the pool has a score yet. Train the UNet on the labelled images, then "
            "score the pool."
            if look.facts.counts.pool or not look.facts.counts.images
            else "The pool is empty: there is nothing left to rank."
        )
    return Ranking(
        dataset=dataset.name,
        metric=metric,
        field=path,
        scored=len(found.candidates),
        histogram=histogram(found.pool, found.batch),
        batch=batch,
        rows=overview_ranking.read_rows(Loop(dataset, names), path, tag, records) if tag else [],
        trust=trust,
        novelty=_novelty(look, path, labelled, found.candidates),
        control=_control(look),
        empty_state=empty,
    )


def _in_words(metric: str, scores: Mapping[str, Any]) -> str:
    """The metric as sentences name it: alpha with its exponent, where that follows the labels."""
    if metric != "alpha" or not (scores.get("parameters") or {}).get("adapt_alpha"):
        return metric
    return f"alpha (exponent {scores['alpha']:.2f}, by an imbalance of {scores['imbalance']:.2f})"


def _evidence(
    found: overview_ranking.LabelledBatch | None, test: list[list[str]]
) -> Evidence | None:
    """What the labelled batch is compared with: random images, else the test split, else others."""
    if found is None or not found.ranked:
        return None
    choices = [("drawn at random", found.random, True), ("of the test split", test, True)]
    choices += [(f"chosen by {name}", images, True) for name, images in found.others.items()]
    choices.append(("labelled at the start", found.initial, False))
    # A handful of random images says less than the test split does.
    choices.sort(key=lambda choice: (not choice[2], len(choice[1]) < FEW_IMAGES))
    how, compared, is_fair = next((c for c in choices if c[1]), choices[-1])
    return Evidence(
        batch=found.name,
        ranked=found.ranked,
        compared=compared,
        how=how,
        is_fair=is_fair,
        counts_before=found.counts_before,
    )


def _control(look: _Look) -> Control | None:
    dataset, names, records = look.dataset, look.names, look.records
    parts = [
        LabelledParts(
            batch=batch.name,
            ranked=batch.ranked,
            random=batch.random,
            counts_before=batch.counts_before,
        )
        for batch in overview_ranking.random_parts(Loop(dataset, names), records)
    ]
    return control_group(parts, overview_ranking.known_classes(Loop(dataset, names), records))


def _novelty(
    look: _Look,
    path: str,
    labelled: overview_ranking.LabelledBatch | None,
    values: np.ndarray,
) -> Novelty | None:
    if labelled is None or not len(values):
        return None
    reference = overview_ranking.median_value(look.dataset, path, labelled.ids)
    if reference is None:
        return None
    share = float((values >= reference).mean())
    return Novelty(share=share, reference=reference, batch=labelled.name)


def _progress(look: _Look) -> Progress:
    records = look.records
    found = summarise(records.all_series)
    curves = read_curves(found)
    classes = next((list(i.per_class) for i in found if i.per_class), None)
    if classes is None:
        classes = overview_ranking.known_classes(look.loop, records)
    evaluations = overview_progress.own_evaluations(records)
    counts = overview_progress.read_counts(look.dataset, evaluations, classes)
    settings = overview_progress.settings(records)
    empty = None
    if not any(i.images for i in found):
        empty = "No iteration is on record yet. Label the initial images and train."
    elif not any(i.macro_f1 is not None for i in found):
        empty = (
            "No detector was measured yet. Train the detector, let it predict on the test split, "
            "and measure it."
        )
    drawn = [
        *((s.name, s.strategy, s.label, s.points) for s in curves.series),
        *([(curves.full.series, "full", "Full set", (curves.full,))] if curves.full else []),
    ]
    return build_progress(
        look.dataset.name,
        classes,
        drawn,
        counts,
        main=look.names.series,
        evaluations=evaluations,
        settings=settings,
        empty_state=empty,
    )
