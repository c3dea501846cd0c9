"""Plotly figures of the reports and the panel: looks, line charts, and one style."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_GRID = "rgba(128,128,128,0.25)"
#: Axis range of shares, with room for the marks at 0 and 1.
SHARES = (-0.03, 1.03)


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn; dash and symbol tell it apart in grey print."""

    color: str
    dash: str = "solid"
    symbol: str = "circle"


#: Safe for colour blindness (Okabe and Ito 2008).
PALETTE = ("#0072B2", "#009E73", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#B79F00", "#8C6BB1")
_LOOKS = {
    "mixed": Look("#0072B2"),
    "diverse": Look("#8C6BB1", "solid", "square"),
    "plain": Look("#56B4E9", "solid", "triangle-up"),
    "balanced": Look("#009E73", "solid", "diamond"),
    "entropy": Look("#E69F00", "dashdot", "diamond"),
    "foreground": Look("#B79F00", "dashdot", "triangle-up"),
    "sequential": Look("#D55E00", "dash", "square"),
    "random": Look("#CC79A7", "dot", "x"),
    "full": Look("#7F7F7F", "dash"),
}


def looks(strategies: Sequence[str]) -> list[Look]:
    """The look of each strategy, the same in every figure; others and repeats get a free colour."""
    used = {_LOOKS[name].color for name in strategies if name in _LOOKS}
    free = [Look(color) for color in PALETTE if color not in used]
    free += [Look(color, dash) for dash in ("dash", "dot", "dashdot") for color in PALETTE]
    others, own = itertools.cycle(free), dict(_LOOKS)
    return [own.pop(name) if name in own else next(others) for name in strategies]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart; points whose y is None are left out."""

    name: str
    look: Look
    x: Sequence[float]
    y: Sequence[float | None]
    bounds: Sequence[tuple[float, float] | None] = ()  #: interval of each point
    tips: Sequence[str] = ()  #: what the mouse shows after the name and the value
    is_bold: bool = False
    mode: str = "lines+markers"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quantity: its lines, the first on top, and the level that the full set reaches."""

    lines: Sequence[Line]
    title: str = ""
    level: float | None = None
    level_name: str = ""
    ticks: Sequence[float] | None = None  #: of the horizontal axis; None: Plotly chooses


def line_chart(
    panels: Sequence[Panel],
    x_title: str,
    *,
    y_range: tuple[float, float] | None = None,
    y_format: str = ".3~f",
    columns: int = 5,
    height: int = 215,
) -> go.Figure:
    """Small multiples with one legend; `height` of a panel in px, no `y_range`: from 0 on."""
    rows = math.ceil(len(panels) / columns)
    columns = math.ceil(len(panels) / rows)  # as few empty places as possible
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[f"<b>{html.escape(p.title)}</b>" if p.title else "" for p in panels],
        horizontal_spacing=0.05,
        vertical_spacing=0.34 / rows if rows > 1 else 0.1,
    )
    in_legend: set[str] = set()
    for i, panel in enumerate(panels):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for rank, line in reversed([*enumerate(panel.lines)]):
            trace = _trace(line, y_format)
            shown = bool(trace.x) and line.name not in in_legend and "lines" in line.mode
            in_legend |= {line.name} if shown else set()
            figure.add_trace(trace.update(showlegend=shown, legendrank=1 + rank), **place)
        if panel.level is not None:
            figure.add_hline(
                y=panel.level,
                line={"color": _LOOKS["full"].color, "width": 1.5, "dash": "dash"},
                annotation_text=panel.level_name,
                annotation_font_size=11,
                annotation_position="top left" if panel.level < 0.88 else "bottom left",
                **place,
            )
        is_lowest = i + columns >= len(panels)
        figure.update_xaxes(
            title_text=x_title if is_lowest else None, tickvals=panel.ticks, **place
        )
    if y_range:
        figure.update_yaxes(range=y_range, dtick=0.25, tickformat=y_format)
    else:
        figure.update_yaxes(rangemode="tozero")
    return styled(figure, 110 + height * rows)


def error_bars(
    values: Sequence[float], bounds: Sequence[tuple[float, float] | None], **style: Any
) -> dict[str, Any] | None:
    """Asymmetric error bars from the (low, high) of each value; None where none has any."""
    if not any(bounds):
        return None
    known = [b or (v, v) for v, b in zip(values, bounds, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - v) for v, (_, high) in zip(values, known, strict=True)],
        "arrayminus": [max(0.0, v - low) for v, (low, _) in zip(values, known, strict=True)],
        **{"thickness": 1, "width": 3, **style},
    }


def bars(
    name: str, x: Sequence[Any], y: Sequence[Any], color: str, hover: str, **more: Any
) -> go.Bar:
    """Bars of one colour; `hover` is a Plotly template."""
    return go.Bar(
        x=x, y=y, name=html.escape(name), marker={"color": color}, hovertemplate=hover, **more
    )


def styled(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """A transparent background, for the colours of the page or the App, light or dark."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 48, "r": 16, "t": 70, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": _FONT, "size": 13},
        legend={"orientation": "h", "y": 0.995, "yanchor": "top", "yref": "container", "x": 0},
        hovermode="closest",
    )
    figure.update_xaxes(
        showgrid=False, zeroline=False, linecolor=_GRID, showline=True, automargin=True
    )
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, nticks=6, automargin=True)
    return figure.update_layout(layout)


def few_ticks(numbers: Sequence[float]) -> list[float] | None:
    """The distinct numbers as ticks if they are few; None lets Plotly choose."""
    distinct = sorted(set(numbers))
    return distinct if len(distinct) <= 6 else None


def _trace(line: Line, y_format: str) -> go.Scatter:
    tips = line.tips or [""] * len(line.x)
    bounds = line.bounds or [None] * len(line.x)
    points = [p for p in zip(line.x, line.y, bounds, tips, strict=True) if p[1] is not None]
    x, y, limits, texts = (
        ([*column] for column in zip(*points, strict=True)) if points else [[]] * 4
    )
    name = html.escape(line.name)
    return go.Scatter(
        x=x,
        y=y,
        error_y=error_bars(y, limits),
        customdata=texts,
        name=name,
        legendgroup=line.name,
        mode=line.mode,
        line={"color": line.look.color, "width": 4 if line.is_bold else 2, "dash": line.look.dash},
        marker={"symbol": line.look.symbol, "size": 10 if line.is_bold else 8},
        hovertemplate=f"{name}: %{{y:{y_format}}}%{{customdata}}<extra></extra>",
        cliponaxis=False,
    )
