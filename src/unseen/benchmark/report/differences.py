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
    title: str,
    benchmark: Benchmark,
    readings: Mapping[str, Sequence[Difference]],
    form: Form,
    *,
    by_case: bool = False,
) -> Table | None:
    """Rows: peer x reading, such as "equal images", or peer x reading x case; None without any."""
    rows: list[list[Cell]] = []
    for peer in benchmark.peers:
        parts: dict[str, PairedDifference] = {}
        for reading, d in ((r, d) for r, each in readings.items() for d in each if d.peer == peer):
            parts |= {f"{reading}, {c}": e for c, e in d.cases.items()} if by_case else {}
            parts |= {} if by_case else {reading: d.overall}
        rows += [_row("" if i else peer, part, parts[part], form) for i, part in enumerate(parts)]
    if not rows:
        return None
    notes = [
        "Runs of the same dataset and seed start from the same images and make a pair. Intervals "
        "resample the seeds within each dataset, and all datasets weigh the same; they are not "
        "corrected for multiple comparisons and say nothing about other datasets."
    ]
    if any(isinstance(d, PairedDifference) and d.pairs == 3 and d.interval for _, _, d, *_ in rows):
        notes.append(
            "Three pairs are the fewest that give an interval, which is too narrow then: about 82 of "
            "100 such intervals hold the truth."
        )
    return Table(
        title=f"{title}: {benchmark.first} against every other",
        columns=[
            Column(f"{benchmark.first} less"),
            Column("Reading"),
            Column(f"Difference{', points' if form == 'percent' else ''}", form),
            *map(Column, ("95 % interval", "Above / equal / below", "Sign test, p", "Verdict")),
        ],
        rows=rows,
        text_columns=2,
        notes=notes,
        groups=group_starts(rows),
    )


def _row(peer: str, part: str, d: PairedDifference, form: Form) -> list[Cell]:
    interval = d.reason
    if d.interval is not None:
        interval = " to ".join(signed(bound, form) for bound in d.interval)
    counts = f"{d.above} / {d.equal} / {d.below}"
    return [peer, part, d, interval, counts, f"{d.p:.3f}", d.verdict]
