"""The report as one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.io
from plotly.offline import get_plotlyjs

from unseen.loop.facts import fact_text
from unseen.loop.verdict import Verdict, short
from unseen.report.figures import ReportFigure
from unseen.report.page_style import CSS
from unseen.report.style import FULL_COLOR, look
from unseen.report.tables import Table, as_html

#: The browser itself refuses every request: the page has to be whole without a network.
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; font-src data:"
)
_GLOSSARY = (
    (
        "Unseen score",
        "Per pixel, 1 - P(background) - P(seen foreground): how much the UNet takes it for "
        "something that was never labelled. Image metrics add it up; the highest are labelled "
        "first.",
    ),
    (
        "Precision, recall, F1",
        "Of the detections, the share that is right; of the true boxes, the share that is found; "
        "their harmonic mean. Mean F1 is the plain mean over the classes with test boxes.",
    ),
    (
        "AP",
        "Average precision: the area under precision over recall for all confidences, averaged "
        "over the classes with test boxes. It does not depend on the confidence threshold.",
    ),
)


def html_page(
    *,
    title: str,
    dataset: str,
    verdict: Verdict,
    figures: Sequence[ReportFigure],
    tables: Sequence[Table],
    table_text: str,
    sheets: Mapping[str, Path],
    facts: Mapping[str, object],
    notes: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
        title: heading and window title.
        dataset: name of the dataset.
        verdict: the opening.
        figures: plotly figures in order.
        tables: the comparison tables.
        table_text: the same tables as the command line prints them, to copy.
        sheets: contact sheets: name of the batch -> PNG, embedded.
        facts: free key/value pairs.
        notes: sentences below the pictures, such as what was left out.
    """
    sections = [_opening(title, dataset, verdict)]
    if figures:
        sections.append(f"<script>{get_plotlyjs()}</script>")
        sections += [_figure(f) for f in figures]
    if tables:
        body = "".join(as_html(t) for t in tables)
        if table_text:
            body += (
                "<details><summary>The same as plain text</summary>"
                f"<pre>{html.escape(table_text)}</pre></details>"
            )
        sections.append(_section("tables", "Tables", body))
    if sheets:
        body = "".join(_sheet(name, path) for name, path in sheets.items())
        body += "".join(f"<p class=note>{html.escape(note)}</p>" for note in notes)
        sections.append(_section("batches", "What was labelled next", body))
    if facts:
        rows = "".join(
            f"<tr><th>{html.escape(_words(key))}</th><td>{html.escape(fact_text(value))}</td></tr>"
            for key, value in facts.items()
        )
        body = f"<div class=table><table class=facts><tbody>{rows}</tbody></table></div>"
        sections.append(_section("facts", "How this was made", body))
    terms = "".join(
        f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in _GLOSSARY
    )
    sections.append(_section("glossary", "Words", f"<dl>{terms}</dl>"))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _opening(title: str, dataset: str, verdict: Verdict) -> str:
    details = "".join(f"<li>{html.escape(d)}</li>" for d in verdict.details)
    return (
        f"<header><h1>{html.escape(title)}</h1>"
        f"<p class=sub>Dataset {html.escape(dataset)}</p></header>"
        f'<section class="verdict {html.escape(verdict.outcome)}">'
        f"<h2>{html.escape(verdict.headline)}</h2>"
        f"<p class=lead>{html.escape(verdict.sentence)}</p>"
        f"{_bars(verdict)}"
        f"{f'<ul>{details}</ul>' if details else ''}</section>"
    )


def _bars(verdict: Verdict) -> str:
    rows = []
    for i, bar in enumerate(b for b in verdict.bars if b.value is not None):
        color = FULL_COLOR if bar.strategy == "full" else look(bar.strategy).color
        width = 100 * min(1.0, max(0.0, bar.value or 0.0))
        rows.append(
            f"<div class='bar{'' if i else ' first'}'><span class=name>{html.escape(bar.label)}"
            f"</span><span class=track><span class=fill style='width:{width:.1f}%;"
            f"background:{color}'></span></span><span class=value>{short(bar.value)}</span>"
            f"<span class=work>{bar.images} images, {bar.boxes} boxes</span></div>"
        )
    if not rows:
        return ""
    return f"<div class=bars><p class=note>Mean F1 on the test split</p>{''.join(rows)}</div>"


def _figure(item: ReportFigure) -> str:
    plot = plotly.io.to_html(
        item.figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"figure-{item.key}",
        default_width="100%",
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
    )
    return _section(item.key, item.title, f"<p class=caption>{html.escape(item.caption)}</p>{plot}")


def _sheet(name: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    label = html.escape(name, quote=True)
    return f'<figure><img alt="{label}" src="data:image/png;base64,{data}"></figure>'


def _section(key: str, title: str, body: str) -> str:
    return f'<section id="{html.escape(key)}"><h2>{html.escape(title)}</h2>{body}</section>'


def _words(key: str) -> str:
    """A key as people write it: "min_confidence" -> "Min confidence"."""
    text = key.replace("_", " ")
    return "IoU" if text.lower() == "iou" else text[:1].upper() + text[1:]
