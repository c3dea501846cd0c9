"""The judged strategy against every other: paired differences, with what they allow to say."""

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
    key: str,
    title: str,
    benchmark: Benchmark,
    readings: Mapping[str, Sequence[Difference]],
    form: Form,
) -> Table | None:
    """Rows: peer x reading, such as "equal images"; the differences over all cases."""
    by_peer = {
        peer: {r: d.overall for r, each in readings.items() for d in each if d.peer == peer}
        for peer in benchmark.peers
    }
    column = Column("reading", "Reading") if len(readings) > 1 else None
    title = f"{title}: {benchmark.first} against every other"
    return _table(key, title, benchmark, by_peer, column, form)


def case_table(
    key: str, title: str, benchmark: Benchmark, compared: Sequence[Difference], form: Form
) -> Table | None:
    """Rows: peer x case. None with a single case, which the other table shows already."""
    if len(benchmark.cases) < 2:
        return None
    by_peer = {d.peer: d.cases for d in compared}
    title = f"{title}, each dataset by itself"
    return _table(key, title, benchmark, by_peer, Column("case", "Dataset"), form)


def _table(
    key: str,
    title: str,
    benchmark: Benchmark,
    by_peer: Mapping[str, Mapping[str, PairedDifference]],
    column: Column | None,
    form: Form,
) -> Table | None:
    rows: list[list[Cell]] = []
    for peer, parts in by_peer.items():
        for i, (part, d) in enumerate(parts.items()):
            interval = d.reason
            if d.interval is not None:
                interval = " to ".join(signed(bound, form) for bound in d.interval)
            counts = f"{d.above} / {d.equal} / {d.below}"
            names = ["" if i else peer, *([part] if column else [])]
            rows.append([*names, d, interval, counts, f"{d.p:.3f}", d.verdict])
    if not rows:
        return None
    by_case = column is not None and column.key == "case"
    notes = [
        "Differences between runs of the same dataset and seed, which start from the same images. "
        f"The seeds are resampled within each dataset{'' if by_case else ', and every dataset counts alike'}"
        "; what holds for these datasets need not hold for others. Not corrected for the number of "
        "comparisons."
    ]
    each = [d for parts in by_peer.values() for d in parts.values()]
    if (by_case or len(benchmark.cases) == 1) and any(d.pairs == 3 and d.interval for d in each):
        notes.append(
            "Three seeds are the fewest of which an interval is made, and it is too narrow then: of "
            "100 such intervals about 82 hold the truth."
        )
    texts = [Column("peer", f"{benchmark.first} less"), *([column] if column else [])]
    return Table(
        key=key,
        title=title,
        columns=[
            *texts,
            Column("difference", f"Difference{', points' if form == 'percent' else ''}", form),
            Column("interval", "95 % interval"),
            Column("counts", "Above / equal / below"),
            Column("sign_test", "Sign test, p"),
            Column("verdict", "Verdict"),
        ],
        rows=rows,
        text_columns=len(texts),
        notes=notes,
        groups=group_starts(rows) if column else frozenset(),
    )
