"""A report as one HTML file that loads nothing from the network."""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from unseen.loop.verdict import Bar, short
from unseen.report.figures import looks
from unseen.report.table import Table

_PLOT = {"displaylogo": False, "responsive": True, "modeBarButtons": [["toImage"]]}


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a page, from top to bottom; what is empty is left out."""

    key: str  #: anchor
    title: str
    caption: str = ""
    figures: Sequence[go.Figure] = ()
    tables: Sequence[Table] = ()
    details: Sequence[Table] = ()  #: of each dataset by itself; they open on a click
    pictures: Mapping[str, Path] = field(default_factory=dict)  #: name -> JPEG, embedded
    notes: Sequence[str] = ()
    terms: Mapping[str, object] = field(default_factory=dict)  #: key/value pairs


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report: the answer, what it rests on, and sections."""

    title: str
    outcome: str  #: colours the answer: win, loss, mixed, level, unknown
    headline: str
    lead: str
    sentences: Sequence[str] = ()
    bars: Sequence[Bar] = ()
    sections: Sequence[Section] = ()

    def html(self) -> str:
        """The whole page; all text is escaped."""
        return _environment().get_template("page.html.j2").render(page=self)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"looks": looks, "plotlyjs": get_plotlyjs, "plot": _plot}
    environment.filters |= {"short": short, "fact": _fact_text, "data_url": _data_url}
    return environment


def _plot(figure: go.Figure, name: str) -> str:
    options = {"include_plotlyjs": False, "full_html": False, "config": _PLOT}
    return str(plotly.io.to_html(figure, div_id=name, **options))


def _data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _fact_text(value: object) -> str:
    """A value for people: numbers short, lists with commas, undefined values as "-"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_fact_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_fact_text(v) for v in value)
    return str(value)
