"""Every name that is stored in a FiftyOne dataset.

Names are API: renaming one needs a migration. `docs/guide.md` lists them for users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

#: `method` of the custom runs that hold the record of one iteration.
ITERATION_METHOD = "unseen/iteration"
#: Label of an unseen region.
REGION_LABEL = "unseen"
#: Label of a region that looks like what was pointed at.
SIMILAR_LABEL = "similar"
#: Label of a rectangle of the scope; people may give it any other.
SCOPE_LABEL = "labelled"
#: Class names that the loop gives a meaning of its own.
RESERVED_CLASSES = ("unseen", "background")
#: `method` of the custom runs that hold how an annotation run was sent, and labels before a load.
SENDING_METHOD = "unseen/sending"
SNAPSHOT_METHOD = "unseen/snapshot"
#: An image handed to the annotators, one whose labels came back, one that they removed.
SENT, LOADED, REMOVED = ANNOTATION_STATES = ("sent", "loaded", "removed")
#: The group in the App's sidebar that people look at; collapsed, what steps keep for themselves
#: and other loops, and all iterations but the newest.
SIDEBAR_GROUP = "unseen"
DETAILS_GROUP = "unseen (details)"
EARLIER_GROUP = "unseen (earlier)"
SIDEBAR_GROUPS = (SIDEBAR_GROUP, DETAILS_GROUP, EARLIER_GROUP)


def _joined(*parts: str) -> str:
    return "_".join(part for part in parts if part)


def _own(name: str, description: str) -> Any:
    """A name of one loop."""
    return property(lambda names: names.metric(name), doc=description)


def _shared(name: str, description: str) -> Any:
    """A name that all series share."""
    return property(lambda names: _joined(names.prefix, name), doc=description)


def _of_series(name: str, description: str) -> Any:
    """A name without the prefix, for people to read."""
    return property(lambda names: _joined(names.series, name), doc=description)


@dataclass(frozen=True)
class Names:
    """The names one loop uses, from the shared parameters of its steps.

    A second loop on the same dataset (a baseline, another strategy) has a `series`; all its names
    carry it, so that loops never touch each other.
    """

    label_field: str = "ground_truth"
    series: str = ""
    prefix: str = "unseen"
    test_tag: str = "test"
    initial_tag: str = "initial"
    excluded_tag: str = "excluded"

    # --- sample fields -------------------------------------------------------------------------
    heatmap = _own("heatmap", "Heatmap: the unseen score, scaled for display.")
    regions = _own("regions", "Detections: the unseen regions, strongest first.")
    alpha = _own("alpha", "Float: M_alpha.")
    threshold = _own("threshold", "Float: M_thresh.")
    excess = _own("excess", "Float: the excess metric.")
    entropy = _own("entropy", "Float: summed entropy of the UNet's output.")
    foreground = _own("foreground", "Float: predicted foreground area.")
    region_strength = _own("region_strength", "Float: regions by strength, none by its size.")
    expected_counts = _own("expected_counts", "Floats: expected examples per class, unseen last.")
    embedding = _own("embedding", "Vector: features pooled where the image is unseen.")
    model = _own("model", "String: digest of the checkpoint that scored the sample.")
    rank = _own("rank", "Integer: rank in its batch, 1 = label first.")
    chosen_by = _own("chosen_by", "String: the criterion that chose an image of a mixed batch.")
    annotation = _own("annotation", "String: state of its labelling, one of ANNOTATION_STATES.")
    annotation_url = _own("annotation_url", "String: link to the image in the annotation tool.")
    annotation_base = _own("annotation_base", "Dict: per annotation run, the server's boxes.")
    overlay = _own("overlay", "String: path of a copy of the image with the heatmap drawn in.")
    auto_labels = _own("auto_labels", "Detections: automatic labels of the rest of the pool.")
    similar = _own("similar", "Detections: regions that look like what was pointed at.")
    excluded_reason = _shared("excluded_reason", "String: why the sample is excluded.")
    structure = _shared("structure", "Polylines: known structure of the image.")

    @property
    def scope(self) -> str:
        """Detections: the rectangles that are labelled, of an image that is labelled in part.

        It belongs to the label field, whichever loop has filled it: another one may be complete.
        """
        return self._of_labels("scope")

    @property
    def labelled(self) -> str:
        """Dict: which step first saw the labels of the image, when, in which iteration, whose."""
        return self._of_labels("labelled")

    @property
    def sources(self) -> str:
        """Dict: label id -> who made it in CVAT, when, in which batch, from which suggestion."""
        return self._of_labels("sources")

    @property
    def working_time(self) -> str:
        """Dict: seconds that the image was open in the App to be labelled."""
        return self._of_labels("working_time")

    def _of_labels(self, name: str) -> str:
        return _joined(self.prefix, self.label_field.removeprefix(f"{self.prefix}_"), name)

    def metric(self, name: str) -> str:
        """The field of the image metric `name`: one of `METRICS`, entropy or foreground."""
        return _joined(self.prefix, self.series, name)

    # --- saved views, keys of runs -------------------------------------------------------------
    setup_key = _own("setup", "Custom run: how the dataset was split.")
    similarity_run = _own("similarity", "Brain key: similarity of images by features.")
    visualization_run = _own("visualization", "Brain key: the images as points in a plane.")
    structure_key = _shared("known_structure", "Custom run: what of the structure counts.")
    top_regions = _of_series("top_regions", "Saved view: the pool's strongest unseen regions.")
    similar_regions = _of_series("similar_regions", "Saved view: regions like those pointed at.")

    def own_anno_key(self, part: str) -> str:
        """Annotation run of a split: initial or test."""
        return self.metric(part)

    def sending_key(self, anno_key: str) -> str:
        """Custom run: how an annotation run was sent."""
        return f"{anno_key}_sending"

    def snapshot_key(self, number: int) -> str:
        """Custom run: the labels as they were before a load."""
        return self.metric(f"snapshot_{number:04d}")

    # --- per iteration -------------------------------------------------------------------------
    def batch(self, iteration: int) -> str:
        """Tag and saved view of the batch that makes iteration `iteration`."""
        return _joined(self.series, f"batch_{iteration:02d}")

    def predictions(self, iteration: int) -> str:
        """Detections: the detector's predictions."""
        return _joined(self.series, f"predictions_{iteration:02d}")

    def eval_key(self, iteration: int) -> str:
        """Evaluation of the iteration's detector."""
        return _joined(self.series, f"iter_{iteration:02d}")

    def run_key(self, iteration: int) -> str:
        """Custom run: the iteration's record."""
        return _joined(self.prefix, self.eval_key(iteration))

    def anno_key(self, iteration: int) -> str:
        """Annotation run of a batch."""
        return _joined(self.prefix, self.batch(iteration))

    def batch_number(self, tag: str) -> int | None:
        """The iteration of a batch tag of this series, or None for any other tag."""
        return self._number("batch", tag)

    def eval_number(self, key: str) -> int | None:
        """The iteration of an evaluation key of this series, or None for any other key."""
        return self._number("iter", key)

    def _number(self, name: str, text: str) -> int | None:
        match = re.fullmatch(rf"{re.escape(_joined(self.series, name))}_(\d{{2,}})", text)
        return int(match[1]) if match else None
