"""What the operators of all steps share: form, run, output and the SDK call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from unseen.dataset.appearance import look
from unseen.results import as_markdown
from unseen.steps.catalogue import Step

from . import inputs
from .run_step import run_step

_ASSETS = Path(__file__).parent.parent / "plugin/assets"


class StepOperator(foo.Operator):
    """An operator that asks for the parameters of one step and runs it."""

    step: Step  #: set by `operators`, from the catalogue

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name=self.step.name,
            label=self.step.label,
            description=self.step.description,
            icon=icon(self.step.name),
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel[self.step.risk.upper()],
            view_target=self.step.view_verb is not None,
        )

    def resolve_input(self, ctx: Any) -> types.Property:
        form = inputs.form(ctx, self.step)
        if self.step.warning:
            form.view("warning", types.Warning(label=self.step.warning))
        if self.step.is_long:
            form.view("schedule", types.Notice(label=how_to_schedule()))
        if self.step.asks_server:
            text = "Contacts the annotation server, with the credentials of FiftyOne's secrets."
            form.view("server", types.Notice(label=text))
        return types.Property(form, view=types.View(label=self.step.label))

    def resolve_run_name(self, ctx: Any) -> str:
        return f"{self.step.label}: {ctx.dataset.name}"

    def execute(self, ctx: Any) -> Any:
        before = look(ctx.dataset)

        def refresh(ctx: Any, result: dict[str, Any]) -> list[Any]:
            return [*self.refresh(ctx, result), *follow(ctx, before)]

        return run_step(ctx, self.step, self.collection(ctx), refresh)

    def collection(self, ctx: Any) -> Any:
        """The dataset or view that the step works on."""
        has_target = self.step.view_verb is not None and not inputs.shows_patches(ctx)
        return ctx.target_view() if has_target else ctx.dataset

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        """What the App does after the step: reload, and show the new saved view if there is one."""
        view = result.get("view") or result.get("batch")
        if not view or not ctx.dataset.has_saved_view(view):
            return [ctx.ops.reload_dataset()]
        # Not by its name: the App (1.22) looks that up in a list that lacks new views.
        shown = ctx.ops.set_view(view=ctx.dataset.load_saved_view(view))
        return [ctx.ops.reload_dataset(), shown]

    def resolve_output(self, ctx: Any) -> types.Property | None:
        if self.step.locks:  # the panel says how it went
            return None
        outputs = types.Object()
        # Markdown, because the App (1.22) loads its code view from the internet.
        outputs.md(as_markdown(ctx.results or {}), name="shown")
        return types.Property(outputs, view=types.View(label=self.step.label))

    def __call__(self, collection: Any, *, delegate: bool = False, **settings: Any) -> Any:
        """Run the step from Python on a dataset, the name of one, or a view.

        `delegate` schedules the run instead of waiting for it; `settings` are parameters of the
        step. Returns FiftyOne's ExecutionResult, whose `result` is the step's result as a dict; in
        a notebook an asyncio task of it.
        """
        is_view = isinstance(collection, fo.DatasetView)
        outcome = foo.execute_operator(
            self.uri,
            {"view" if is_view else "dataset": collection},
            params={
                k: list(v) if isinstance(v, tuple) else v
                for k, v in settings.items()
                if v is not None
            },
            request_delegation=delegate,
        )
        return _result_of_task(outcome) if isinstance(outcome, asyncio.Task) else _result(outcome)


class OtherOperator(foo.Operator):
    """An operator that is no step, does little harm, and has a button."""

    name: str
    label: str
    description: str
    svg: str  #: of its icon
    place: types.Places  #: of its button

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name=self.name,
            label=self.label,
            description=self.description,
            icon=icon(self.svg),
            risk_level=types.RiskLevel.LOW,
            view_target=False,
        )

    def resolve_placement(self, ctx: Any) -> types.Placement:
        # Runs for every operator whenever a dataset is opened: keep it trivial.
        button = types.Button(label=self.label, icon=icon(self.svg), prompt=False)
        return types.Placement(self.place, button)


def follow(ctx: Any, before: Mapping[str, Any]) -> list[Any]:
    """Bring the colours, fields and sidebar groups that changed since `before` to the App.

    1.22 reads them when it opens a dataset, so a running one would show them after a page load.
    """
    now, operations = look(ctx.dataset), []
    if now["groups"] != before["groups"]:  # plugin/app.js
        groups = {"groups": now["groups"]}
        operations.append(ctx.trigger("@unseen/curation/set_sidebar_groups", groups))
    if now["colours"] != before["colours"]:
        scheme = {"fields": now["colours"], "opacity": now["opacity"]}
        operations.append(ctx.trigger("set_color_scheme", scheme))
    shown = list(ctx.active_fields or ())
    if new := [p for p in now["fields"] if p not in (*before["fields"], *shown)]:
        # In the order of the sidebar, the first on top, as after a page load.
        order = {path: i for i, path in enumerate(p for g in now["groups"] for p in g["paths"])}
        fields = sorted([*shown, *new], key=lambda path: order.get(path, len(order)))
        operations.append(ctx.ops.set_active_fields(fields))
    return operations


def icon(name: str) -> str:
    """The App's path of an operator's icon, or of the plugin's own if it has none."""
    return f"/plugin/assets/{name if (_ASSETS / f'{name}.svg').is_file() else 'open_workspace'}.svg"


def how_to_schedule() -> str:
    """How to hand a long run to a worker; 1.22 only greys "Schedule" out."""
    needed = "start a worker with `fiftyone delegated launch`"
    if not fo.config.allow_legacy_orchestrators:
        variable = "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true"
        needed = f"start the App with {variable} (`unseen app` does), and {needed}"
    return f"Runs in the App's server; the panel shows how far it is. To Schedule it instead, {needed}."


def _result(outcome: Any) -> Any:
    """The outcome with the result that FiftyOne (1.22) drops when it drains a generator."""
    if outcome.result is None:
        outcome.result = getattr(outcome.executor, "results", None)
        if outcome.result is None:  # an error raises; only a stopped run ends without a result
            raise KeyboardInterrupt
    return outcome


def _result_of_task(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    async def wait() -> Any:
        return _result(await task)

    return asyncio.ensure_future(wait())
