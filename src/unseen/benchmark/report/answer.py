"""The answer of a benchmark in words, made from its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.measures import Values, over_seeds
from unseen.benchmark.report.runs import Benchmark


@dataclass(frozen=True)
class Answer:
    """The top of the report."""

    outcome: str  #: "win" (ahead of every other), "loss" (behind some), "mixed" or "unknown"
    headline: str  #: the answer in one sentence
    sentences: Sequence[str]  #: where it does not hold
    compared: str  #: what was compared


def answer(benchmark: Benchmark, rare: Values, compared: Sequence[Difference]) -> Answer:
    """Does the first strategy find rare classes sooner than the others?

    `rare` is the share of rare boxes found at equal images, `compared` its differences.
    """
    first, several = benchmark.first, len(benchmark.cases) > 1
    outcome, headline = "unknown", "Only full sets."
    if not rare:
        headline = "The pool holds nothing rare beyond the initial images."
    elif compared:
        outcome, headline = _headline(first, compared)
        if several:
            headline = f"{headline[:-1]}, on average over {len(benchmark.cases)} datasets."
    elif first:
        headline = f"{first} was run, but nothing to compare it with."
    return Answer(
        outcome, headline, _regret(benchmark, rare) if several else [], _compared(benchmark)
    )


def _headline(first: str, compared: Sequence[Difference]) -> tuple[str, str]:
    """The outcome, and one sentence."""
    peers: dict[str, list[str]] = {}
    for difference in compared:
        peers.setdefault(difference.overall.verdict, []).append(difference.peer)
    above, below = peers.get("above", []), peers.get("below", [])
    level = [d.peer for d in compared if d.peer not in (*above, *below)]
    others = "every other strategy" if len(compared) > 1 else compared[0].peer
    if set(peers) == {"too few seeds to tell"}:
        return "unknown", f"Too few seeds to tell whether {first} finds rare classes sooner."
    if set(peers) == {"above"}:
        return "win", f"Yes: {first} finds rare classes sooner than {others}."
    if set(peers) == {"below"}:
        return "loss", f"No: {first} finds rare classes later than {others}."
    if len(level) == len(compared):
        text = f"It cannot be told whether {first} finds rare classes sooner than {others}."
        return "unknown", text
    parts = [f"sooner than {_names(above)}"] if above else []
    parts += [f"later than {_names(below)}"] if below else []
    text = f"{first} finds rare classes {', but '.join(parts)}"
    if level:
        text += f"; it cannot be told apart from {_names(level)}"
    return ("loss" if below else "mixed"), f"{text}."


def _regret(benchmark: Benchmark, rare: Values) -> list[str]:
    """The cases in which another strategy found more on average."""
    first, lost = benchmark.first, []
    for case in benchmark.cases:
        means = {s: e.mean for s in benchmark.strategies if (e := over_seeds(rare, case, s))}
        best = max(means, key=lambda s: means[s], default="")
        if first in means and means[best] > means[first] + 1e-9:
            each = (f"{s} {100 * means[s]:.0f} %" for s in (best, first))
            lost.append(f"{case} ({', '.join(each)})")
    return [f"Another strategy found more on average on {_names(lost)}."] if lost else []


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
