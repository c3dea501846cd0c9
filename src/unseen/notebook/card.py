"""A card: a sentence, a few lines and tables, as a short text or as HTML for a notebook.

The HTML names no colour and loads nothing, so that it shows on light and dark themes and offline.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: Rows of a table that are shown; the rest is counted.
MOST_ROWS = 12
#: Lines of a text, and characters of a line: what fits a terminal without scrolling.
MOST_LINES = 6
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere."""

    text: str
    url: str | None


@dataclass(frozen=True)
class Table:
    """A few rows; the first `text_columns` columns are text, the rest numbers."""

    rows: Sequence[Sequence[Any]]
    header: Sequence[str] = ()
    title: str = ""
    text_columns: int = 1
    more: int = 0  #: rows that were left out


@dataclass(frozen=True)
class Card:
    """What is shown of one object."""

    heading: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    name: str = ""  #: of the object's class


def table(
    rows: Iterable[Sequence[Any]],
    header: Sequence[str] = (),
    title: str = "",
    *,
    text_columns: int = 1,
    most: int = MOST_ROWS,
) -> list[Table]:
    """A table of the first rows, in a list that is empty where there is no row."""
    rows = iter(rows)
    shown = list(islice(rows, most))
    more = sum(1 for _ in rows)
    return [Table(shown, header, title, text_columns, more)] if shown else []


def as_text(card: Card) -> str:
    """The class, the sentence and the lines; long ones are cut."""
    lines = [line for text in (card.heading, *card.lines) for line in text.split("\n")]
    lines = [_cut(line) for line in lines]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... {len(lines) - MOST_LINES} more lines"]
    return f"{card.name}: " + "\n  ".join(lines)


def as_html(card: Card) -> str:
    """The sentence in bold, the lines and the tables; every text is escaped."""
    heading = _escaped(card.heading)
    lines = "".join(f"<div>{_escaped(line)}</div>" for line in card.lines)
    tables = "".join(_table(t) for t in card.tables)
    return f"<div><div><strong>{heading}</strong></div>{lines}{tables}</div>"


def cell(value: Any) -> str:
    """A value as text: "-" where undefined, numbers short, collections with commas."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(v) for v in value) or "-"
    return str(value)


def _cut(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 4] + " ..."


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _table(shown: Table) -> str:
    def row(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(_cell(v, tag, shown, i) for i, v in enumerate(cells)) + "</tr>"

    title = f"<div><em>{_escaped(shown.title)}</em></div>" if shown.title else ""
    head = f"<thead>{row(shown.header, 'th')}</thead>" if shown.header else ""
    body = "".join(row(cells, "td") for cells in shown.rows)
    more = f"<div>... and {shown.more:,} more</div>" if shown.more else ""
    return f"{title}<table>{head}<tbody>{body}</tbody></table>{more}"


def _cell(value: Any, tag: str, shown: Table, column: int) -> str:
    text = _link(value) if isinstance(value, Link) else _escaped(cell(value))
    side = "left" if column < shown.text_columns else "right"
    return f'<{tag} style="text-align: {side}">{text}</{tag}>'


def _link(link: Link) -> str:
    # What a server or a user wrote into a field must not become a script.
    if not link.url or not link.url.startswith(("http://", "https://")):
        return _escaped(link.text)
    return f'<a href="{html.escape(link.url)}">{_escaped(link.text)}</a>'
