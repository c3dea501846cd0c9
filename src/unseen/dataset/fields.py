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
#: The group in the App's sidebar, and a collapsed one for all iterations but the newest.
SIDEBAR_GROUP = "unseen"
EARLIER_GROUP = "unseen (earlier)"


def _field(name: str, description: str) -> Any:
    """A stored name that carries the loop's prefix and series."""
    return property(lambda names: names._own(name), doc=description)


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

    def _own(self, name: str) -> str:
        return "_".join(part for part in (self.prefix, self.series, name) if part)

    def _of_series(self, name: str) -> str:
        return f"{self.series}_{name}" if self.series else name

    # --- sample fields -------------------------------------------------------------------------
    heatmap = _field("heatmap", "Heatmap: the unseen score, scaled for display.")
    regions = _field("regions", "Detections: the unseen regions, strongest first.")
    alpha = _field("alpha", "Float: M_alpha.")
    threshold = _field("threshold", "Float: M_thresh.")
    excess = _field("excess", "Float: the excess metric.")
    entropy = _field("entropy", "Float: summed entropy of the UNet's output.")
    foreground = _field("foreground", "Float: predicted foreground area.")
    region_strength = _field("region_strength", "Float: regions by strength, none by its size.")
    expected_counts = _field("expected_counts", "Floats: expected examples per class, unseen last.")
    embedding = _field("embedding", "Vector: features pooled where the image is unseen.")
    model = _field("model", "String: digest of the checkpoint that scored the sample.")
    rank = _field("rank", "Integer: rank in its batch, 1 = label first.")
    chosen_by = _field("chosen_by", "String: the criterion that chose an image of a mixed batch.")
    annotation = _field("annotation", "String: state of its labelling, one of ANNOTATION_STATES.")
    annotation_url = _field("annotation_url", "String: link to the image in the annotation tool.")
    annotation_base = _field("annotation_base", "Dict: per annotation run, the server's boxes.")
    overlay = _field("overlay", "String: path of a copy of the image with the heatmap drawn in.")
    auto_labels = _field("auto_labels", "Detections: automatic labels of the rest of the pool.")
    similar = _field("similar", "Detections: regions that look like what was pointed at.")

    @property
    def excluded_reason(self) -> str:
        """String: why the sample is excluded. Shared by all series, like the tag."""
        return f"{self.prefix}_excluded_reason"

    @property
    def structure(self) -> str:
        """Polylines: known structure of the image. Shared by all series: it is of the image."""
        return f"{self.prefix}_structure"

    @property
    def scope(self) -> str:
        """Detections: the rectangles that are labelled, of an image that is labelled in part.

        It belongs to the label field, whichever loop has filled it: another one may be complete.
        """
        own = f"{self.prefix}_"
        return f"{own}{self.label_field.removeprefix(own)}_scope"

    def metric(self, name: str) -> str:
        """The field of the image metric `name`: one of `METRICS`, entropy or foreground."""
        return self._own(name)

    # --- saved views, keys of runs -------------------------------------------------------------
    setup_key = _field("setup", "Custom run: how the dataset was split.")
    similarity_run = _field("similarity", "Brain key: similarity of images by features.")
    visualization_run = _field("visualization", "Brain key: the images as points in a plane.")

    @property
    def structure_key(self) -> str:
        """Custom run: where the structure comes from and what counts. Shared by all series."""
        return f"{self.prefix}_known_structure"

    @property
    def top_regions(self) -> str:
        """Saved view: patches of the strongest unseen regions of the pool, in rank order."""
        return self._of_series("top_regions")

    @property
    def similar_regions(self) -> str:
        """Saved view: patches of regions that look like what was pointed at, in rank order."""
        return self._of_series("similar_regions")

    def own_anno_key(self, part: str) -> str:
        """Annotation run of a split: initial or test."""
        return self._own(part)

    def sending_key(self, anno_key: str) -> str:
        """Custom run: how an annotation run was sent."""
        return f"{anno_key}_sending"

    def snapshot_key(self, number: int) -> str:
        """Custom run: the labels as they were before a load."""
        return self._own(f"snapshot_{number:04d}")

    # --- per iteration -------------------------------------------------------------------------
    def batch(self, iteration: int) -> str:
        """Tag and saved view of the batch that makes iteration `iteration`."""
        return self._of_series(f"batch_{iteration:02d}")

    def predictions(self, iteration: int) -> str:
        """Detections: the detector's predictions."""
        return self._of_series(f"predictions_{iteration:02d}")

    def eval_key(self, iteration: int) -> str:
        """Evaluation of the iteration's detector."""
        return self._of_series(f"iter_{iteration:02d}")

    def run_key(self, iteration: int) -> str:
        """Custom run: the iteration's record."""
        return f"{self.prefix}_{self.eval_key(iteration)}"

    def anno_key(self, iteration: int) -> str:
        """Annotation run of a batch."""
        return f"{self.prefix}_{self.batch(iteration)}"

    def batch_number(self, tag: str) -> int | None:
        """The iteration of a batch tag of this series, or None for any other tag."""
        return self._number("batch", tag)

    def eval_number(self, key: str) -> int | None:
        """The iteration of an evaluation key of this series, or None for any other key."""
        return self._number("iter", key)

    def _number(self, name: str, text: str) -> int | None:
        series = re.escape(f"{self.series}_") if self.series else ""
        match = re.fullmatch(rf"{series}{name}_(\d{{2,}})", text)
        return int(match[1]) if match else None
