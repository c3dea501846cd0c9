"""Fixed colours and marks, so that a strategy looks the same in every figure of every report.

The palette of Okabe and Ito (2008) stays distinct under the common kinds of colour blindness; marks
and dashes repeat the distinction for print in grey.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """How one strategy is drawn."""

    color: str
    dash: str  #: plotly's name of the dash
    symbol: str  #: plotly's name of the marker

    @property
    def mpl_dash(self) -> str:
        """Matplotlib's name of the dash."""
        return {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}[self.dash]

    @property
    def mpl_marker(self) -> str:
        """Matplotlib's name of the marker."""
        return {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "X"}[
            self.symbol
        ]


_LOOKS = {
    "mixed": Look("#0072B2", "solid", "circle"),
    "diverse": Look("#8C6BB1", "solid", "square"),
    "plain": Look("#56B4E9", "solid", "triangle-up"),
    "balanced": Look("#009E73", "solid", "diamond"),
    "entropy": Look("#E69F00", "dashdot", "diamond"),
    "foreground": Look("#B79F00", "dashdot", "triangle-up"),
    "sequential": Look("#D55E00", "dash", "square"),
    "random": Look("#CC79A7", "dot", "x"),
}
_OTHER = Look("#7F7F7F", "dashdot", "triangle-up")
FULL_COLOR = "#7F7F7F"
#: Colours of the steps in the time figure, in order of appearance.
STEP_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F")


def look(strategy: str) -> Look:
    """How a strategy is drawn; strategies of other packages are grey."""
    return _LOOKS.get(strategy, _OTHER)
