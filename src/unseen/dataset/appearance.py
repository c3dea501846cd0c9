"""Which fields the App shows at once, and in which colours.

FiftyOne (1.22) hides heatmaps until somebody ticks them. The user's own choice always stays: fields
are switched on when they are made, once, and a colour is set only where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

#: Magenta stood out best of the hues tried on grey wafers, thin films, copper and black-on-white boards;
#: the others are as far from it and from each other as can be, also without colour vision.
HEATMAP = "#ff00c8"
REGIONS = "#c77700"  # white letters can be read on it
RANK = "#ff6d04"
STRUCTURE = "#0096ff"
LABELS = "#00e58a"
SCOPE = "#e6c400"
#: Of a heatmap at full strength: the texture below it can still be judged.
OPACITY = 0.5


def colours(names: Names) -> dict[str, str]:
    """Field -> colour in the App."""
    return {
        names.label_field: LABELS,
        names.heatmap: HEATMAP,
        names.regions: REGIONS,
        names.structure: STRUCTURE,
        names.rank: RANK,
        names.scope: SCOPE,
    }


def set_colours(loop: Loop) -> None:
    """Give the fields of the loop their colours before they are there.

    The App (1.22) reads colours when it opens a dataset, so those that come later show after the
    next page load only.
    """
    _colour(loop, list(colours(loop.names)))
    loop.dataset.save()


def forget(dataset: Any, fields: Sequence[str], colours: Mapping[str, str]) -> None:
    """Take fields that are gone out of what is shown, and colours that were set here."""
    config = dataset.app_config
    if config.active_fields is not None:
        kept = [path for path in config.active_fields.paths or [] if path not in fields]
        config.active_fields = fo.ActiveFields(paths=kept) if kept else None
    scheme = config.color_scheme
    if scheme is not None and scheme.fields:
        scheme.fields = [
            entry
            for entry in scheme.fields
            if entry != _entry(entry.get("path", ""), colours.get(entry.get("path", ""), ""))
        ]
        if scheme == fo.ColorScheme(id=scheme.id, fields=[], opacity=OPACITY):
            config.color_scheme = None
    dataset.save()


def show(loop: Loop, *paths: str) -> None:
    """Switch on fields, in their colours."""
    config = loop.dataset.app_config
    before = list((config.active_fields.paths if config.active_fields else None) or [])
    there = [p for p in paths if p not in before and loop.dataset.get_field(p) is not None]
    config.active_fields = fo.ActiveFields(paths=before + there)
    _colour(loop, paths)
    loop.dataset.save()


def _colour(loop: Loop, paths: Sequence[str]) -> None:
    scheme = loop.dataset.app_config.color_scheme or fo.ColorScheme(opacity=OPACITY)
    entries = list(scheme.fields or [])
    coloured = {entry.get("path") for entry in entries}
    wanted = colours(loop.names)
    entries += [_entry(p, wanted[p]) for p in paths if p not in coloured and p in wanted]
    scheme.fields = entries
    loop.dataset.app_config.color_scheme = scheme


def _entry(path: str, colour: str) -> dict[str, Any]:
    return {"path": path, "fieldColor": colour}
