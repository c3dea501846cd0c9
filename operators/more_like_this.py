"""Form of `unseen.more_like_this`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator, show_saved_view


class MoreLikeThis(StepOperator):
    """Asks what is wanted and what is not; what is selected in the App is wanted."""

    def resolve_input(self, ctx: Any) -> types.Property:
        take_selection(ctx)
        form = super().resolve_input(ctx)
        if not ctx.params.get("wanted"):
            problem = form.type.str(
                "nothing_selected",
                view=types.Error(label="Select images, patches or boxes that show what you want."),
            )
            problem.invalid = True
            problem.error_message = "nothing is selected, and wanted is empty"
        return form

    def execute(self, ctx: Any) -> Any:
        take_selection(ctx)
        return super().execute(ctx)

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return [ctx.ops.reload_dataset(), show_saved_view(ctx, result["view"])]


def take_selection(ctx: Any) -> None:
    """Fill in what is selected as wanted, where nothing else was given.

    Labels go before samples. A patch has the id of its label (1.22), so patches need no more.
    """
    if not ctx.params.get("wanted"):
        labels = [label["label_id"] for label in ctx.selected_labels or ()]
        unwanted = ctx.params.get("unwanted") or ()
        ctx.params["wanted"] = [i for i in labels or ctx.selected if i not in unwanted]
