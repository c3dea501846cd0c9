"""Opens the workspace "Curation"."""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.server.events.state import get_state

from unseen.dataset.appearance import WORKSPACE, enlarge_thumbnails, look, save_workspace
from unseen.dataset.writing import renew_look

from .step_operator import follow, icon


class OpenWorkspace(foo.Operator):
    """Arranges the App: samples left, panel and Model Evaluation right."""

    @property
    def config(self) -> foo.OperatorConfig:
        return foo.OperatorConfig(
            name="open_workspace",
            label="Open the Curation workspace",
            description="Samples left, the loop and the detector's evaluation right",
            icon=icon("open_workspace"),
            risk_level=types.RiskLevel.LOW,
            view_target=False,
        )

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
