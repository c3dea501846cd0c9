"""What runs on the dataset, how far it is and how the last run ended: from a `Run` to components."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from unseen.dataset.locks import DONE, FAILED, INTERRUPTED, RUNNING, STOPPED, Run
from unseen.results import as_markdown

from .operators.inputs import described, step_of
from .operators.run_step import short

#: How loud the end of a run is said.
VARIANTS = {DONE: "success", FAILED: "error", STOPPED: "info", INTERRUPTED: "warning"}


def facts(run: Run | None) -> dict[str, Any] | None:
    """What the panel keeps of a run as plain data; it changes when the box has to."""
    if run is None:
        return None
    return {
        "since": run.since.isoformat(),
        "state": run.state,
        "text": sentence(run),
        "is_stopping": run.is_stopping,
        "step": run.step,
        "form": run.request,
    }


def sentence(run: Run) -> str:
    """What a person wants to know of a run, once."""
    if run.state == RUNNING:
        return described(run)
    step = step_of(run)
    label = step.label if step else run.step
    again = "goes on where it stopped" if step and step.continues else "starts over"
    at = f"{run.since.astimezone():%H:%M}"
    return {
        DONE: f"{label}: {run.text}",
        FAILED: f"{label} failed: {run.text}",
        STOPPED: f"{label} was stopped; nothing is half done. Started again, it {again}.",
        INTERRUPTED: f"{label}, begun at {at}, was interrupted ({run.where}). Started again, it {again}.",
    }[run.state]


def moving(run: Run) -> dict[str, Any]:
    """The part of the box that changes while a run goes on, as the panel's data."""
    text = as_markdown({"summary": run.text or "starting"})
    return {"run_share": run.share, "run_bar.text": text}


def _wrapped(text: str) -> str:
    """Each line a paragraph: as one text they would be a block of code, which runs out of the panel."""
    return "\n\n".join(as_markdown({"summary": line}) for line in text.splitlines())


def draw(panel: types.Object, run: dict[str, Any] | None, events: Any) -> None:
    """The box; an end that asks for nothing is one line."""
    if run is None:
        return
    if run["state"] == DONE:
        first = short(run["text"])
        if first == run["text"].rstrip("."):
            panel.md(_wrapped(first), name="run_done")
            return
        fold = types.Object()
        fold.md(_wrapped(run["text"]), name="all")
        view = types.ObjectView(collapsible=True, label=first)
        panel.define_property("run_done", fold, view=view)
        return
    if run["state"] == RUNNING:
        panel.view("run", types.Notice(label=_wrapped(run["text"])))
        panel.float("run_share", view=types.ProgressView())
        bar = panel.h_stack("run_bar", gap=2, align_y="center")
        if run["is_stopping"]:
            bar.md("Stopping ...", name="stopping")
        else:
            bar.btn("stop", label="Stop", on_click=events.stop, icon="stop", variant="outlined")
        bar.md("", name="text")
        return
    view = types.Error if run["state"] == FAILED else types.Warning
    panel.view("run", view(label=_wrapped(run["text"])))
    bar = panel.h_stack("run_bar", gap=2, align_y="center")
    if run["form"] is not None:
        form = {"operator": run["step"], "form": run["form"], "has_form": True}
        label = "Open the form again"
        bar.btn("again", label=label, on_click=events.act, params=form, variant="contained")
    bar.btn("dismiss", label="Dismiss", on_click=events.dismiss, variant="outlined")
