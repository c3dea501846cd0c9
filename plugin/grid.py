"""What leads from the panel into the grid: the images behind a bar, a row, a cell."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import fiftyone.operators as foo
from fiftyone import ViewField as F

from unseen.dataset.appearance import PREDICTIONS, look
from unseen.loop import overview

from . import layout


class GridEvents(foo.Panel):
    """Clicks that change what the grid shows."""

    def show_bars(self, ctx: Any) -> None:
        """The images of the bar of the histogram that was clicked, or of the selected ones."""
        ranking = overview.ranking(ctx.dataset)
        points = [ctx.params] if "x" in ctx.params else ctx.params.get("data") or []
        values = [float(p["x"]) for p in points if p.get("x") is not None]
        if ranking.histogram is None or not values:
            return
        edges, value = ranking.histogram.edges, F(ranking.field)
        low, high = (_bin_of(x, edges) for x in (min(values), max(values)))
        inside = value >= edges[low]
        if high < len(edges) - 2:  # the last bin is open
            inside = inside & (value < edges[high + 1])
        view = overview.counted(ctx.dataset).match(inside)
        ctx.ops.set_view(view=view.sort_by(ranking.field, reverse=True))

    def open_row(self, ctx: Any) -> None:
        """The sample of a row of the batch, in the modal."""
        row = ctx.params["row"]
        sample_id = overview.ranking(ctx.dataset).rows[row].sample_id
        # 1.22: the App breaks down over a sample that the grid's view does not hold.
        if ctx.params.get("again") or len(ctx.view.select(sample_id)):
            ctx.ops.open_sample(id=sample_id)
            return
        if not self._show_batch(ctx):
            ctx.ops.clear_view()
        again = {"row": row, "again": True}
        ctx.prompt(self.method_to_uri("open_row"), params=again, skip_prompt=True)

    def show_batch(self, ctx: Any) -> None:
        """The batch in rank order."""
        self._show_batch(ctx)

    def show_hits(self, ctx: Any) -> None:
        self._show_matches(ctx, "tp")

    def show_false(self, ctx: Any) -> None:
        self._show_matches(ctx, "fp")

    def show_missed(self, ctx: Any) -> None:
        self._show_matches(ctx, "fn")

    def show_errors(self, ctx: Any) -> None:
        """The boxes of the kind of errors whose bar was clicked."""
        progress = overview.progress(ctx.dataset)
        kinds = {k.name: k.kind for k in progress.mistakes.kinds} if progress.mistakes else {}
        kind, point = kinds.get(ctx.params.get("y")), progress.newest
        if kind is None or point is None or point.eval_key is None:
            return
        if kind == "missed":
            self._show_boxes(ctx, point.gt_field, F(point.eval_key) == "fn")
        else:
            self._show_boxes(ctx, point.predictions, F("error") == kind)

    def _show_batch(self, ctx: Any) -> bool:
        """Show the batch in rank order; False if there is none."""
        batch = overview.ranking(ctx.dataset).batch
        if batch is None or not ctx.dataset.has_saved_view(batch.name):
            return False
        ctx.ops.set_view(view=ctx.dataset.load_saved_view(batch.name))
        return True

    def _show_matches(self, ctx: Any, kind: str) -> None:
        """The boxes behind a row of the table that are `tp`, `fp` or `fn`, and their images."""
        row = layout.cells(overview.progress(ctx.dataset))[ctx.params["row"]]
        if row.point.eval_key is None:
            ctx.ops.notify("The evaluation of this iteration is gone.", variant="warning")
            return
        wanted = F(row.point.eval_key) == kind
        if row.label is not None:
            wanted = wanted & (F("label") == row.label)
        self._show_boxes(ctx, row.point.gt_field if kind == "fn" else row.point.predictions, wanted)

    def _show_boxes(self, ctx: Any, field: str, wanted: Any) -> None:
        """Some boxes of a field, and their images."""
        ctx.ops.set_view(view=ctx.dataset.filter_labels(field, wanted))
        curves = overview.progress(ctx.dataset).curves
        others = {point.predictions for curve in curves for point in curve.points} - {field}
        shown = [path for path in ctx.active_fields or () if path not in (*others, field)]
        ctx.ops.set_active_fields([*shown, field])
        known = look(ctx.dataset)
        if field not in {entry.get("path") for entry in known["colours"]}:
            own = {"path": field, "fieldColor": PREDICTIONS}
            ctx.trigger("set_color_scheme", {"fields": [*known["colours"], own]})


def _bin_of(x: float, edges: list[float]) -> int:
    """The last bin that begins at or below `x`; values outside belong to the outer bins."""
    return min(max(bisect_right(edges, x) - 1, 0), len(edges) - 2)
