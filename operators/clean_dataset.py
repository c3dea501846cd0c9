"""Form of `unseen.clean_dataset`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator


class CleanDataset(StepOperator):
    """Asks whether the checkpoints go too."""

    def resolve_input(self, ctx: Any) -> types.Property:
        form = super().resolve_input(ctx)
        form.type.view(
            "warning",
            types.Warning(
                label="Scores, batches, predictions, evaluations and records go; "
                "images and labels stay"
            ),
        )
        return form
