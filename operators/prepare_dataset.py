"""Form of `unseen.prepare_dataset`."""

from __future__ import annotations

from typing import Any

from unseen.dataset.workspace import WORKSPACE

from .step_operator import StepOperator


class PrepareDataset(StepOperator):
    """Asks for everything that makes a plain dataset ready, and opens the workspace."""

    step = "prepare_dataset"
    label = "Set up the dataset"
    description = "Classes, test split, initial images and known structure, in one form"

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return [ctx.ops.reload_dataset(), ctx.ops.set_spaces(name=WORKSPACE)]
