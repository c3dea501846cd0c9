"""The report of a benchmark as one HTML file, and its tables as Markdown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unseen.benchmark.report.answer import Answer
from unseen.benchmark.report.table import DataTable
from unseen.loop.facts import fact_text
from unseen.report.page_style import CSS
from unseen.report.tables import as_html, as_markdown

#: The page loads nothing and runs nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        key: anchor.
        title: heading.
        caption: a sentence below it.
        charts: inline SVG, for the page only.
        tables: below the charts.
        details: tables that open on a click.
    """

    key: str
    title: str
    caption: str = ""
    charts: tuple[str, ...] = ()
    tables: tuple[DataTable, ...] = ()
    details: tuple[DataTable, ...] = ()
    summary: str = "Each dataset by itself"

    @property
    def is_empty(self) -> bool:
        """Nothing was measured."""
        return not (any(self.charts) or self.tables or self.details)


@dataclass(frozen=True)
class Report:
    """What both forms are made of."""

    title: str
    answer: Answer
    sections: Sequence[Section]
    facts: Mapping[str, object]
    seeds: int
    missing: Sequence[str] = field(default_factory=tuple)


def as_page(report: Report) -> str:
    """The whole page; all text is escaped."""
    found = report.answer
    lines = "".join(f"<li>{html.escape(s)}</li>" for s in found.sentences)
    parts = [
        f"<header><h1>{html.escape(report.title)}</h1></header>"
        f'<section class="verdict {html.escape(found.outcome)}">'
        f"<h2>{html.escape(found.headline)}</h2>"
        f"<p class=lead>{html.escape(found.compared)}</p>{f'<ul>{lines}</ul>' if lines else ''}"
        "</section>"
    ]
    for section in report.sections:
        if section.is_empty:
            continue
        body = f"<p class=caption>{html.escape(section.caption)}</p>" if section.caption else ""
        body += "".join(section.charts)
        body += "".join(as_html(t.printed(report.seeds)) for t in section.tables)
        if section.details:
            tables = "".join(as_html(t.printed(report.seeds)) for t in section.details)
            body += f"<details><summary>{html.escape(section.summary)}</summary>{tables}</details>"
        parts.append(_section(section.key, section.title, body))
    if report.missing:
        rows = "".join(f"<li>{html.escape(m)}</li>" for m in report.missing)
        parts.append(_section("missing", "Runs that are missing", f"<ul>{rows}</ul>"))
    rows = "".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(fact_text(value))}</td></tr>"
        for key, value in report.facts.items()
    )
    facts = f"<div class=table><table class=facts><tbody>{rows}</tbody></table></div>"
    parts.append(_section("facts", "How this was made", facts))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(report.title)}</title><style>{CSS}{_CSS}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def as_markdown_page(report: Report) -> str:
    """Words and tables, without the charts."""
    found = report.answer
    parts = [f"# {_plain(report.title)}", f"**{_plain(found.headline)}**", _plain(found.compared)]
    if found.sentences:
        parts.append("\n".join(f"- {_plain(s)}" for s in found.sentences))
    for section in report.sections:
        if section.tables or section.details:
            parts.append(f"## {_plain(section.title)}")
            if section.caption:
                parts.append(_plain(section.caption))
            tables = (*section.tables, *section.details)
            parts += [as_markdown(t.printed(report.seeds)) for t in tables]
    if report.missing:
        parts.append("## Runs that are missing")
        parts.append("\n".join(f"- {_plain(m)}" for m in report.missing))
    parts.append("## How this was made")
    parts.append(
        "\n".join(f"- {_plain(k)}: {_plain(fact_text(v))}" for k, v in report.facts.items())
    )
    return "\n\n".join(parts) + "\n"


def _section(key: str, title: str, body: str) -> str:
    return f'<section id="{html.escape(key)}"><h2>{html.escape(title)}</h2>{body}</section>'


def _plain(text: str) -> str:
    return html.escape(text.replace("\n", " "), quote=False)


_CSS = """
.charts { display: flex; flex-wrap: wrap; gap: 12px 28px; margin: 10px 0; }
.charts svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 13px system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
svg text.soft { fill: var(--soft); } svg text.title { font-weight: 600; }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 14px 0 4px; }
.legend span { white-space: nowrap; } .legend .note { white-space: normal; margin: 2px 0; }
td b { font-weight: 700; }
"""
