"""Tables of a benchmark as data: numbers in, and from them JSON and the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unseen.arrays.paired_bootstrap import PairedDifference
from unseen.benchmark.report.figures import Spread
from unseen.report.tables import Table

#: How the numbers of a column are written: shares as percent, scores with two decimals, ...
Form = Literal["text", "percent", "score", "seconds"]
Cell = str | int | float | Spread | PairedDifference | None


@dataclass(frozen=True)
class Column:
    """One column: where its cells are found in a row, its heading, and how they are written."""

    key: str
    label: str
    form: Form = "text"


@dataclass(frozen=True)
class DataTable:
    """One table.

    Attributes:
        key: its name in the JSON file.
        title: its caption.
        columns: from left to right.
        rows: column key -> cell; a missing cell is "-".
        text_columns: how many columns from the left are text.
        notes: sentences below it.
        best: "high" marks the highest number of each column but the text ones; "" marks none.
        unmarked: rows that are no competitors.
        group: rows of which the first cell is not empty start a new group.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    text_columns: int = 1
    notes: tuple[str, ...] = ()
    best: Literal["high", ""] = ""
    unmarked: frozenset[int] = field(default_factory=frozenset)
    group: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data with the numbers as they are."""
        return {
            "key": self.key,
            "title": self.title,
            "columns": [{"key": c.key, "label": c.label} for c in self.columns],
            "rows": [{c.key: plain(row.get(c.key)) for c in self.columns} for row in self.rows],
            "notes": list(self.notes),
        }

    def printed(self, seeds: int = 1) -> Table:
        """The table as text.

        Args:
            seeds: how many seeds were run; a mean over fewer says so.
        """
        rows = tuple(
            tuple(cell_text(row.get(c.key), c.form, seeds) for c in self.columns)
            for row in self.rows
        )
        groups = (
            frozenset(i for i, row in enumerate(rows) if i and row[0])
            if self.group
            else frozenset[int]()
        )
        return Table(
            title=self.title,
            header=tuple(c.label for c in self.columns),
            rows=rows,
            text_columns=self.text_columns,
            notes=self.notes,
            groups=groups,
            best=frozenset(self._best()),
        )

    def _best(self) -> list[tuple[int, int]]:
        """(row, column) of the highest numbers, where there is something to compare."""
        found = []
        for k, column in enumerate(self.columns):
            numbers = {
                i: round(value, 4)
                for i, row in enumerate(self.rows)
                if i not in self.unmarked and (value := _number(row.get(column.key))) is not None
            }
            if self.best and k >= self.text_columns and len(set(numbers.values())) > 1:
                top = max(numbers.values())
                found += [(i, k) for i, value in numbers.items() if value == top]
        return found


def plain(cell: Cell) -> Any:
    """A cell as JSON data."""
    if isinstance(cell, Spread):
        return {"mean": cell.mean, "sd": cell.sd, "n": cell.n}
    if isinstance(cell, PairedDifference):
        return {
            "mean": cell.mean,
            "interval": None if cell.interval is None else list(cell.interval),
            "reason": cell.reason,
            "above": cell.above,
            "equal": cell.equal,
            "below": cell.below,
            "sign_test_p": cell.p,
            "verdict": cell.verdict,
        }
    return cell


def cell_text(cell: Cell, form: Form, seeds: int = 1) -> str:
    """A cell for people: "84.2 +- 3.1", "+12.0", "-" where there is nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, PairedDifference):
        return signed(cell.mean, form)
    if isinstance(cell, Spread):
        text = number(cell.mean, form)
        if cell.sd is not None:
            text += f" +- {number(cell.sd, form)}"
        return text + (f" (n={cell.n})" if cell.n < seeds else "")
    return number(cell, form)


def number(value: float, form: Form) -> str:
    """One number in the form of its column."""
    if form == "percent":
        return f"{100 * value:.1f}"
    if form == "score":
        return f"{value:.2f}"
    return f"{value:.1f}" if form == "seconds" else f"{value:g}"


def signed(value: float, form: Form) -> str:
    """The same with its sign, for differences."""
    text = number(value, form)
    zero = not any(digit in "123456789" for digit in text)
    return text.lstrip("-") if zero else text if value < 0 else f"+{text}"


def interval_text(difference: PairedDifference, form: Form) -> str:
    """As "+3.0 to +21.4", or why there is none."""
    if difference.interval is None:
        return difference.reason
    low, high = difference.interval
    return f"{signed(low, form)} to {signed(high, form)}"


def strategy_rows(
    strategies: Sequence[str], columns: Mapping[str, Mapping[str, Cell]]
) -> tuple[Mapping[str, Cell], ...]:
    """One row per strategy with a cell in any column.

    Args:
        strategies: in order.
        columns: column key -> strategy -> cell.
    """
    rows = []
    for name in strategies:
        cells = {key: cells.get(name) for key, cells in columns.items()}
        if any(cell is not None for cell in cells.values()):
            rows.append({"strategy": name, **cells})
    return tuple(rows)


def _number(cell: Cell) -> float | None:
    if isinstance(cell, Spread):
        return cell.mean
    return float(cell) if isinstance(cell, (int, float)) else None
