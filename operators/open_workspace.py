"""Opens the workspace "Curation"."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types
from fiftyone.server.events.state import get_state

from unseen.dataset.appearance import WORKSPACE, enlarge_thumbnails, look, save_workspace
from unseen.dataset.writing import renew_look

from .step_operator import OtherOperator, follow


class OpenWorkspace(OtherOperator):
    """Arranges the App: samples left, panel and Model Evaluation right."""

    name = svg = "open_workspace"
    label = "Open the Curation workspace"
    description = "Samples left, the loop and the detector's evaluation right"
    place = types.Places.SAMPLES_GRID_SECONDARY_ACTIONS

    def execute(self, ctx: Any) -> dict[str, str]:
        before = look(ctx.dataset)
        name = save_workspace(ctx.dataset)
        renew_look(ctx.dataset)
        arrange(ctx)
        follow(ctx, before)
        return {"workspace": name}


def arrange(ctx: Any) -> list[Any]:
    """Open the saved workspace in the App."""
    enlarge_thumbnails(get_state().config)
    return [ctx.ops.reload_dataset(), ctx.ops.set_spaces(name=WORKSPACE)]
