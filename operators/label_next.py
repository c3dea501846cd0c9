"""Labelling in the App's Annotate tab: on to the next image, with or without "nothing here"."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from fiftyone.operators import types

from unseen.annotation import queue
from unseen.annotation.working_time import note_click
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.setup import names_of
from unseen.errors import DatasetError, UnseenError
from unseen.loop import overview

from .step_operator import OtherOperator


class LabelNext(OtherOperator):
    """Opens the next unlabelled image of the batch, the initial images or the test split."""

    name, label, svg = "label_next", "Next unlabelled", "request_annotations"
    description = "Open the next unlabelled image of the batch in the Annotate tab"
    place = types.Places.SAMPLES_VIEWER_ACTIONS

    def execute(self, ctx: Any) -> dict[str, Any]:
        try:
            return self.go_on(ctx, loop_of(ctx))
        except UnseenError as error:
            ctx.ops.notify(str(error), variant="error")
            return {"problem": str(error)}

    def go_on(self, ctx: Any, loop: Loop) -> dict[str, Any]:
        """Open what comes next; `images` may name the part of the dataset, as a hand-out does."""
        batch = overview.now(loop.dataset, loop.names).batch
        newest, asked = batch.name if batch else None, ctx.params.get("images")
        current = ctx.current_sample
        tags = loop.dataset[current].tags if current else ()
        tag = loop.names.test_tag if asked == "test" else newest
        if asked is None:
            tag = queue.tag_of(loop.names, tags, newest)
        if tag is None:
            raise DatasetError("there is nothing to label yet; set the dataset up first")
        line = queue.read_queue(loop, tag)
        following = line.after(current)
        opens = ctx.params.get("again") or current in line.ids
        note_click(loop, current, following if opens else None)
        if following is None:
            ctx.ops.notify(f"All {len(line.ids)} images in {tag} are labelled.", variant="success")
            ctx.ops.close_sample()
            return {"left": 0}
        # 1.22: the App breaks down over a sample that the grid's view does not hold.
        if opens:
            ctx.trigger("open_sample", {"id": following, "mode": "annotate"})
            ctx.ops.notify(f"{len(line.waiting)} of {len(line.ids)} images are left in {tag}.")
        else:
            ctx.ops.set_view(view=queue.in_order(loop, tag))
            uri = f"{self.plugin_name}/label_next"
            ctx.prompt(uri, params={**ctx.params, "images": asked, "again": True}, skip_prompt=True)
        return {"left": len(line.waiting)}


class MarkEmpty(LabelNext):
    """Records that nothing is on the open or the selected images, and goes on."""

    name, label, svg = "mark_empty", "Nothing here", "screen_images"
    description = "Store an empty list of labels for the open or the selected images, and go on"

    def go_on(self, ctx: Any, loop: Loop) -> dict[str, Any]:
        ids = [ctx.current_sample] if ctx.current_sample else list(ctx.selected or ())
        marked = queue.mark_empty(loop, ids)
        if ctx.current_sample:
            return {"marked": marked, **super().go_on(ctx, loop)}
        ctx.ops.clear_selected_samples()
        ctx.ops.notify(f"{len(ids)} images are labelled as empty.", variant="success")
        ctx.ops.reload_samples()
        return {"marked": marked}


def loop_of(ctx: Any) -> Loop:
    """The loop that the parameters name, by default the main one as it was set up."""
    given = {f.name: ctx.params[f.name] for f in fields(Names) if ctx.params.get(f.name)}
    return Loop(ctx.dataset, replace(names_of(ctx.dataset), **given))
