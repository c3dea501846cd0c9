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
from typing import Any, TypeVar, cast

import numpy as np

from unseen.annotation.status import ask_servers
from unseen.dataset import labelling, reading, setup
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError, UnseenError
from unseen.loop import rules
from unseen.loop.facts import Records, batch_key, read_facts, read_records, stamp
from unseen.loop.overview_data import (
    OLD,
    Action,
    Advice,
    Control,
    Facts,
    Novelty,
    Now,
    Ranking,
    Trust,
    images_text,
)
from unseen.loop.people import read_people
from unseen.loop.progress import build_progress
from unseen.loop.progress_data import Progress
from unseen.loop.ranking import (
    counted_view,
    histogram,
    known_classes,
    median_value,
    metric_of,
    ranked_batches,
    read_evidence,
    read_rows,
    read_values,
)
from unseen.loop.stopping import advise
from unseen.loop.trust import Evidence, control_group, judge_ranking
from unseen.parameters import StepConfig, parameters
from unseen.ranking import METRICS, STRATEGIES

#: What an image can be ranked by.
ALL_METRICS = (*METRICS, "entropy", "foreground")

T = TypeVar("T")

#: What was answered, by question and loop, with the stamp of what it depends on.
_kept: dict[tuple[Any, ...], tuple[str, Any]] = {}
#: Answers that are kept.
_MOST = 256


def now(dataset: Any, names: Names | None = None) -> Now:
    """Where the loop stands, from the records and the database; no server is asked.

    `dataset` is a dataset or its name, here and in the other questions; `names` tells which loop,
    by default the main one as it was set up.
    """
    look = _Look(dataset, names)
    return look.cached("now", lambda: _now(look, look.facts))


def now_with_server(dataset: Any, names: Names | None = None) -> Now:
    """Like `now`, after asking the annotation server how far labelling is (seconds, network).

    If the server cannot be asked, the answer is that of `now`, with the reason in its hints.
    """
    look = _Look(dataset, names)
    batch = look.facts.batch
    if batch is None or not batch.sent:
        return _now(look, look.facts)
    try:
        status = ask_servers(look.loop, batch_key(look.names, batch.number))[0]
    except UnseenError as error:
        asked = replace(batch, problem=str(error))
    else:
        known = None if status.problem else status.images_waiting
        asked = replace(batch, waiting_to_load=known, problem=status.problem)
    answer = _now(look, replace(look.facts, batch=asked))
    return replace(answer, asked_server=asked.problem is None)


def ranking(dataset: Any, names: Names | None = None, metric: str | None = None) -> Ranking:
    """What the newest scores say about the pool and the batch.

    `metric` is one of ALL_METRICS (else `ConfigError`), by default the one that ranked the newest
    batch.
    """
    look = _Look(dataset, names)
    if metric is not None and metric not in ALL_METRICS:
        raise ConfigError(f"metric={metric!r}; expected one of {', '.join(ALL_METRICS)}")
    return look.cached("ranking", lambda: _ranking(look, metric), metric)


def counted(dataset: Any, names: Names | None = None) -> Any:
    """The view of the images that the histogram of `ranking` counts."""
    look = _Look(dataset, names)
    return counted_view(look.loop, look.records, _batch_tag(look.facts))


def progress(dataset: Any, names: Names | None = None) -> Progress:
    """The learning curves of all loops of the dataset, with intervals over the test images."""
    look = _Look(dataset, names)

    def answer() -> Progress:
        made = build_progress(look.loop, look.records, look.classes)
        people = read_people(look.loop, look.records, lambda: _control(look))
        return replace(made, people=people)

    return look.cached("progress", answer)


def control(dataset: Any, names: Names | None = None) -> Control | None:
    """What ranking gained over random images; None if no batch with a random share has labels."""
    return _control(_Look(dataset, names))


def why_not(
    dataset: Any, step: str, params: Mapping[str, Any], names: Names | None = None
) -> tuple[str | None, str] | None:
    """Why a step would refuse to run with these parameters now, as far as that is certain.

    Returns the parameter that it is about (None = none of them) and a sentence; None = go on.
    """
    return rules.why_not(step, _Look(dataset, names).facts, params)


def stopping(progress: Progress, ranking: Ranking, now: Now) -> Advice:
    """Whether to label on, by the rule in docs/method.md, "When to stop"."""
    return advise(progress, ranking, now)


def forget() -> None:
    """Drop every answer that is kept in this process."""
    _kept.clear()


class _Look:
    """One look at a loop: what is read once and used by every part of an answer."""

    def __init__(self, dataset: Any, names: Names | None) -> None:
        # The whole dataset, also where a view of it is shown.
        self.dataset = reading.open_collection(dataset)._dataset
        self.names = names or setup.names_of(self.dataset)
        self.loop = Loop(self.dataset, self.names)
        self.stamp = stamp(self.dataset)

    def cached(self, question: str, answer: Callable[[], T], *more: Any) -> T:
        """The answer as kept, if nothing that it depends on has changed since."""
        key = (question, str(self.dataset._doc.id), self.dataset.name, self.names, *more)
        stamp_then, kept = _kept.get(key, ("", None))
        if stamp_then == self.stamp:
            return cast(T, kept)
        made = answer()
        while len(_kept) >= _MOST:
            _kept.pop(next(iter(_kept)), None)
        _kept[key] = (self.stamp, made)
        return made

    @property
    def records(self) -> Records:
        """The records of this loop and of those beside it."""
        return self.cached("records", lambda: read_records(self.loop))

    @property
    def facts(self) -> Facts:
        """Counts and states."""
        return self.cached("facts", lambda: read_facts(self.loop, self.records))

    @property
    def classes(self) -> list[str]:
        """The class list."""
        return known_classes(self.loop, self.records)


