"""Operator of `unseen.more_like_this`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator


class MoreLikeThis(StepOperator):
    """Takes what is selected in the App as wanted."""

    def resolve_input(self, ctx: Any) -> types.Property:
        take_selection(ctx)
        form = super().resolve_input(ctx)
        if not ctx.params.get("wanted"):
            text = "Select images, patches or boxes that show what you want."
            problem = form.type.str("nothing_selected", view=types.Error(label=text))
            problem.invalid, problem.error_message = True, text
        return form

    def execute(self, ctx: Any) -> Any:
        take_selection(ctx)
        return super().execute(ctx)


def take_selection(ctx: Any) -> None:
    """Use the selection as `wanted`, unless something else was given.

    Labels take precedence over samples. A patch has the id of its label (1.22).
    """
    if not ctx.params.get("wanted"):
        labels = [label["label_id"] for label in ctx.selected_labels or ()]
        unwanted = ctx.params.get("unwanted")
        unwanted = unwanted if isinstance(unwanted, list) else ()  # the form says if it is wrong
        ctx.params["wanted"] = [i for i in labels or ctx.selected if i not in unwanted]
