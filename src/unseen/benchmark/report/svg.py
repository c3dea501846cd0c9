"""A little SVG: axes with lines, ranges and marks, as text for the page.

Colours of text, grid and ink are the page's own, so that a chart fits light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from unseen.report.style import Look, look

#: Colour of the page's text; for the judged strategy where it has no colour of its own.
INK = "var(--ink)"
_PALETTE = ("#0072B2", "#009E73", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#B79F00", "#8C6BB1")
_DASHES = ("solid", "dash", "dot", "dashdot")
_STROKES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "8 3 2 3"}
#: What `look` gives to a strategy it does not know.
_UNKNOWN = look("")


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """How each strategy is drawn: as in the other reports, or else in a colour still free.

    Args:
        strategies: the judged one first.
    """
    known = {s: look(s) for s in strategies if look(s) != _UNKNOWN}
    used = {found.color for found in known.values()}
    free = [Look(c, "solid", "circle") for c in _PALETTE if c not in used]
    free += [Look(c, dash, "circle") for dash in _DASHES[1:] for c in _PALETTE]
    found = {}
    for i, name in enumerate(strategies):
        if name in known:
            color = known[name].color
            # Black ink on white paper is white on a dark page.
            found[name] = replace(known[name], color=INK if color == "#000000" else color)
        elif i == 0:
            found[name] = Look(INK, "solid", "circle")
        else:
            found[name] = free.pop(0)
    return found


@dataclass
class Axes:
    """One chart with linear axes, to draw into from back to front.

    Attributes:
        title: above it.
        x_range: data range of the horizontal axis.
        y_range: data range of the vertical one.
        x_ticks: where it has numbers.
        y_ticks: likewise; or rows, where `y_names` are given.
        x_label: below.
        y_names: names of the rows, instead of numbers.
        width: px.
        height: px.
        left: px for the numbers or names of the vertical axis.
        percent: whether the numbers of the vertical axis are shares, shown as percent.
    """

    title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    x_label: str = ""
    y_names: Sequence[str] = ()
    width: int = 410
    height: int = 270
    left: int = 54
    percent: bool = False
    _parts: list[str] = field(default_factory=list)

    _RIGHT, _TOP, _BOTTOM = 14, 30, 42

    def x(self, value: float) -> float:
        """Data to px."""
        low, high = self.x_range
        inside = self.width - self.left - self._RIGHT
        return self.left + inside * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        """Data to px, upwards."""
        low, high = self.y_range
        inside = self.height - self._TOP - self._BOTTOM
        return self.height - self._BOTTOM - inside * (value - low) / ((high - low) or 1)

    def line(
        self, points: Sequence[tuple[float, float]], style: Look, *, bold: bool = False
    ) -> None:
        """Points joined in order."""
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        dash = f' stroke-dasharray="{d}"' if (d := _STROKES[style.dash]) else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{style.color}" '
            f'stroke-width="{3.2 if bold else 1.8}" stroke-linejoin="round"{dash}/>'
        )

    def band(
        self, low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]], color: str
    ) -> None:
        """The area between two lines."""
        points = [*low, *reversed(high)]
        path = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)
        self._parts.append(f'<polygon points="{path}" fill="{color}" opacity="0.13"/>')

    def span(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        color: str,
        *,
        shift: tuple[float, float] = (0.0, 0.0),
        width: float = 2.0,
        dash: str = "solid",
    ) -> None:
        """A straight stroke between two points, moved by some px."""
        (x1, y1), (x2, y2) = ((self.x(a) + shift[0], self.y(b) + shift[1]) for a, b in (start, end))
        dashed = f' stroke-dasharray="{_STROKES[dash]}"' if _STROKES[dash] else ""
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-width="{width}" stroke-linecap="{"butt" if dashed else "round"}"{dashed}/>'
        )

    def dot(
        self,
        point: tuple[float, float],
        color: str,
        *,
        shift: tuple[float, float] = (0.0, 0.0),
        radius: float = 4.0,
        hollow: bool = False,
        tip: str = "",
    ) -> None:
        """A mark, with what the mouse shows."""
        fill = (
            f'fill="var(--back)" stroke="{color}" stroke-width="1.6"'
            if hollow
            else f'fill="{color}"'
        )
        title = f"<title>{html.escape(tip)}</title>" if tip else ""
        self._parts.append(
            f'<circle cx="{self.x(point[0]) + shift[0]:.1f}" cy="{self.y(point[1]) + shift[1]:.1f}" '
            f'r="{radius}" {fill}>{title}</circle>'
        )

    def note(self, point: tuple[float, float], text: str, *, anchor: str = "end") -> None:
        """Small text a little above a point."""
        self._parts.append(
            f'<text class="soft" x="{self.x(point[0]):.1f}" y="{self.y(point[1]) - 5:.1f}" '
            f'text-anchor="{anchor}">{html.escape(text)}</text>'
        )

    def svg(self) -> str:
        """The whole chart."""
        x_name = (self.left + self.width - self._RIGHT) / 2
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{html.escape(self.title)}">'
            f'<text class="title" x="{self.left}" y="16">{html.escape(self.title)}</text>'
            f"{self._frame()}{''.join(self._parts)}"
            f'<text class="soft" x="{x_name:.0f}" y="{self.height - 6}" text-anchor="middle">'
            f"{html.escape(self.x_label)}</text></svg>"
        )

    def _frame(self) -> str:
        bottom, parts = self.height - self._BOTTOM, []
        for k, tick in enumerate(self.y_ticks):
            at = self.y(tick)
            text = f"{100 * tick:g} %" if self.percent else f"{tick:g}"
            text = self.y_names[k] if self.y_names else text
            parts.append(
                f'<line class="grid" x1="{self.left}" x2="{self.width - self._RIGHT}" y1="{at:.1f}" '
                f'y2="{at:.1f}"/><text x="{self.left - 8}" y="{at + 4:.1f}" text-anchor="end">'
                f"{html.escape(text)}</text>"
            )
        for tick in self.x_ticks:
            at = self.x(tick)
            parts.append(
                f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
                f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
            )
        parts.append(
            f'<line class="axis" x1="{self.left}" x2="{self.width - self._RIGHT}" y1="{bottom}" '
            f'y2="{bottom}"/>'
        )
        return "".join(parts)


def legend(strategies: Sequence[str], styles: dict[str, Look], note: str = "") -> str:
    """One line of swatches with names, and a note."""
    items = []
    for i, name in enumerate(strategies):
        style = styles[name]
        dash = f' stroke-dasharray="{d}"' if (d := _STROKES[style.dash]) else ""
        items.append(
            '<span><svg width="30" height="10" aria-hidden="true"><line x1="1" x2="29" y1="5" y2="5" '
            f'stroke="{style.color}" stroke-width="{2.2 if i else 3.6}"{dash}/></svg> '
            f"{f'<b>{html.escape(name)}</b>' if i == 0 else html.escape(name)}</span>"
        )
    text = f"<span class=note>{html.escape(note)}</span>" if note else ""
    return f"<p class=legend>{''.join(items)}{text}</p>"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside a range, about as many as asked for."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]
