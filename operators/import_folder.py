"""Operator of `unseen.import_folder`, which works without a dataset."""

from __future__ import annotations

from typing import Any

from .run_step import run_step
from .step_operator import StepOperator


class ImportFolder(StepOperator):
    """Opens the new dataset."""

    def resolve_run_name(self, ctx: Any) -> str:
        return f"{self.step.label}: {ctx.params.get('folder')}"

    def execute(self, ctx: Any) -> Any:
        return run_step(ctx, self.step, self.collection(ctx), self.refresh)

    def collection(self, ctx: Any) -> Any:
        return ctx.params.get("folder")  # what it works on

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return [ctx.ops.open_dataset(result["dataset"])]
