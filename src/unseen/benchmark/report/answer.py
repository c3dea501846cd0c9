"""What a benchmark says, in words: what was compared, and the answer, made from the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseen.benchmark.report.detectors import BASELINES
from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.figures import Values, over_cases, over_seeds
from unseen.benchmark.report.runs import SCHEDULES, Benchmark
from unseen.benchmark.report.table import Form, number

#: More names than this are counted instead of listed.
MANY = 6

_ABOVE, _BELOW, _LEVEL, _FEW = (
    "above",
    "below",
    "cannot be told apart",
    "too few seeds to tell",
)


@dataclass(frozen=True)
class Answer:
    """The top of the report.

    Attributes:
        outcome: "win" (ahead of every other), "loss" (behind some), "mixed" or "unknown".
        headline: the answer in one sentence.
        sentences: what it rests on.
        compared: what was compared.
    """

    outcome: str
    headline: str
    sentences: tuple[str, ...]
    compared: str

    def text(self) -> str:
        """All of it, to print."""
        return "\n".join((self.headline, *self.sentences, self.compared))


def answer(
    benchmark: Benchmark,
    rare: Values,
    found: Sequence[Difference],
    at_equal_boxes: Sequence[Difference],
    detectors: dict[str, tuple[Values, Sequence[Difference]]],
) -> Answer:
    """Does the first strategy find rare classes sooner than the others?

    Args:
        benchmark: the runs.
        rare: share of rare boxes found at equal images.
        found: differences of it.
        at_equal_boxes: the same at equal boxes.
        detectors: schedule -> mean F1 at the last iteration, and differences of it.
    """
    first = benchmark.first
    compared = _compared(benchmark)
    lines: list[str] = []
    if not rare:
        outcome, headline = "unknown", "Nothing rare was there to be found, so nothing can be said."
    elif not found:
        outcome = "unknown"
        headline = (
            f"{first} was run, and nothing to compare it with." if first else "Only full sets."
        )
    else:
        outcome, headline = _headline(first, found)
        if len(benchmark.cases) > 1:
            headline = f"{headline[:-1]}, on average over {len(benchmark.cases)} datasets."
    if rare:
        lines.append(_found(benchmark, rare))
        lines += _where(benchmark, found) + _where_not(benchmark, rare)
    if at_equal_boxes:
        lines.append(f"For the same number of boxes: {_list(at_equal_boxes)}.")
    for schedule, (values, gaps) in detectors.items():
        mean = over_cases(values, benchmark.cases, first)
        if gaps and mean is not None:
            lines.append(
                f"Detector at {SCHEDULES[schedule]}: mean F1 {mean:.2f} with what {first} chose; "
                f"{_list(gaps, 'score')}."
            )
    return Answer(outcome, headline, tuple(lines), compared)


def _headline(first: str, found: Sequence[Difference]) -> tuple[str, str]:
    """The outcome, and one sentence."""
    sorted_ = {v: [d.peer for d in found if d.overall.verdict == v] for v in _ORDER}
    above, below, level = sorted_[_ABOVE], sorted_[_BELOW], sorted_[_LEVEL] + sorted_[_FEW]
    others = "every other strategy" if len(found) > 1 else found[0].peer
    if len(sorted_[_FEW]) == len(found):
        return "unknown", f"Too few seeds to tell whether {first} finds rare classes sooner."
    if len(above) == len(found):
        return "win", f"Yes: {first} finds rare classes sooner than {others}."
    if len(below) == len(found):
        return "loss", f"No: {first} finds rare classes later than {others}."
    if len(level) == len(found):
        return "unknown", (
            f"It cannot be told whether {first} finds rare classes sooner than {others}."
        )
    parts = []
    if above:
        parts.append(f"sooner than {_names(above)}")
    if below:
        parts.append(f"later than {_names(below)}")
    text = f"{first} finds rare classes {', but '.join(parts)}"
    if level:
        text += f"; from {_names(level)} it cannot be told apart"
    return ("loss" if below else "mixed"), f"{text}."


def _found(benchmark: Benchmark, rare: Values) -> str:
    """How much each strategy found, most first."""
    means = {s: over_cases(rare, benchmark.cases, s) for s in benchmark.strategies}
    known = {s: m for s, m in means.items() if m is not None}
    order = sorted(known, key=lambda s: (s != benchmark.first, -known[s]))
    if len(order) > MANY + 2:  # the best, and what everybody knows
        order = [*order[:MANY], *(s for s in order[MANY:] if s in BASELINES)]
    shares = ", ".join(f"{s} {100 * known[s]:.0f} %" for s in order)
    many = len({c for c, _ in rare}) > 1
    further = {n - _initial(benchmark, c, s) for (c, s), n in benchmark.images.items()}
    same = len(further) == 1
    with_ = f"With {_count(further.pop(), 'further image')}" if same else "With equal images"
    where = ", mean over the datasets" if many else ""
    return f"{with_}, of the boxes of rare classes were found{where}: {shares}."


def _where(benchmark: Benchmark, found: Sequence[Difference]) -> list[str]:
    """On which cases alone it is above every other, and on which it is not, and against whom."""
    clear, open_ = [], []
    for case in benchmark.cases:
        verdicts = {d.peer: d.cases[case].verdict for d in found if case in d.cases}
        if not verdicts or _FEW in verdicts.values():
            return []  # nobody can tell
        others = [peer for peer, verdict in verdicts.items() if verdict != _ABOVE]
        if others:
            every = len(others) == len(verdicts) and len(verdicts) > 1
            open_.append(f"{case} ({'any' if every else _names(others)})")
        else:
            clear.append(case)
    if len(benchmark.cases) == 1:
        return []
    parts = [f"above every other on {_names(clear)}"] if clear else []
    parts += [f"not clearly above on {_names(open_)}"] if open_ else []
    return [f"Each dataset by itself: {'; '.join(parts)}."]


def _where_not(benchmark: Benchmark, rare: Values) -> list[str]:
    """The cases in which another strategy found more on average."""
    first, lost = benchmark.first, []
    for case in benchmark.cases:
        ours = over_seeds(rare, case, first)
        others = {p: s.mean for p in benchmark.peers if (s := over_seeds(rare, case, p))}
        best = max(others, key=lambda p: others[p], default=None)
        if ours is None or best is None or others[best] <= ours.mean + 1e-9:
            continue
        lost.append(f"{case} ({best} {100 * others[best]:.0f} %, {first} {100 * ours.mean:.0f} %)")
    if not lost or len(benchmark.cases) == 1:
        return []
    return [f"Another strategy found more on average on {_names(lost)}."]


def _list(found: Sequence[Difference], form: Form = "percent") -> str:
    """The peers by verdict, with the differences."""
    parts = []
    for verdict in _ORDER:
        peers = [d for d in found if d.overall.verdict == verdict]
        if len(peers) > MANY:
            means = sorted((d.overall.mean for d in peers), key=abs)
            every = "all " if len(peers) == len(found) else ""
            low, high = (_gap(m, form) for m in (means[0], means[-1]))
            parts.append(f"{_WORDS[verdict]} {every}{len(peers)} others ({low} to {high})")
        elif peers:
            gaps = ", ".join(f"{d.peer} ({_gap(d.overall.mean, form)})" for d in peers)
            parts.append(f"{_WORDS[verdict]} {gaps}")
    return "; ".join(parts)


def _gap(value: float, form: Form) -> str:
    text = number(abs(value), form)
    return f"{'-' if value < 0 else '+'}{text}{' points' if form == 'percent' else ''}"


def _compared(benchmark: Benchmark) -> str:
    runs = benchmark.runs
    start = " or ".join(str(n) for n in sorted({r.initial for r in runs if not r.is_full}))
    budget = " or ".join(str(n) for n in sorted({r.budget for r in runs if not r.is_full}))
    batches = {len(r.iterations) - 1 for r in runs if not r.is_full}
    peers = f" against {_names(benchmark.peers)}" if benchmark.peers else ""
    cases, seeds = len(benchmark.cases), len(benchmark.seeds)
    text = (
        f"Compared: {benchmark.first or 'full sets'}{peers}, on {_count(cases, 'dataset')} "
        f"({', '.join(benchmark.cases)}), {_count(seeds, 'seed')}"
    )
    if batches:
        rounds = _count(max(batches), "batch")
        text += f"; {start} initial images, then {rounds} of {budget}"
    text += f". {_count(len(runs), 'run')} finished"
    missing = len(benchmark.missing)
    return f"{text}, {missing} missing." if missing else f"{text}."


def _initial(benchmark: Benchmark, case: str, seed: int) -> int:
    return next(
        r.initial for r in benchmark.runs if (r.case, r.seed) == (case, seed) and not r.is_full
    )


def _names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _count(n: int, noun: str) -> str:
    plural = {"batch": "batches"}.get(noun, f"{noun}s")
    return f"{n} {noun if n == 1 else plural}"


_ORDER = (_ABOVE, _LEVEL, _BELOW, _FEW)
_WORDS = {
    _ABOVE: "above",
    _LEVEL: "not to be told from",
    _BELOW: "below",
    _FEW: "too few seeds to tell from",
}
