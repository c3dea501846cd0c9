"""Form of `unseen.next_iteration`."""

from __future__ import annotations

from typing import Any

from .annotation_operator import AnnotationOperator
from .step_operator import show_saved_view


class NextIteration(AnnotationOperator):
    """Asks how the next turn of the loop is made."""

    step = "next_iteration"
    label = "Next iteration"
    description = "Load what is finished and go on: train, score, select, send"
    is_long = True

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        shown = [ctx.ops.reload_dataset()]
        if result["batch"] and ctx.dataset.has_saved_view(result["batch"]):
            shown.append(show_saved_view(ctx, result["batch"]))
        return shown