# --- now -------------------------------------------------------------------------------------------
def _now(look: _Look, facts: Facts) -> Now:
    best = rules.due(facts)
    return Now(
        dataset=look.dataset.name,
        iteration=facts.iteration,
        counts=facts.counts,
        batch=facts.batch,
        next_action=with_names(best, look.names),
        other_actions=[with_names(a, look.names) for a in rules.other_actions(facts, best)],
        empty_state=_why_unreadable(look.loop) or empty_state(facts),
        hints=[*hints(facts), *look.cached("labels", lambda: label_hints(look.loop))],
        series=sorted(look.records.all_series),
    )


def with_names(action: Action, names: Names) -> Action:
    """The action with the parameters that tell a step which loop it is for, unless by default."""
    if "/" in action.operator:  # not one of our steps
        return action
    defaults = {p.name: p.default for p in parameters(StepConfig)}
    given = {k: v for k, v in vars(names).items() if k in defaults and v != defaults[k]}
    return replace(action, params={**given, **action.params})


def _why_unreadable(loop: Loop) -> str | None:
    """Why the labels of the loop cannot be read, or None."""
    try:
        reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    except DatasetError as error:
        return str(error)
    return None


def hints(facts: Facts) -> list[str]:
    """What is missing without stopping the loop."""
    counts, texts = facts.counts, []
    if counts.images and facts.is_split and not counts.test:
        texts.append(
            "There is no test split, so the detector cannot be measured: tag some images and "
            "label them before the first batch."
        )
    elif counts.test_unlabelled and counts.test_unlabelled == counts.test:
        texts.append(
            f"The test split ({images_text(counts.test)}) has no labels yet, so the detector cannot be "
            "measured. Request annotations for it too."
        )
    elif counts.test_unlabelled:
        texts.append(
            f"{counts.test_unlabelled:,} of {images_text(counts.test)} of the test split "
            f"{'has' if counts.test_unlabelled == 1 else 'have'} no labels yet; the detector is "
            "measured on the labelled ones only."
        )
    if facts.batch is not None and facts.batch.problem:
        texts.append(facts.batch.problem)
    return texts


def label_hints(loop: Loop) -> list[str]:
    """What is odd about the labels."""
    return [] if _why_unreadable(loop) else labelling.notes(loop)


def empty_state(facts: Facts) -> str | None:
    """What to do first, where there is nothing to show yet."""
    counts = facts.counts
    if not counts.images:
        return "The dataset is empty. Import images, set it up, and label the initial images."
    if counts.labelled:
        return None
    if not facts.is_split:
        return (
            f"{images_text(counts.images)}, none of them labelled or split yet. Set the dataset up: a "
            "fixed test split measures the detector, a few initial images start the loop."
        )
    return "No image is labelled yet. The ranking starts with the labels of the initial images."


# --- ranking ---------------------------------------------------------------------------------------
def _ranking(look: _Look, metric: str | None) -> Ranking:
    facts, records = look.facts, look.records
    batch = facts.batch
    metric = metric or metric_of(records)
    path = look.names.metric(metric)
    tag = _batch_tag(facts)
    values = read_values(look.loop, metric, records, tag)
    evidence = read_evidence(look.loop, records, values.test_labels)
    empty = None
    if not len(values.candidates):
        empty = (
            "No image of the pool has a score yet. Train the UNet on the labelled images, then "
            "score the pool."
            if facts.counts.pool or not facts.counts.images
            else "The pool is empty: there is nothing left to rank."
        )
    return Ranking(
        dataset=look.dataset.name,
        metric=metric,
        field=path,
        scored=len(values.candidates),
        histogram=histogram(values.pool, values.batch),
        batch=batch,
        rows=read_rows(look.loop, path, tag, records) if tag else [],
        chosen_how=STRATEGIES.get(batch.strategy or "", "") if batch is not None else "",
        trust=_trust(look, metric, values.candidates, evidence),
        novelty=_novelty(look, path, values.candidates, evidence),
        control=_control(look),
        empty_state=empty,
    )


def _batch_tag(facts: Facts) -> str | None:
    """The tag of the newest ranked batch; the initial images have no ranks."""
    return facts.batch.name if facts.batch is not None and facts.batch.number else None


def _trust(look: _Look, metric: str, candidates: np.ndarray, evidence: Evidence | None) -> Trust:
    batch, scores = look.facts.batch, look.records.newest("score_samples")
    if metric == "alpha" and (scores.get("parameters") or {}).get("adapt_alpha"):
        metric = (
            f"alpha (exponent {scores['alpha']:.2f}, by an imbalance of {scores['imbalance']:.2f})"
        )
    trust = judge_ranking(
        candidates,
        metric=metric,
        budget=batch.images if batch is not None and batch.number else 10,
        mean_score=scores.get("mean_score"),
        evidence=evidence,
        classes=look.classes,
        are_scores_old=look.facts.scores == OLD,
    )
    # A mixed batch: what was rehearsed before it was chosen, and how it was divided.
    division = look.records.batch(batch.name).get("trust") if batch is not None else None
    return replace(trust, details=[division, *trust.details]) if division else trust


def _novelty(
    look: _Look, path: str, candidates: np.ndarray, evidence: Evidence | None
) -> Novelty | None:
    if evidence is None or not len(candidates):
        return None
    reference = median_value(look.dataset, path, evidence.batch.ids)
    if reference is None:
        return None
    share = float((candidates >= reference).mean())
    return Novelty(share=share, reference=reference, batch=evidence.batch.name)


def _control(look: _Look) -> Control | None:
    batches = ranked_batches(look.loop, look.records)
    return control_group(batches[::-1], look.classes)
