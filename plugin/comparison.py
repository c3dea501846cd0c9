"""Two evaluations side by side in FiftyOne's Model Evaluation, from the panel's choices."""

from __future__ import annotations

from typing import Any

import fiftyone as fo
import fiftyone.operators as foo

from unseen.loop import overview

_EVALUATION = "model_evaluation_panel_builtin"


class ComparisonEvents(foo.Panel):
    """The button that opens Model Evaluation on two iterations.

    It takes three events (1.22): a panel that is mounted loads itself and would fall back to its
    overview, so it is held, shown, told.
    """

    def compare(self, ctx: Any) -> None:
        """Open FiftyOne's Model Evaluation on the two chosen evaluations."""
        if self._chosen(ctx) is None:
            text = "Choose two different iterations; both need an evaluation that still exists."
            ctx.ops.notify(text, variant="warning")
        elif (panel := evaluation_panel(ctx)) is not None:
            hold(ctx, panel, is_held=True)
            self._then(ctx, "compare_open")
        elif not ctx.params.get("again"):
            ctx.ops.open_panel(_EVALUATION, is_active=False)
            self._then(ctx, "compare", again=True)

    def compare_open(self, ctx: Any) -> None:
        """Bring the held panel to the front."""
        ctx.ops.open_panel(_EVALUATION)
        self._then(ctx, "compare_show")

    def compare_show(self, ctx: Any) -> None:
        """Say what the panel shows, and let it load."""
        panel, chosen = evaluation_panel(ctx), self._chosen(ctx)
        if panel is None:
            return
        if chosen is not None:
            ctx.ops.patch_panel_state(comparison(ctx.dataset, *chosen), panel_id=panel)
        hold(ctx, panel, is_held=False)

    def _then(self, ctx: Any, method: str, **params: Any) -> None:
        """Run another of this panel's events after this one."""
        ctx.prompt(self.method_to_uri(method), params=params, skip_prompt=True)

    def _chosen(self, ctx: Any) -> tuple[str, str] | None:
        """The newer and the older evaluation, as chosen or the newest two; None = not two."""
        progress = overview.progress(ctx.dataset)
        newer, older = progress.comparison or ("", "")
        state = ctx.panel.state.compare_bar or {}  # where the App keeps what its fields hold
        newer, older = state.get("newer") or newer, state.get("older") or older
        is_pair = {newer, older} <= set(progress.eval_keys) and newer != older
        return (newer, older) if is_pair else None


def evaluation_panel(ctx: Any) -> str | None:
    """The id of the Model Evaluation panel among the open ones, or None."""
    nodes = [ctx.spaces] if ctx.spaces is not None else []
    while nodes:
        node = nodes.pop()
        if getattr(node, "type", None) == _EVALUATION:
            panel: str = node.component_id
            return panel
        nodes += getattr(node, "children", None) or []
    return None


def hold(ctx: Any, panel: str, *, is_held: bool) -> None:
    """Keep a panel from loading itself when it is mounted, or let it load (App internals, 1.22)."""
    params = {"panel_id": panel, "data": {"loaded": is_held}, "full_merge": True}
    ctx.trigger("patch_panel_data", params)


def comparison(dataset: fo.Dataset, newer: str, older: str) -> dict[str, Any]:
    """The state with which Model Evaluation shows one evaluation beside another (1.22)."""
    runs = dataset._doc.evaluations
    evaluations = []
    for key in dataset.list_evaluations():
        config = dataset.get_evaluation_info(key).config
        kind = {"type": config.type, "method": config.method}
        evaluations.append({"key": key, "id": str(runs[key].id), **kind})
    # "init" keeps the panel's own loading from going back to the overview.
    view = {"page": "evaluation", "key": newer, "id": str(runs[newer].id), "init": True}
    return {"view": {**view, "compareKey": older}, "evaluations": evaluations}
