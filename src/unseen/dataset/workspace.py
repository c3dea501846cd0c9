"""The workspace: samples on the left, the panel and FiftyOne's Model Evaluation on the right."""

from __future__ import annotations

from typing import Any

import fiftyone as fo

from unseen.dataset.reading import dataset_of

#: Name of the saved workspace, as the App lists it.
WORKSPACE = "Curation"
#: Name of this package's panel, as the plugin registers it.
PANEL = "curation"
_EVALUATION = "model_evaluation_panel_builtin"


def save_workspace(collection: Any) -> str:
    """Save the workspace with the dataset, unless the user has one of that name.

    Returns:
        The name of the workspace.
    """
    dataset = dataset_of(collection)
    if not dataset.has_workspace(WORKSPACE):
        text = "Samples left; where the loop stands and how good the detector is on the right"
        dataset.save_workspace(WORKSPACE, spaces(), description=text)
    return WORKSPACE


def spaces() -> fo.Space:
    """The layout; the panel, in front on the right, has the larger share for its tables."""
    samples = fo.Panel(type="Samples", pinned=True)
    curation = fo.Panel(type=PANEL)
    evaluation = fo.Panel(type=_EVALUATION)
    return fo.Space(
        orientation="horizontal",
        sizes=[0.4, 0.6],
        children=[
            # 1.22: without an active child the panel stays blank.
            fo.Space(children=[samples], active_child=samples.component_id),
            fo.Space(children=[curation, evaluation], active_child=curation.component_id),
        ],
    )
