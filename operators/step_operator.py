"""What the operators of all steps share: form, run, output and the SDK call."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from unseen.annotation.cvat.credentials import SECRETS, supply
from unseen.results import as_markdown
from unseen.steps.catalogue import Step

from . import inputs
from .run_step import run_step


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
        form = inputs.form(ctx, self.step.config, view_verb=self.step.view_verb)
        if self.step.is_long:
            form.view("schedule", types.Notice(label=how_to_schedule()))
        return types.Property(form, view=types.View(label=self.step.label))

    def resolve_run_name(self, ctx: Any) -> str:
        return f"{self.step.label}: {ctx.dataset.name}"

    def execute(self, ctx: Any) -> Any:
        has_target = self.step.view_verb is not None and not inputs.shows_patches(ctx)
        collection = ctx.target_view() if has_target else ctx.dataset
        return run_step(ctx, self.step.name, collection, self.refresh, lambda: self.around(ctx))

    def around(self, ctx: Any) -> contextlib.AbstractContextManager[Any]:
        """What the step runs in: FiftyOne's secrets are no parameters, because those are stored."""
        if not self.step.asks_server:
            return contextlib.nullcontext()
        found = {name: ctx.secrets.get(name) for name in SECRETS}
        # 1.22: the first look-up of a secret gives an object around its value.
        return supply({name: getattr(v, "value", v) for name, v in found.items()})

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        """What the App shows once the step is done."""
        return [ctx.ops.reload_dataset()]

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        # Markdown: the App (1.22) loads its code view from the internet, which a fab has not.
        outputs.md(as_markdown(ctx.results or {}), name="shown")
        return types.Property(outputs, view=types.View(label=self.step.label))

    def __call__(self, collection: Any, *, delegate: bool = False, **settings: Any) -> Any:
        """Run the step on a dataset or view from Python.

        Args:
            collection: a Dataset, the name of one, or a DatasetView.
            delegate: schedule the run instead of waiting for it.
            **settings: parameters of the step.

        Returns:
            FiftyOne's ExecutionResult, whose `result` is the step's result as a dict; in a
            notebook an asyncio task of it.
        """
        is_view = isinstance(collection, fo.DatasetView)
        outcome = foo.execute_operator(
            self.uri,
            {"view" if is_view else "dataset": collection},
            params=inputs.to_params(settings),
            request_delegation=delegate,
        )
        return _result_of_task(outcome) if isinstance(outcome, asyncio.Task) else _result(outcome)


def icon(name: str) -> str:
    """The App's path of a step's icon, or of the plugin's own where it has none."""
    own = Path(__file__).parent.parent / "plugin/assets" / f"{name}.svg"
    return f"/plugin/assets/{name if own.is_file() else 'open_workspace'}.svg"


def show_saved_view(ctx: Any, name: str) -> Any:
    """The App's operation that shows a saved view in the grid.

    Not by its name: the App (1.22) looks that up in its own list, which a new view is not in.
    """
    return ctx.ops.set_view(view=ctx.dataset.load_saved_view(name))


def how_to_schedule() -> str:
    """What a long run can be handed to, and what that needs; 1.22 only greys "Schedule" out."""
    worker = "start a worker with `fiftyone delegated launch`"
    if fo.config.allow_legacy_orchestrators:
        return (
            f"Executes in the App's server, which stays usable. To Schedule it instead, {worker}."
        )
    return (
        "Executes in the App's server, which stays usable. To Schedule it instead, start the App with "
        f"FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true (`unseen app` does), and {worker}."
    )


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
