"""Operator of `unseen.prepare_dataset`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from unseen.dataset.setup import names_of

from .inputs import detection_fields
from .open_workspace import arrange
from .step_operator import StepOperator


class PrepareDataset(StepOperator):
    """Opens the workspace."""

    def resolve_input(self, ctx: Any) -> types.Property:
        form = super().resolve_input(ctx)
        # The default, by coverage, is for a dataset without labels to learn from.
        if ctx.params.get("initial_order") in (None, "coverage") and _has_labels(ctx):
            form.type.properties.pop("initial_order", None)
        return form

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return arrange(ctx)


def _has_labels(ctx: Any) -> bool:
    if ctx.dataset is None:
        return False
    names = names_of(ctx.dataset)
    field = ctx.params.get("label_field") or names.label_field
    test_tag = ctx.params.get("test_tag") or names.test_tag
    learned_from = ctx.dataset.match_tags(test_tag, bool=False)
    return field in detection_fields(ctx.dataset) and bool(learned_from.exists(field).limit(1))
