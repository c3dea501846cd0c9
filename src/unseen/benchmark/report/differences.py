"""The judged strategy against every other: paired differences, with what they allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unseen.arrays.paired_bootstrap import PairedDifference, paired_difference
from unseen.benchmark.report.figures import Values, paired
from unseen.benchmark.report.runs import Benchmark
from unseen.benchmark.report.table import Cell, Column, DataTable, Form, interval_text


@dataclass(frozen=True)
class Difference:
    """The judged strategy less one other.

    Attributes:
        peer: the other one.
        overall: over all cases that both were run on.
        cases: case -> the same for that case alone.
    """

    peer: str
    overall: PairedDifference
    cases: Mapping[str, PairedDifference]


def differences(benchmark: Benchmark, values: Values) -> list[Difference]:
    """One per peer that shares a case and a seed with the judged strategy."""
    found = []
    for peer in benchmark.peers:
        pairs = {c: paired(values, c, benchmark.first, peer) for c in benchmark.cases}
        overall = paired_difference(list(pairs.values()))
        if overall is not None:
            each = {c: d for c in pairs if (d := paired_difference([pairs[c]])) is not None}
            found.append(Difference(peer, overall, each))
    return found


def difference_table(
    key: str,
    title: str,
    benchmark: Benchmark,
    found: Mapping[str, Sequence[Difference]],
    form: Form,
) -> DataTable | None:
    """Rows: peer x reading; the difference over all cases.

    Args:
        key: name of the table.
        title: its caption.
        benchmark: the runs.
        found: reading, such as "equal images" -> differences.
        form: how differences are written.
    """
    rows: list[Mapping[str, Cell]] = []
    for peer in benchmark.peers:
        start = len(rows)
        for reading, items in found.items():
            for item in (i for i in items if i.peer == peer):
                name = peer if len(rows) == start else ""
                rows.append({"peer": name, "reading": reading, **_cells(item.overall, form)})
    if not rows:
        return None
    has_readings = len(found) > 1
    columns = [Column("peer", f"{benchmark.first} less"), Column("reading", "Reading")]
    return DataTable(
        key,
        title,
        (*columns[: 1 + has_readings], *_columns(form)),
        tuple(rows),
        text_columns=1 + has_readings,
        notes=_notes(benchmark, [i.overall for items in found.values() for i in items]),
        group=has_readings,
    )


def case_table(
    key: str, title: str, benchmark: Benchmark, found: Sequence[Difference], form: Form
) -> DataTable | None:
    """Rows: peer x case. None with a single case, which the other table shows already."""
    rows: list[Mapping[str, Cell]] = []
    for item in found:
        for i, (case, difference) in enumerate(item.cases.items()):
            rows.append({"peer": "" if i else item.peer, "case": case, **_cells(difference, form)})
    if not rows or len(benchmark.cases) < 2:
        return None
    return DataTable(
        key,
        title,
        (
            Column("peer", f"{benchmark.first} less"),
            Column("case", "Dataset"),
            *_columns(form),
        ),
        tuple(rows),
        text_columns=2,
        notes=_notes(benchmark, [d for i in found for d in i.cases.values()], case=True),
        group=True,
    )


def _columns(form: Form) -> tuple[Column, ...]:
    unit = ", points" if form == "percent" else ""
    return (
        Column("difference", f"Difference{unit}", form),
        Column("interval", "95 % interval"),
        Column("counts", "Above / equal / below"),
        Column("sign_test", "Sign test, p"),
        Column("verdict", "Verdict"),
    )


def _cells(difference: PairedDifference, form: Form) -> dict[str, Cell]:
    return {
        "difference": difference,
        "interval": interval_text(difference, form),
        "counts": f"{difference.above} / {difference.equal} / {difference.below}",
        "sign_test": f"{difference.p:.3f}",
        "verdict": difference.verdict,
    }


def _notes(
    benchmark: Benchmark, found: Sequence[PairedDifference], *, case: bool = False
) -> tuple[str, ...]:
    notes = [
        "Differences between runs of the same dataset and seed, which start from the same images. "
        "The seeds are resampled within each dataset"
        + ("" if case else ", and every dataset counts alike")
        + "; what holds for these datasets need not hold for others. Not corrected for the number "
        "of comparisons."
    ]
    alone = case or len(benchmark.cases) == 1
    if alone and any(d.pairs == 3 and d.interval is not None for d in found):
        notes.append(
            "Three seeds are the fewest of which an interval is made, and it is too narrow then: of "
            "100 such intervals about 82 hold the truth."
        )
    return tuple(notes)
