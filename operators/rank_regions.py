"""Form of `unseen.rank_regions`."""

from __future__ import annotations

from typing import Any

from .step_operator import StepOperator, show_saved_view


class RankRegions(StepOperator):
    """Asks how many regions are ranked, and how many of one image."""

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return [ctx.ops.reload_dataset(), show_saved_view(ctx, result["view"])]
