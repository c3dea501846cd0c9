"""Every name that is stored in a FiftyOne dataset.

Names are API: renaming one needs a migration. `docs/guide.md` lists them for users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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

    def _field(self, name: str) -> str:
        return "_".join(part for part in (self.prefix, self.series, name) if part)

    def _numbered(self, name: str, iteration: int) -> str:
        series = f"{self.series}_" if self.series else ""
        return f"{series}{name}_{iteration:02d}"

    # --- sample fields -------------------------------------------------------------------------
    @property
    def heatmap(self) -> str:
        """Heatmap: the unseen score, scaled for display."""
        return self._field("heatmap")

    @property
    def regions(self) -> str:
        """Detections: the unseen regions, strongest first."""
        return self._field("regions")

    @property
    def alpha(self) -> str:
        """Float: M_alpha."""
        return self._field("alpha")

    @property
    def threshold(self) -> str:
        """Float: M_thresh."""
        return self._field("threshold")

    @property
    def excess(self) -> str:
        """Float: the excess metric."""
        return self._field("excess")

    @property
    def entropy(self) -> str:
        """Float: summed entropy of the UNet's output."""
        return self._field("entropy")

    @property
    def foreground(self) -> str:
        """Float: predicted foreground area."""
        return self._field("foreground")

    @property
    def region_strength(self) -> str:
        """Float: the unseen regions, each by its strength and none by its size."""
        return self._field("region_strength")

    @property
    def expected_counts(self) -> str:
        """List of floats: expected examples per class, `unseen` last."""
        return self._field("expected_counts")

    @property
    def embedding(self) -> str:
        """Vector: features pooled where the image is unseen."""
        return self._field("embedding")

    @property
    def model(self) -> str:
        """String: digest of the checkpoint that scored the sample."""
        return self._field("model")

    @property
    def rank(self) -> str:
        """Integer: rank in its batch, 1 = most novel."""
        return self._field("rank")

    @property
    def chosen_by(self) -> str:
        """String: what chose an image of a mixed batch, one of `unseen.ranking.mixed.CRITERIA`."""
        return self._field("chosen_by")

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

    # --- annotation ----------------------------------------------------------------------------
    @property
    def annotation(self) -> str:
        """String: where the image is on its way through labelling, one of ANNOTATION_STATES."""
        return self._field("annotation")

    @property
    def annotation_url(self) -> str:
        """String: link that opens the image in the annotation tool."""
        return self._field("annotation_url")

    @property
    def annotation_base(self) -> str:
        """Dict: per annotation run, the boxes as the server held them when last looked at."""
        return self._field("annotation_base")

    @property
    def overlay(self) -> str:
        """String: path of a copy of the image with the heatmap drawn over it."""
        return self._field("overlay")

    def metric(self, name: str) -> str:
        """The field of the image metric `name`: one of `METRICS`, entropy or foreground."""
        return self._field(name)

    @property
    def auto_labels(self) -> str:
        """Detections: automatic labels of the rest of the pool; never part of the labels."""
        return self._field("auto_labels")

    # --- per iteration -------------------------------------------------------------------------
    def batch(self, iteration: int) -> str:
        """Tag and saved view of the batch that makes iteration `iteration`."""
        return self._numbered("batch", iteration)

    @property
    def top_regions(self) -> str:
        """Saved view: patches of the strongest unseen regions of the pool, in rank order."""
        return f"{self.series}_top_regions" if self.series else "top_regions"

    @property
    def similar(self) -> str:
        """Detections: regions that look like what was pointed at."""
        return self._field("similar")

    @property
    def similar_regions(self) -> str:
        """Saved view: patches of these regions, in rank order."""
        return f"{self.series}_similar_regions" if self.series else "similar_regions"

    def predictions(self, iteration: int) -> str:
        """Field with the detector's predictions."""
        return self._numbered("predictions", iteration)

    def eval_key(self, iteration: int) -> str:
        """Evaluation key."""
        return self._numbered("iter", iteration)

    def run_key(self, iteration: int) -> str:
        """Key of the custom run that holds the iteration's record."""
        return f"{self.prefix}_{self._numbered('iter', iteration)}"

    def anno_key(self, iteration: int) -> str:
        """Key of the annotation run of a batch."""
        return f"{self.prefix}_{self.batch(iteration)}"

    def own_anno_key(self, part: str) -> str:
        """Key of the annotation run of a split: initial or test."""
        return self._field(part)

    def sending_key(self, anno_key: str) -> str:
        """Key of the custom run that holds how an annotation run was sent."""
        return f"{anno_key}_sending"

    def snapshot_key(self, number: int) -> str:
        """Key of the custom run that holds the labels as they were before a load."""
        return self._field(f"snapshot_{number:04d}")

    @property
    def setup_key(self) -> str:
        """Key of the custom run that holds how the dataset was split."""
        return self._field("setup")

    @property
    def similarity_run(self) -> str:
        """Brain key: the similarity of images by pretrained features."""
        return self._field("similarity")

    @property
    def visualization_run(self) -> str:
        """Brain key: the images as points in a plane, by pretrained features."""
        return self._field("visualization")

    @property
    def structure_key(self) -> str:
        """Key of the custom run that holds where the structure comes from and what counts."""
        return f"{self.prefix}_known_structure"

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
