"""Plain data -> what the panel "Curation" looks like. No computing, no database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fiftyone.operators import types

from unseen.loop.overview_data import images_text

TABS = NOW, RANKING, PROGRESS, STOP = ("Now", "Ranking", "Progress", "When to stop")
#: What the learning curves are drawn against.
AXES = ("images", "boxes", "hours")
#: 1.22: a table has a minimum width that hides its buttons at half a small App, and shows one.
TABLE = {"componentsProps": {"table": {"sx": {"minWidth": 0}}}, "max_inline_actions": 3}
#: FiftyOne (1.22) writes in orange and pale grey, which cannot be read in one theme or the other;
#: these come to a contrast of 4.5 at least. Plots and tables sit close, so that a section is seen.
_TEXT = "var(--fo-palette-text-primary)"
_STYLE = {
    "& .MuiTableCell-root": {"py": 0.5, "px": 1, "fontSize": "0.95rem"},
    "& .MuiTableCell-root .MuiButton-root": {
        "color": _TEXT,
        "minWidth": 32,
        "textTransform": "none",
    },
    "& .MuiTableCell-head": {"color": _TEXT, "fontWeight": 600},
    "& .MuiButton-outlined .MuiTypography-root": {"color": _TEXT},
    "& .MuiButton-containedPrimary .MuiTypography-root": {"color": "#000", "fontWeight": 600},
    "& ul": {"my": 0, "pl": 2.5},
    "& .MuiTypography-root": {"color": _TEXT},
    "& .infolayer text, & .cartesianlayer text": {"fill": f"{_TEXT} !important"},
}
#: Of the whole panel. 1.22 gives no room at the right.
ROOT = types.ObjectView(
    componentsProps={
        "container": {"sx": _STYLE},
        "gridContainer": {"spacing": 1, "sx": {"px": 1.5, "pt": 1, "pb": 2}},
    }
)
#: A button that is not as wide as its row (1.22).
_NARROW = {"item": {"sx": {"width": "auto"}}}
#: The wheel scrolls the panel and does not zoom the plot below it.
PLOT = {"scrollZoom": False, "displayModeBar": False}
#: Rows of a batch that are listed; the rest is in the grid.
ROWS = 200
#: What else can be done, by what it is for; all other actions are folded away.
GROUPS = {
    "Labels": ("request_annotations", "label_next", "load_annotations", "list_annotations"),
    "Ranking": ("train_unet", "score_samples", "select_batch"),
    "Detector": ("train_detector", "apply_detector", "evaluate_detector", "compare_iterations"),
}


def choice(
    panel: types.Object, name: str, labels: dict[str, str], chosen: str, on_click: Any
) -> None:
    """Values side by side, by their labels, one of them chosen; a click sends its value as `name`.

    Buttons that look like tabs: a TabsView or a RadioGroup (1.22) waits 250 ms before it tells of a
    click, and tells what it is drawn with as if somebody had clicked it.
    """
    bar = panel.h_stack(f"choose_{name}", gap=0, componentsProps={"grid": {"role": "tablist"}})
    for value, label in labels.items():
        is_chosen = value == chosen
        colour = f"var(--fo-palette-{'primary-main' if is_chosen else 'divider'})"
        line = {"borderBottom": f"2px solid {colour}"}
        look = {**line, "&:hover": line, "borderRadius": 0, "px": 2}
        button = {"role": "tab", "aria-selected": is_chosen, "sx": look}
        bar.btn(
            f"{name}_{value}",
            label=label,
            on_click=on_click,
            params={name: value},
            variant="text",
            componentsProps={**_NARROW, "button": button},
        )


def section(panel: types.Object, tab: str, shown: dict[str, Any], events: Any) -> None:
    """The open section; `events` has a method for everything that can be clicked."""
    key, draw = {
        RANKING: ("ranking", _ranking),
        PROGRESS: ("progress", _progress),
        STOP: ("advice", _advice),
    }.get(tab, ("now", _now))
    if shown[key].get("empty_state") and draw is not _now:
        panel.md(shown[key]["empty_state"], name="empty")
    else:
        draw(panel, shown[key], shown["layouts"], events)
    _lines(panel, "people", shown[key].get("people", ()))


def _table(
    panel: types.Object,
    name: str,
    columns: Sequence[tuple[str, str]],
    actions: Sequence[tuple[str, Any, str, str]],
) -> None:
    """A table of `columns` (key, label), and per row the buttons of `actions`.

    1.22 gives a button with an icon no name that a screen reader could say, so they have words.
    """
    view = types.TableView(**TABLE)
    for key, label in columns:
        view.add_column(key, label=label)
    for key, event, label, tooltip in actions:
        view.add_row_action(key, event, label=label, tooltip=tooltip)
    panel.list(name, types.Object(), view=view)


def _lines(panel: types.Object, name: str, lines: Sequence[str]) -> None:
    if lines:
        panel.md("\n".join(f"- {line}" for line in lines), name=name)


# --- now -----------------------------------------------------------------------------------------
def _now(panel: types.Object, now: dict[str, Any], layouts: Any, events: Any) -> None:
    if now["empty_state"]:
        panel.md(now["empty_state"], name="empty")
    best = now["next_action"]
    panel.md(f"**Next:** {best['reason']}", name="why")
    bar = panel.h_stack("next", gap=2, align_y="center")
    _button(bar, "do_next", best, events, "contained")
    bar.btn("refresh", label="Refresh", on_click=events.refresh, icon="refresh", variant="outlined")
    for number, hint in enumerate(now["hints"]):
        panel.message(f"hint_{number}", hint)
    if not now["empty_state"]:
        panel.md(_standing(now), name="standing")
    others = list(enumerate(now["other_actions"]))
    for group, operators in GROUPS.items():
        members = [action for action in others if action[1]["operator"] in operators]
        if members:
            panel.md(f"**{group}**", name=f"group_{group}")
            _buttons(panel, f"buttons_{group}", members, events)
        others = [action for action in others if action not in members]
    if others:
        fold = types.Object()
        panel.define_property(
            "more", fold, view=types.ObjectView(collapsible=True, label="More steps")
        )
        _buttons(fold, "buttons_more", others, events)


def _buttons(
    parent: types.Object, name: str, actions: Sequence[tuple[int, dict[str, Any]]], events: Any
) -> None:
    """Buttons side by side, as many in a row as there is room for."""
    row = parent.grid(name, gap=1)
    for number, action in actions:
        _button(row, f"other_{number}", action, events, "outlined")


def _button(
    parent: types.Object, name: str, action: dict[str, Any], events: Any, variant: str
) -> None:
    parent.btn(
        name,
        label=action["label"],
        title=action["reason"],
        on_click=events.act,
        params={
            "operator": action["operator"],
            "form": action["params"],
            "has_form": action["has_form"],
        },
        variant=variant,
        componentsProps=_NARROW,
    )


def _standing(now: dict[str, Any]) -> str:
    def with_part(whole: str, part: str, what: str) -> str:
        return (
            f"{counts[whole]:,}, {counts[part]:,} {what}" if counts[part] else f"{counts[whole]:,}"
        )

    counts, batch = now["counts"], now["batch"]
    boxes = f"{counts['boxes']:,} box{'' if counts['boxes'] == 1 else 'es'}"
    rows = [
        ("Labelled", f"{images_text(counts['labelled'])}, {boxes}"),
        ("Pool", with_part("pool", "unscored", "not scored by the newest model")),
        ("Test split", with_part("test", "test_unlabelled", "without labels")),
        ("Out for labelling", f"{counts['out']:,}"),
        ("Excluded", f"{counts['excluded']:,}"),
    ]
    if batch:
        name = f"[{batch['name']}]({batch['url']})" if batch["url"] else batch["name"]
        rows.append((name, _batch_text(batch)))
    lines = [f"| {name} | {text} |" for name, text in rows]
    return "\n".join([f"| Iteration {now['iteration']} | |", "|---|---|", *lines])


def _batch_text(batch: dict[str, Any]) -> str:
    parts = [f"{batch['labelled']} of {batch['images']} images labelled"]
    if batch["backend"] is None:
        if batch["labelled"] < batch["images"]:
            parts.append("not sent yet")
    elif not batch["closed"]:
        days = f" for {batch['age_days']:.0f} days" if (batch["age_days"] or 0) >= 1 else ""
        parts.append(f"with the annotators ({batch['backend']}){days}")
    if batch["waiting_to_load"]:
        parts.append(f"{batch['waiting_to_load']} done and waiting to be loaded")
    if batch["problem"]:
        parts.append(f"the server could not be asked: {batch['problem']}")
    return "; ".join(parts)


# --- ranking -------------------------------------------------------------------------------------
def ranking_facts(ranking: Any) -> dict[str, Any]:
    """What the section says, without the numbers of the plot and the table."""
    histogram = ranking.histogram
    return {
        "empty_state": ranking.empty_state,
        "metric": ranking.metric,
        "scored": ranking.scored,
        "trust": ranking.trust.to_dict(),
        "control": ranking.control.sentence if ranking.control else None,
        "batch": ranking.batch.to_dict() if ranking.batch and ranking.rows else None,
        "chosen_how": ranking.chosen_how,
        "has_histogram": histogram is not None,
        "open_end": histogram.maximum if histogram is not None and histogram.is_open else None,
    }


def batch_table(ranking: Any) -> list[dict[str, Any]]:
    """The batch in rank order."""
    return [
        {
            "image": row.filename if row.rank is None else f"{row.rank}. {row.filename}",
            "value": "-" if row.value is None else f"{row.value:.4g}",
            "regions": "-" if row.regions is None else row.regions,
            "chosen_for": row.chosen_for,
        }
        for row in ranking.rows[:ROWS]
    ]


def _ranking(
    panel: types.Object, facts: dict[str, Any], layouts: dict[str, Any], events: Any
) -> None:
    trust, batch, metric = facts["trust"], facts["batch"], facts["metric"]
    heading = f"**How far to trust the ranking: {trust['verdict']}**"
    if trust["is_warning"]:
        panel.md(heading, name="trust")
        panel.view("warning", types.Warning(label=trust["sentence"]))
    else:
        panel.md(f"{heading}\n\n{trust['sentence']}", name="trust")
    _lines(panel, "details", trust["details"])
    if facts["control"]:
        panel.md(f"**Control group.** {facts['control']}", name="control")
    if facts["has_histogram"]:
        text = f"**{facts['scored']} scored images.** Click a bar, or select several, to see them."
        if facts["open_end"] is not None:
            text += f" The last bar holds everything up to {facts['open_end']:.4g}."
        panel.md(text, name="how_many")
        panel.plot(
            "histogram",
            layout={**layouts["histogram"], "dragmode": "select"},
            config=PLOT,
            on_click=events.show_bars,
            on_selected=events.show_bars,
        )
    if batch:
        bar = panel.h_stack("batch_bar", gap=2, align_y="center")
        bar.md(f"**{batch['name']}**", name="batch_name")
        bar.btn("show", label="Show in the grid", on_click=events.show_batch, variant="outlined")
        if facts["chosen_how"]:
            text = f"Strategy {batch['strategy']}, in the order of choice: {facts['chosen_how']}."
            panel.md(text, name="order")
        label = metric.replace("_", " ").capitalize()
        columns = [("image", "Rank, image"), ("value", label), ("regions", "Regions")]
        columns.append(("chosen_for", "Chosen for"))
        _table(panel, "rows", columns, [("open", events.open_row, "Open", "Open the image")])


# --- progress ------------------------------------------------------------------------------------
class Cell(NamedTuple):
    """One row of the table: one class, or all of them, of one iteration."""

    curve: str
    point: Any
    label: str | None  #: None = the mean over all classes
    quality: Any


def progress_facts(progress: Any) -> dict[str, Any]:
    """What the section says, without the numbers of plots and table."""
    names = ("empty_state", "test_images", "iou", "min_confidence")
    mistakes = progress.mistakes
    texts = (mistakes.sentence, mistakes.confidence_sentence) if mistakes else ()
    return {name: getattr(progress, name) for name in names} | {
        "mistakes": list(texts),
        "people": list(progress.people),
        "has_hours": any(point.hours for curve in progress.curves for point in curve.points),
        "eval_keys": list(progress.eval_keys),
        "comparison": list(progress.comparison or ()),
    }


def cells(progress: Any) -> list[Cell]:
    """The rows of the table, newest iteration first; per iteration all classes, then each."""
    return [
        Cell(curve.label, point, label, quality)
        for curve in progress.curves
        for point in reversed(curve.points)
        if point.macro_f1 is not None
        for label, quality in ((None, point), *point.per_class.items())
    ]


def progress_table(progress: Any) -> list[dict[str, Any]]:
    """The table iteration x class as the paper prints it, one row per class."""
    rows = []
    for curve, point, label, quality in cells(progress):
        if label is None:
            name, values = f"{curve} {point.iteration}: mean", f"F1 {_short(point.macro_f1)}"
            interval = point.macro_interval
        else:
            # One column: with three, the icons would be hidden at half a small App.
            name, interval = f"{label} ({quality.support})", quality.interval
            values = " / ".join(map(_short, (quality.precision, quality.recall, quality.f1)))
        span = f"{_short(interval.low)}-{_short(interval.high)}" if interval else "-"
        rows.append({"label": name, "quality": values, "interval": span})
    return rows


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _progress(
    panel: types.Object, facts: dict[str, Any], layouts: dict[str, Any], events: Any
) -> None:
    panel.md(
        f"Measured on {facts['test_images']} test images at IoU {facts['iou']}, from confidence "
        f"{facts['min_confidence']} on. Bars: 95 % intervals over the test images.",
        name="how",
    )
    axes = {name: f"Labelled {name}" for name in AXES}
    axes["hours"] = "Hours"
    if not facts["has_hours"]:
        del axes["hours"]
    against = facts["against"] if facts["against"] in axes else AXES[0]
    choice(panel, "against", axes, against, events.choose)
    parts = {
        "f1": "**Macro F1**",
        "classes": "**F1 per class**",
        "ap": "**Average precision**",
        "balance": "**Class balance**",
    }
    if facts["mistakes"]:
        costs, confidences = facts["mistakes"]
        errors = f"**Errors of the newest detector.** {costs} Click a bar to see those boxes."
        parts = {"f1": parts.pop("f1"), "errors": errors, **parts}
        parts["calibration"] = f"**Confidences.** {confidences}"
    for name, text in parts.items():
        panel.md(text, name=f"{name}_title")
        click = {"on_click": events.show_errors} if name == "errors" else {}
        panel.plot(name, layout=layouts[name], config=PLOT, **click)
    if facts["comparison"]:
        _comparison(panel, facts["eval_keys"], facts["comparison"], events)
    panel.md("**Per class**", name="table_title")
    _table(
        panel,
        "table",
        [("label", "Class (support)"), ("quality", "P / R / F1"), ("interval", "F1 95 %")],
        [
            ("tp", events.show_hits, "TP", "Show what was found"),
            ("fp", events.show_false, "FP", "Show false alarms"),
            ("fn", events.show_missed, "FN", "Show what was missed"),
        ],
    )


def _comparison(panel: types.Object, keys: list[str], proposed: Sequence[str], events: Any) -> None:
    """Two evaluations, and the button that puts them side by side."""
    panel.md("**Compare two iterations** in FiftyOne's Model Evaluation", name="compare_title")
    bar = panel.h_stack("compare_bar", gap=2, align_y="center")
    newer, older = proposed
    for name, label, default in (("newer", "Evaluation", newer), ("older", "compared with", older)):
        view = types.DropdownView(label=label)
        for key in reversed(keys):
            view.add_choice(key, label=key)
        bar.enum(name, keys, default=default, view=view)
    bar.btn("compare", label="Open", on_click=events.compare, variant="outlined")


# --- when to stop --------------------------------------------------------------------------------
def _advice(panel: types.Object, advice: dict[str, Any], layouts: Any, events: Any) -> None:
    heading = f"**Recommendation: {advice['recommendation']} {advice['class_name'] or ''}".strip()
    panel.md(f"{heading}**\n\n{advice['sentence']}", name="advice")
    _lines(panel, "figures", advice["details"])
    panel.md("The rule behind it: *When to stop* in the documentation of the method.", name="rule")
