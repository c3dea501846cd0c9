"""What the App shows: the fields that are switched on, their colours, and the workspace.

FiftyOne (1.22) hides heatmaps until somebody ticks them. The user's own choice always stays: a
field is switched on once, when it is made, and gets a colour only if it has none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

from unseen.dataset.loop import Loop

#: By stored name. Magenta stood out best of the hues tried on grey wafers, thin films, copper and
#: black-on-white boards; the lime of regions is far from all of these and from each of them below a
#: heatmap (least distance in Oklab .20; white .02, the former brown .03), and the others are as far
#: from it and from each other as can be, also without colour vision. Rank and criterion are chips
#: with white letters in the App's dark theme and black ones in its light one: readable on both.
COLOURS = {
    "label_field": "#00e58a",
    "heatmap": "#ff00c8",
    "regions": "#c8ff00",
    "structure": "#0096ff",
    "rank": "#c25303",
    "chosen_by": "#737390",
    "scope": "#e6c400",
}
#: What earlier versions set, which is no choice of the user.
_FORMER = {"regions": "#c77700", "rank": "#ff6d04"}
#: Of a detector's boxes and similar ones, whichever iteration they are of.
PREDICTIONS = "#5ce1ff"
#: Of a heatmap at full strength: the texture below it can still be judged.
OPACITY = 0.5
#: Three columns beside the panel, in which a small defect is still visible and a click opens the
#: image; FiftyOne's own zoom gives thumbnails of 58 px there, as large as their check box.
ZOOM, _FIFTYONE_ZOOM = 9, 7

#: Name of the saved workspace, as the App lists it.
WORKSPACE = "Curation"
#: Name of this package's panel, as the plugin registers it.
PANEL = "curation"


def set_colours(loop: Loop, *predictions: str) -> None:
    """Colour the fields of the loop, also before they exist, and fields of a detector's boxes."""
    _colour(loop, predictions)
    loop.dataset.save()


def look(dataset: Any) -> dict[str, Any]:
    """What the database says about the look of a dataset now, whoever changed it last.

    `fields` are switched on, `colours` and `opacity` are those of labels, `groups` those of the
    sidebar, and `layout` changes with these, the fields and the saved views.
    """
    wanted = ("app_config", "saved_views", "sample_fields.name")
    query = {"_id": None if dataset is None else dataset._doc.id}
    known = foo.get_db_conn().datasets.find_one(query, dict.fromkeys(wanted, 1)) or {}
    config = known.get("app_config") or {}
    scheme = config.get("color_scheme") or {}
    return {
        "fields": list((config.get("active_fields") or {}).get("paths") or []),
        "colours": [dict(entry) for entry in scheme.get("fields") or []],
        "opacity": scheme.get("opacity"),
        "groups": [
            {key: group.get(key) for key in ("name", "paths", "expanded")}
            for group in config.get("sidebar_groups") or []
        ],
        "layout": hashlib.sha256(str(sorted(known.items())).encode()).hexdigest(),
    }


def show(loop: Loop, *paths: str) -> None:
    """Switch on fields, in their colours, before they are made: a killed step tries both again."""
    config = loop.dataset.app_config
    before = list((config.active_fields.paths if config.active_fields else None) or [])
    own = [p for p in paths if p != loop.names.label_field or loop.has_labels]
    new = [p for p in own if p not in before]
    config.active_fields = fo.ActiveFields(paths=before + new)
    _colour(loop)
    loop.dataset.save()


def forget(loop: Loop, fields: Sequence[str]) -> None:
    """Take deleted fields out of what is shown, and the colours that were set here."""
    config = loop.dataset.app_config
    if config.active_fields is not None:
        kept = [path for path in config.active_fields.paths or [] if path not in fields]
        config.active_fields = fo.ActiveFields(paths=kept) if kept else None
    scheme = config.color_scheme
    if scheme is not None and scheme.fields:
        predictions = [{"path": path, "fieldColor": PREDICTIONS} for path in fields]
        ours = [*_entries(loop), *_entries(loop, _FORMER), *predictions]
        scheme.fields = [entry for entry in scheme.fields if entry not in ours]
        if scheme == fo.ColorScheme(id=scheme.id, fields=[], opacity=OPACITY):
            config.color_scheme = None
    loop.dataset.save()


def enlarge_thumbnails(config: Any) -> None:
    """Make the thumbnails of an App config three a row, unless somebody chose another zoom."""
    if config.grid_zoom == _FIFTYONE_ZOOM and "FIFTYONE_APP_GRID_ZOOM" not in os.environ:
        config.grid_zoom = ZOOM


def save_workspace(collection: Any) -> str:
    """Save the workspace with the dataset unless it has one of that name; returns the name.

    Samples are on the left, the panel and FiftyOne's Model Evaluation on the right.
    """
    dataset = collection._dataset
    if not dataset.has_workspace(WORKSPACE):
        text = "Samples left; where the loop stands and how good the detector is on the right"
        dataset.save_workspace(WORKSPACE, _spaces(), description=text)
    return WORKSPACE


def _spaces() -> fo.Space:
    samples = fo.Panel(type="Samples", pinned=True)
    curation = fo.Panel(type=PANEL)
    evaluation = fo.Panel(type="model_evaluation_panel_builtin")
    return fo.Space(
        orientation="horizontal",
        sizes=[0.4, 0.6],  # the panel needs more room for its tables
        children=[
            # 1.22: without an active child the panel stays blank.
            fo.Space(children=[samples], active_child=samples.component_id),
            fo.Space(children=[curation, evaluation], active_child=curation.component_id),
        ],
    )


def _colour(loop: Loop, predictions: Sequence[str] = ()) -> None:
    scheme = loop.dataset.app_config.color_scheme or fo.ColorScheme(opacity=OPACITY)
    former = _entries(loop, _FORMER)
    entries = [entry for entry in scheme.fields or [] if entry not in former]
    coloured = {entry.get("path") for entry in entries}
    wanted = [*_entries(loop), *({"path": p, "fieldColor": PREDICTIONS} for p in predictions)]
    for entry in wanted:
        if entry["path"] not in coloured:
            coloured.add(entry["path"])
            entries.append(entry)
    scheme.fields = entries
    loop.dataset.app_config.color_scheme = scheme


def _entries(loop: Loop, colours: Mapping[str, str] = COLOURS) -> list[dict[str, str]]:
    """The colours of the loop's fields as FiftyOne stores them."""
    return [{"path": getattr(loop.names, k), "fieldColor": c} for k, c in colours.items()]
