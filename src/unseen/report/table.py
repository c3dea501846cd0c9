"""A table of a report: values in; text and JSON data out. The page draws the HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from unseen.arrays.paired_bootstrap import PairedDifference
from unseen.loop.curves import defined

#: How a number is written: as it is, a share in percent, with two decimals, with one decimal.
Form = Literal["text", "percent", "score", "tenths"]


@dataclass(frozen=True)
class Spread:
    """Mean of n values and their standard deviation (n - 1); no deviation for a single value."""

    mean: float
    sd: float | None
    n: int


Cell = str | int | float | Spread | PairedDifference | None


@dataclass(frozen=True)
class Column:
    """The heading of a column, and how its numbers are written."""

    label: str
    form: Form = "text"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table; None and numbers that are not finite are written as "-"."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1  #: left-aligned columns; the others are right-aligned
    notes: Sequence[str] = ()  #: sentences below it
    groups: frozenset[int] = frozenset()  #: rows that start a new group
    has_best: bool = False  #: mark the highest number of each column
    unranked: frozenset[int] = frozenset()  #: rows that do not compete for it
    seeds: int = 1  #: a mean over fewer than these says so

    @property
    def header(self) -> list[str]:
        """The headings."""
        return [column.label for column in self.columns]

    @property
    def texts(self) -> list[list[str]]:
        """The cells as they are printed."""
        return [
            [cell_text(cell, c.form, self.seeds) for cell, c in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]

    @property
    def best(self) -> set[tuple[int, int]]:
        """(row, column) of the highest numbers, in columns whose numbers differ."""
        marked: set[tuple[int, int]] = set()
        for k in range(self.text_columns, len(self.columns)) if self.has_best else ():
            numbers = {
                i: round(value, 4)
                for i, row in enumerate(self.rows)
                if i not in self.unranked and (value := _number(row[k])) is not None
            }
            if len(set(numbers.values())) > 1:
                top = max(numbers.values())
                marked |= {(i, k) for i, value in numbers.items() if value == top}
        return marked

    def text(self) -> str:
        """Columns padded with spaces, to print."""
        lines = [self.header, *self.texts]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

        def line(row: Sequence[str]) -> str:
            pads = [str.ljust] * self.text_columns + [str.rjust] * len(row)
            return "  ".join(p(c, w) for p, c, w in zip(pads, row, widths, strict=False)).rstrip()

        body = []
        for i, row in enumerate(lines[1:]):
            body += [""] if i and i in self.groups else []
            body.append(line(row))
        return "\n".join([self.title, rule, line(self.header), rule, *body, rule, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data with unrounded numbers."""
        plain = [
            [dataclasses.asdict(c) if dataclasses.is_dataclass(c) else c for c in row]
            for row in self.rows
        ]
        return {"title": self.title, "columns": self.header, "rows": plain, "notes": [*self.notes]}


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and standard deviation; None without values."""
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def group_starts(rows: Sequence[Sequence[Cell]]) -> frozenset[int]:
    """Rows with a text in their first cell, where only the first row of a group names it."""
    return frozenset(i for i, row in enumerate(rows) if row[0])


def cell_text(cell: Cell, form: Form, seeds: int = 1) -> str:
    """A cell as it is printed: "84.2 +- 3.1", "+12.0", "-" for nothing."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, PairedDifference):
        return signed(cell.mean, form)
    if isinstance(cell, Spread):
        deviation = "" if cell.sd is None else f" +- {number(cell.sd, form)}"
        return number(cell.mean, form) + deviation + (f" (n={cell.n})" if cell.n < seeds else "")
    value = defined(cell)
    return "-" if value is None else number(value, form)


def number(value: float, form: Form) -> str:
    """A number in the form of its column."""
    if form == "percent":
        return f"{100 * value:.1f}"
    return format(value, {"score": ".2f", "tenths": ".1f", "text": "g"}[form])


def signed(value: float, form: Form) -> str:
    """A difference with its sign; what rounds to 0 has none."""
    text = number(value, form)
    if not text.strip("-0."):
        return text.lstrip("-")
    return text if value < 0 else f"+{text}"


def _number(cell: Cell) -> float | None:
    if isinstance(cell, Spread):
        return cell.mean
    return float(cell) if isinstance(cell, (int, float)) else None
