"""The judged strategy against every other: paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unseen.arrays.paired_bootstrap import PairedDifference, paired_difference
from unseen.benchmark.report.measures import Values, paired
from unseen.benchmark.report.runs import Benchmark
from unseen.report.table import Cell, Column, Form, Table, group_starts, signed


@dataclass(frozen=True)
class Difference:
    """The judged strategy minus one other."""

    peer: str
    overall: PairedDifference  #: over all cases that both were run on
    cases: Mapping[str, PairedDifference]  #: the same for each case alone


def differences(benchmark: Benchmark, values: Values) -> list[Difference]:
    """One per peer that shares a case and a seed with the judged strategy."""
    compared = []
    for peer in benchmark.peers:
        pairs = {c: paired(values, c, benchmark.first, peer) for c in benchmark.cases}
        overall = paired_difference(list(pairs.values()))
        if overall is not None:
            each = {c: d for c in pairs if (d := paired_difference([pairs[c]])) is not None}
            compared.append(Difference(peer, overall, each))
    return compared


def difference_table(
    title: str, benchmark: Benchmark, readings: Mapping[str, Sequence[Difference]], form: Form
) -> Table | None:
    """Rows: peer x reading, such as "equal images"; differences over all cases."""
    parts = {
        peer: {r: d.overall for r, each in readings.items() for d in each if d.peer == peer}
        for peer in benchmark.peers
    }
    title = f"{title}: {benchmark.first} against every other"
    return _table(title, benchmark, parts, "Reading" if len(readings) > 1 else "", form)


def case_table(
    title: str, benchmark: Benchmark, compared: Sequence[Difference], form: Form
) -> Table | None:
    """Rows: peer x case. None with a single case, which the other table shows already."""
    if len(benchmark.cases) < 2:
        return None
    parts = {d.peer: d.cases for d in compared}
    return _table(f"{title}, each dataset by itself", benchmark, parts, "Dataset", form)


def _table(
    title: str,
    benchmark: Benchmark,
    parts: Mapping[str, Mapping[str, PairedDifference]],
    of: str,
    form: Form,
) -> Table | None:
    """Rows: peer x part; `of` heads the parts, "" shows none."""
    rows: list[list[Cell]] = []
    for peer, each in parts.items():
        for i, (part, d) in enumerate(each.items()):
            interval = d.reason
            if d.interval is not None:
                interval = " to ".join(signed(bound, form) for bound in d.interval)
            counts = f"{d.above} / {d.equal} / {d.below}"
            names = ["" if i else peer, *([part] if of else [])]
            rows.append([*names, d, interval, counts, f"{d.p:.3f}", d.verdict])
    if not rows:
        return None
    notes = [
        "Runs of the same dataset and seed start from the same images and make a pair. Intervals "
        "resample the seeds within each dataset, and all datasets weigh the same; they are not "
        "corrected for multiple comparisons and say nothing about other datasets."
    ]
    if any(d.pairs == 3 and d.interval for each in parts.values() for d in each.values()):
        notes.append(
            "Three pairs are the fewest that give an interval, which is too narrow then: about 82 of "
            "100 such intervals hold the truth."
        )
    texts = [Column(f"{benchmark.first} less"), *([Column(of)] if of else [])]
    numbers = [
        Column(f"Difference{', points' if form == 'percent' else ''}", form),
        *map(Column, ("95 % interval", "Above / equal / below", "Sign test, p", "Verdict")),
    ]
    return Table(
        title=title,
        columns=[*texts, *numbers],
        rows=rows,
        text_columns=len(texts),
        notes=notes,
        groups=group_starts(rows) if of else frozenset(),
    )
