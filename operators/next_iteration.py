"""Form of `unseen.next_iteration`."""

from __future__ import annotations

from typing import Any

from .step_operator import StepOperator, show_saved_view


class NextIteration(StepOperator):
    """Asks how the next turn of the loop is made."""

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        shown = [ctx.ops.reload_dataset()]
        if result["batch"] and ctx.dataset.has_saved_view(result["batch"]):
            shown.append(show_saved_view(ctx, result["batch"]))
        return shown
