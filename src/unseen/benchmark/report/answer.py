"""What a benchmark says, in words: what was compared, and the answer, made from the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unseen.benchmark.report.detectors import BASELINES
from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.measures import Values, over_cases, over_seeds
from unseen.benchmark.report.runs import SCHEDULES, Benchmark
from unseen.report.table import Form, number

#: More names than this are counted instead of listed.
MANY = 6

_ABOVE, _LEVEL, _BELOW, _FEW = "above", "cannot be told apart", "below", "too few seeds to tell"
#: Verdict -> the words before the names.
_WORDS = {
    _ABOVE: "above",
    _LEVEL: "not to be told from",
    _BELOW: "below",
    _FEW: "too few seeds to tell from",
}


@dataclass(frozen=True)
class Answer:
    """The top of the report."""

    outcome: str  #: "win" (ahead of every other), "loss" (behind some), "mixed" or "unknown"
    headline: str  #: the answer in one sentence
    sentences: Sequence[str]  #: what it rests on
    compared: str  #: what was compared


def answer(
    benchmark: Benchmark,
    rare: Values,
    at_equal_images: Sequence[Difference],
    at_equal_boxes: Sequence[Difference],
    detectors: Mapping[str, tuple[Values, Sequence[Difference]]],
) -> Answer:
    """Does the first strategy find rare classes sooner than the others?

    `rare` is the share of rare boxes found at equal images, followed by its differences at equal images
    and boxes; `detectors` has the mean F1 at the last iteration, and its differences, per schedule.
    """
    first = benchmark.first
    outcome, headline = "unknown", "Only full sets."
    if not rare:
        headline = "Nothing rare was there to be found, so nothing can be said."
    elif at_equal_images:
        outcome, headline = _headline(first, at_equal_images)
        if len(benchmark.cases) > 1:
            headline = f"{headline[:-1]}, on average over {len(benchmark.cases)} datasets."
    elif first:
        headline = f"{first} was run, and nothing to compare it with."
    lines = []
    if rare:
        lines.append(_shares(benchmark, rare))
        if len(benchmark.cases) > 1:
            lines += [*_where(benchmark, at_equal_images), *_where_not(benchmark, rare)]
    if at_equal_boxes:
        lines.append(f"For the same number of boxes: {_list(at_equal_boxes, 'percent')}.")
    for schedule, (values, gaps) in detectors.items():
        mean = over_cases(values, first)
        if gaps and mean is not None:
            lines.append(
                f"Detector at {SCHEDULES[schedule]}: mean F1 {mean:.2f} with what {first} chose; "
                f"{_list(gaps, 'score')}."
            )
    return Answer(outcome, headline, lines, _compared(benchmark))


def _headline(first: str, compared: Sequence[Difference]) -> tuple[str, str]:
    """The outcome, and one sentence."""
    peers = {v: [d.peer for d in compared if d.overall.verdict == v] for v in _WORDS}
    above, below, level = peers[_ABOVE], peers[_BELOW], peers[_LEVEL] + peers[_FEW]
    every = len(compared)
    others = "every other strategy" if every > 1 else compared[0].peer
    if len(peers[_FEW]) == every:
        return "unknown", f"Too few seeds to tell whether {first} finds rare classes sooner."
    if len(above) == every:
        return "win", f"Yes: {first} finds rare classes sooner than {others}."
    if len(below) == every:
        return "loss", f"No: {first} finds rare classes later than {others}."
    if len(level) == every:
        text = f"It cannot be told whether {first} finds rare classes sooner than {others}."
        return "unknown", text
    parts = [f"sooner than {_names(above)}"] if above else []
    parts += [f"later than {_names(below)}"] if below else []
    text = f"{first} finds rare classes {', but '.join(parts)}"
    if level:
        text += f"; from {_names(level)} it cannot be told apart"
    return ("loss" if below else "mixed"), f"{text}."


def _shares(benchmark: Benchmark, rare: Values) -> str:
    """How much each strategy found, most first."""
    means = {s: m for s in benchmark.strategies if (m := over_cases(rare, s)) is not None}
    order = sorted(means, key=lambda s: (s != benchmark.first, -means[s]))
    if len(order) > MANY + 2:  # the best, and what everybody knows
        order = [*order[:MANY], *(s for s in order[MANY:] if s in BASELINES)]
    shares = ", ".join(f"{s} {100 * means[s]:.0f} %" for s in order)
    further = {benchmark.images[r.case, r.seed] - r.initial for r in benchmark.choosing()}
    work = _count(further.pop(), "further image") if len(further) == 1 else "equal images"
    where = ", mean over the datasets" if len({case for case, _ in rare}) > 1 else ""
    return f"With {work}, of the boxes of rare classes were found{where}: {shares}."


def _where(benchmark: Benchmark, compared: Sequence[Difference]) -> list[str]:
    """On which cases alone it is above every other, and on which it is not, and against whom."""
    clear, open_ = [], []
    for case in benchmark.cases:
        verdicts = {d.peer: d.cases[case].verdict for d in compared if case in d.cases}
        if not verdicts or _FEW in verdicts.values():
            return []  # nobody can tell
        others = [peer for peer, verdict in verdicts.items() if verdict != _ABOVE]
        every = len(others) == len(verdicts) and len(verdicts) > 1
        if others:
            open_.append(f"{case} ({'any' if every else _names(others)})")
        else:
            clear.append(case)
    parts = [f"above every other on {_names(clear)}"] if clear else []
    parts += [f"not clearly above on {_names(open_)}"] if open_ else []
    return [f"Each dataset by itself: {'; '.join(parts)}."]


def _where_not(benchmark: Benchmark, rare: Values) -> list[str]:
    """The cases in which another strategy found more on average."""
    first, lost = benchmark.first, []
    for case in benchmark.cases:
        means = {s: e.mean for s in benchmark.strategies if (e := over_seeds(rare, case, s))}
        best = max(means, key=lambda s: means[s], default="")
        if first in means and means[best] > means[first] + 1e-9:
            each = (f"{s} {100 * means[s]:.0f} %" for s in (best, first))
            lost.append(f"{case} ({', '.join(each)})")
    return [f"Another strategy found more on average on {_names(lost)}."] if lost else []


def _list(compared: Sequence[Difference], form: Form) -> str:
    """The peers by verdict, with the differences."""
    unit = " points" if form == "percent" else ""

    def gap(value: float) -> str:
        return f"{'-' if value < 0 else '+'}{number(abs(value), form)}{unit}"

    parts = []
    for verdict, words in _WORDS.items():
        peers = [d for d in compared if d.overall.verdict == verdict]
        if len(peers) > MANY:
            means = sorted((d.overall.mean for d in peers), key=abs)
            every = "all " if len(peers) == len(compared) else ""
            span = f"{gap(means[0])} to {gap(means[-1])}"
            parts.append(f"{words} {every}{len(peers)} others ({span})")
        elif peers:
            gaps = ", ".join(f"{d.peer} ({gap(d.overall.mean)})" for d in peers)
            parts.append(f"{words} {gaps}")
    return "; ".join(parts)


def _compared(benchmark: Benchmark) -> str:
    runs, cases = benchmark.choosing(), benchmark.cases
    peers = f" against {_names(benchmark.peers)}" if benchmark.peers else ""
    text = (
        f"Compared: {benchmark.first or 'full sets'}{peers}, on {_count(len(cases), 'dataset')} "
        f"({', '.join(cases)}), {_count(len(benchmark.seeds), 'seed')}"
    )
    if runs:
        start = " or ".join(map(str, sorted({r.initial for r in runs})))
        budget = " or ".join(map(str, sorted({r.budget for r in runs})))
        most = max(len(r.iterations) - 1 for r in runs)
        batches = "1 batch" if most == 1 else f"{most} batches"
        text += f"; {start} initial images, then {batches} of {budget}"
    missing = f", {len(benchmark.missing)} missing" if benchmark.missing else ""
    return f"{text}. {_count(len(benchmark.runs), 'run')} finished{missing}."


def _names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun if n == 1 else noun + 's'}"
