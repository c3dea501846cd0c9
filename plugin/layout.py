"""Plain data -> what the panel "Curation" looks like. No computing, no database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fiftyone.operators import types

TABS = NOW, RANKING, PROGRESS, STOP = ("Now", "Ranking", "Progress", "When to stop")
#: What the learning curves are drawn against.
AXES = ("images", "boxes")
#: 1.22: a table has a least width of its own, with which its icons are out of sight at half a small
#: App, and shows one icon only.
TABLE = {"componentsProps": {"table": {"sx": {"minWidth": 0}}}, "max_inline_actions": 3}
#: The wheel scrolls the panel and does not zoom the plot below it.
PLOT = {"scrollZoom": False, "displayModeBar": False}
#: Rows of a batch that are listed; the rest is in the grid.
ROWS = 200
#: Buttons side by side at half the width of a small App.
PER_ROW = 3


def tabs(panel: types.Object, chosen: str, on_change: Any) -> None:
    """The four sections."""
    view = types.TabsView()
    for name in TABS:
        view.add_choice(name, label=name)
    panel.str("tab", default=chosen, view=view, on_change=on_change)


def section(panel: types.Object, tab: str, shown: dict[str, Any], events: Any) -> None:
    """The open section; `events` has a method for everything that can be clicked."""
    if "now" not in shown:
        panel.md("Reading ...", name="reading")
    elif tab == RANKING and "ranking" in shown:
        _ranking(panel, shown["ranking"], shown["layouts"], events)
    elif tab == PROGRESS and "progress" in shown:
        _progress(panel, shown["progress"], shown["layouts"], events)
    elif tab == STOP and "advice" in shown:
        _advice(panel, shown["advice"], events)
    else:
        _now(panel, shown["now"], events)


# --- now -------------------------------------------------------------------------------------------
def _now(panel: types.Object, now: dict[str, Any], events: Any) -> None:
    if now["empty_state"]:
        panel.md(now["empty_state"], name="empty")
    else:
        panel.md(_standing(now), name="standing")
    best = now["next_action"]
    panel.md(f"**Next:** {best['reason']}", name="why")
    bar = panel.h_stack("next", gap=2, align_y="center")
    _button(bar, "do_next", best, events, variant="contained")
    bar.btn("refresh", label="Refresh", on_click=events.refresh, icon="refresh", variant="outlined")
    for number, hint in enumerate(now["hints"]):
        panel.message(f"hint_{number}", hint)
    if now["other_actions"]:
        panel.md("**Or**", name="or")
        actions = now["other_actions"]
        for start in range(0, len(actions), PER_ROW):
            row = panel.h_stack(f"others_{start}", gap=1)
            for number, action in enumerate(actions[start : start + PER_ROW], start=start):
                _button(row, f"other_{number}", action, events, variant="outlined")


def _button(
    parent: types.Object, name: str, action: dict[str, Any], events: Any, *, variant: str
) -> None:
    parent.btn(
        name,
        label=action["label"],
        title=action["reason"],
        on_click=events.act,
        params={"operator": action["operator"], "form": action["params"]},
        variant=variant,
    )


def _standing(now: dict[str, Any]) -> str:
    counts = now["counts"]
    rows = [
        ("Labelled", f"{counts['labelled']} images, {counts['boxes']} boxes"),
        ("Pool", _with(counts["pool"], counts["unscored"], "not scored by the newest model")),
        ("Test split", _with(counts["test"], counts["test_unlabelled"], "without labels")),
        ("Out for labelling", str(counts["out"])),
        ("Excluded", str(counts["excluded"])),
    ]
    lines = [f"| Iteration {now['iteration']} | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows]
    if now["batch"]:
        lines.append(f"| {_batch_name(now['batch'])} | {_batch_text(now['batch'])} |")
    return "\n".join(lines)


def _with(count: int, part: int, what: str) -> str:
    return f"{count}, {part} {what}" if part else str(count)


def _batch_name(batch: dict[str, Any]) -> str:
    name = batch["name"]
    return f"[{name}]({batch['url']})" if batch["url"] else name


def _batch_text(batch: dict[str, Any]) -> str:
    parts = [f"{batch['labelled']} of {batch['images']} images labelled"]
    if batch["backend"] is None:
        if batch["labelled"] < batch["images"]:
            parts.append("not handed out yet")
    elif not batch["closed"]:
        days = f" for {batch['age_days']:.0f} days" if (batch["age_days"] or 0) >= 1 else ""
        parts.append(f"with the annotators ({batch['backend']}){days}")
    if batch["waiting_to_load"]:
        parts.append(f"{batch['waiting_to_load']} done and waiting to be loaded")
    if batch["problem"]:
        parts.append(f"the server could not be asked: {batch['problem']}")
    return "; ".join(parts)


# --- ranking ---------------------------------------------------------------------------------------
def ranking_facts(ranking: Any) -> dict[str, Any]:
    """What the section says, without the numbers that go into plot and table."""
    return {
        "empty_state": ranking.empty_state,
        "metric": ranking.metric,
        "scored": ranking.scored,
        "trust": ranking.trust.to_dict(),
        "control": ranking.control.sentence if ranking.control else None,
        "batch": ranking.batch.to_dict() if ranking.batch else None,
        "rows": min(len(ranking.rows), ROWS),
        "has_histogram": ranking.histogram is not None,
        "open_end": ranking.histogram.maximum
        if ranking.histogram is not None and ranking.histogram.is_open
        else None,
        "is_diverse": ranking.batch is not None and ranking.batch.strategy == "diverse",
        "is_mixed": ranking.batch is not None and ranking.batch.strategy == "mixed",
    }


def batch_table(ranking: Any) -> list[dict[str, Any]]:
    """The batch in rank order."""
    return [
        {
            "image": f"{row.rank}. {row.filename}",
            "value": "-" if row.value is None else f"{row.value:.4g}",
            "regions": "-" if row.regions is None else row.regions,
            "chosen_by": (row.chosen_by or "random").replace("_", " "),
        }
        for row in ranking.rows[:ROWS]
    ]


def _ranking(
    panel: types.Object, facts: dict[str, Any], layouts: dict[str, Any], events: Any
) -> None:
    if facts["empty_state"]:
        panel.md(facts["empty_state"], name="empty")
        return
    trust = facts["trust"]
    heading = f"**How far to trust the ranking: {trust['verdict']}**"
    if trust["is_warning"]:
        panel.md(heading, name="trust")
        panel.view("warning", types.Warning(label=trust["sentence"]))
    else:
        panel.md(f"{heading}\n\n{trust['sentence']}", name="trust")
    if trust["details"]:
        panel.md("\n".join(f"- {line}" for line in trust["details"]), name="details")
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
            on_click=events.show_bin,
            on_selected=events.show_lasso,
        )
    if facts["batch"] and facts["rows"]:
        bar = panel.h_stack("batch_bar", gap=2, align_y="center")
        bar.md(f"**{facts['batch']['name']}**", name="batch_name")
        bar.btn("show", label="Show in the grid", on_click=events.show_batch, variant="outlined")
        if facts["is_diverse"]:
            text = (
                f"In the order in which they were chosen: high in {facts['metric']}, and unlike those "
                "chosen before."
            )
            panel.md(text, name="order")
        columns = [
            ("image", "Rank, image"),
            ("value", facts["metric"].replace("_", " ").capitalize()),
            ("regions", "Regions"),
        ]
        if facts["is_mixed"]:
            columns.append(("chosen_by", "Chosen by"))
        table = types.TableView(**TABLE)
        for key, label in columns:
            table.add_column(key, label=label)
        table.add_row_action("open", events.open_row, icon="visibility", tooltip="Open the image")
        panel.list("rows", types.Object(), view=table)


# --- progress --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cell:
    """One row of the table: one class (or all) of one iteration."""

    iteration: int
    curve: str
    images: int
    label: str | None  #: None = all classes
    eval_key: str | None
    predictions: str | None
    gt_field: str | None
    cell: Any


def progress_facts(progress: Any) -> dict[str, Any]:
    """What the section says, without the numbers that go into plots and table."""
    return {
        "empty_state": progress.empty_state,
        "test_images": progress.test_images,
        "iou": progress.iou,
        "min_confidence": progress.min_confidence,
        "eval_keys": list(progress.eval_keys),
    }


def cells(progress: Any) -> list[Cell]:
    """The rows of the table, newest iteration first; per iteration all classes, then each."""
    found = []
    for curve in progress.curves:
        for point in reversed(curve.points):
            if point.macro_f1 is None:
                continue
            common = {
                "iteration": point.iteration,
                "curve": curve.label,
                "images": point.images,
                "eval_key": point.eval_key,
                "predictions": point.predictions,
                "gt_field": point.gt_field,
            }
            found.append(Cell(**common, label=None, cell=point))
            for label, cell in point.per_class.items():
                found.append(Cell(**common, label=label, cell=cell))
    return found


def progress_table(progress: Any) -> list[dict[str, Any]]:
    """The table iteration x class as the paper prints it, one row per class."""
    rows = []
    for item in cells(progress):
        is_mean = item.label is None
        value = item.cell
        interval = value.macro_interval if is_mean else value.interval
        rows.append(
            {
                "label": f"{item.curve} {item.iteration}: mean"
                if is_mean
                else f"{item.label} ({value.support})",
                # One column: with three, the icons would be out of sight at half a small App.
                "quality": f"F1 {_short(value.macro_f1)}"
                if is_mean
                else " / ".join(_short(v) for v in (value.precision, value.recall, value.f1)),
                "interval": f"{_short(interval.low)}-{_short(interval.high)}" if interval else "-",
            }
        )
    return rows


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _progress(
    panel: types.Object, facts: dict[str, Any], layouts: dict[str, Any], events: Any
) -> None:
    if facts["empty_state"]:
        panel.md(facts["empty_state"], name="empty")
        return
    against = facts["against"]
    panel.md(
        f"Measured on {facts['test_images']} test images at IoU {facts['iou']}, from confidence "
        f"{facts['min_confidence']} on. Bars: 95 % intervals over the test images.",
        name="how",
    )
    choice = types.RadioGroup(orientation="horizontal")
    for name in AXES:
        choice.add_choice(name, label=f"Labelled {name}")
    panel.enum("against", list(AXES), default=against, view=choice, on_change=events.change_axis)
    for name, title in (
        ("f1", "Macro F1"),
        ("classes", "F1 per class"),
        ("ap", "Average precision"),
        ("balance", "Class balance"),
    ):
        panel.md(f"**{title}**", name=f"{name}_title")
        panel.plot(name, layout=layouts[name], config=PLOT)
    panel.md("**Per class**", name="table_title")
    table = types.TableView(**TABLE)
    for key, label in (
        ("label", "Class (support)"),
        ("quality", "P / R / F1"),
        ("interval", "F1 95 %"),
    ):
        table.add_column(key, label=label)
    for name, event, icon, text in (
        ("tp", events.show_hits, "check_circle", "Show what was found"),
        ("fp", events.show_false, "cancel", "Show false alarms"),
        ("fn", events.show_missed, "search_off", "Show what was missed"),
    ):
        table.add_row_action(name, event, icon=icon, tooltip=text)
    panel.list("table", types.Object(), view=table)
    if len(facts["eval_keys"]) >= 2:
        _comparison(panel, facts, events)


def pair(keys: list[str], newer: str | None, older: str | None) -> tuple[str, str]:
    """The two evaluations to compare: as chosen, else the newest against the one before it."""
    return newer or (keys[-1] if keys else ""), older or (keys[-2] if len(keys) > 1 else "")


def _comparison(panel: types.Object, facts: dict[str, Any], events: Any) -> None:
    """Two evaluations, and the button that puts them side by side."""
    keys = facts["eval_keys"]
    panel.md("**Compare two iterations** in FiftyOne's Model Evaluation", name="compare_title")
    bar = panel.h_stack("compare_bar", gap=2, align_y="center")
    newer, older = pair(keys, None, None)
    for name, label, default, event in (
        ("newer", "Evaluation", newer, events.change_newer),
        ("older", "compared with", older, events.change_older),
    ):
        view = types.DropdownView(label=label)
        for key in reversed(keys):
            view.add_choice(key, label=key)
        bar.enum(name, keys, default=default, view=view, on_change=event)
    bar.btn("compare", label="Open", on_click=events.compare, variant="outlined")


# --- when to stop ----------------------------------------------------------------------------------
def _advice(panel: types.Object, advice: dict[str, Any], events: Any) -> None:
    heading = advice["recommendation"].capitalize()
    if advice["class_name"]:
        heading += f" {advice['class_name']}"
    panel.md(f"**{heading}**\n\n{advice['sentence']}", name="advice")
    if advice["details"]:
        panel.md("\n".join(f"- {line}" for line in advice["details"]), name="figures")
    panel.md("The rule behind it is in `docs/method.md`, *When to stop*.", name="rule")
