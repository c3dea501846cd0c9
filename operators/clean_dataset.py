"""Operator of `unseen.clean_dataset`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator


class CleanDataset(StepOperator):
    """Warns of what is deleted."""

    def resolve_input(self, ctx: Any) -> types.Property:
        form = super().resolve_input(ctx)
        text = "Deletes scores, batches, predictions, evaluations and records, not images or labels"
        form.type.view("warning", types.Warning(label=text))
        return form
