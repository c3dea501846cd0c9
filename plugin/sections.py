"""What the open section of the panel consists of: the answers of `overview` as plain data."""

from __future__ import annotations

from typing import Any

from unseen.loop import overview
from unseen.report import plots

from . import layout

#: What `layout` takes, and what the browser keeps of it: traces and tables by name.
Shown = dict[str, Any]
Data = dict[str, Any]

#: What was drawn last, by stamp, section and axis: figures take longer than their numbers.
_kept: dict[tuple[str, str, str], tuple[Shown, Data]] = {}
#: Sections that are kept.
_MOST = 32


def read(dataset: Any, tab: str, against: str, known: str) -> tuple[Shown, Data]:
    """The section `tab` of a dataset whose stamp is `known`, curves over `against`."""
    key = (known, tab, against)
    if key not in _kept:
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[key] = _read(dataset, tab, against)
    return _kept[key]


def _read(dataset: Any, tab: str, against: str) -> tuple[Shown, Data]:
    shown: Shown = {}
    figures, tables = {}, {}
    if tab == layout.RANKING:
        ranking = overview.ranking(dataset)
        shown["ranking"] = layout.ranking_facts(ranking)
        figures = {"histogram": plots.ranking_histogram(ranking)}
        tables = {"rows": layout.batch_table(ranking)}
    elif tab == layout.PROGRESS:
        progress = overview.progress(dataset)
        shown["progress"] = {**layout.progress_facts(progress), "against": against}
        figures = {
            "f1": plots.learning_curve(progress, against=against),
            "classes": plots.class_curves(progress, against=against),
            "ap": plots.learning_curve(progress, against=against, metric="ap"),
            "balance": plots.class_balance(progress),
            **plots.mistakes(progress),
        }
        tables = {"table": layout.progress_table(progress)}
    elif tab == layout.STOP:
        progress, ranking = overview.progress(dataset), overview.ranking(dataset)
        shown["advice"] = overview.stopping(progress, ranking, overview.now(dataset)).to_dict()
    plain = {name: _plain(figure.to_plotly_json()) for name, figure in figures.items()}
    shown["layouts"] = {name: figure["layout"] for name, figure in plain.items()}
    return shown, {**tables, **{name: figure["data"] for name, figure in plain.items()}}


def _plain(value: Any) -> Any:
    """Lists for tuples: state and data travel as JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
