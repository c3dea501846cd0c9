"""What the overview of a loop consists of: frozen dataclasses of plain JSON data.

The panel, the notebook and the plots draw them; `unseen.loop.overview` makes them. Undefined numbers
(no test boxes, one image only) are None, never NaN.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from unseen.results import as_markdown


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Base of all: `to_dict()` gives plain JSON data."""

    def to_dict(self) -> dict[str, Any]:
        """The object as plain JSON data."""
        return dataclasses.asdict(self)

    def _repr_markdown_(self) -> str:
        """The object as a notebook shows it."""
        return as_markdown(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class Action(Plain):
    """Something that can be done now."""

    operator: str  #: name of a step, such as "train_unet"; or the full URI of a foreign operator
    params: dict[str, Any] = field(default_factory=dict)  #: to open its form with
    label: str  #: for a button: "Train the UNet"
    reason: str  #: one sentence: why now
    has_form: bool = True  #: whether there is something to choose before it runs


@dataclass(frozen=True, kw_only=True)
class Counts(Plain):
    """Images per state; `labelled + pool + out + excluded + test` is the dataset.

    What annotators removed is counted as excluded.
    """

    images: int = 0  #: in the dataset
    labelled: int = 0  #: outside the test split
    boxes: int = 0  #: of these images
    pool: int = 0  #: can be labelled next; a selected batch that is not sent yet is part of it
    unscored: int = 0  #: of the pool, not scored by the newest UNet
    test: int = 0
    test_unlabelled: int = 0  #: of the test split
    excluded: int = 0  #: left out, or removed by annotators
    out: int = 0  #: handed to annotators and not labelled yet
    initial: int = 0  #: initial images, labelled or not
    initial_unlabelled: int = 0


@dataclass(frozen=True, kw_only=True)
class Batch(Plain):
    """The newest batch, or the initial images before there is one."""

    name: str  #: tag and saved view; "initial" for the initial images
    number: int  #: the iteration that it makes
    images: int
    labelled: int  #: of these images; with labels in the database
    removed: int = 0  #: by annotators, or excluded since
    sent: int = 0  #: images that were handed to annotators
    backend: str | None = None  #: cvat, app, ...; None = not sent
    complete: bool = False  #: every image of it was sent
    closed: bool = False  #: every image came back, or was given up
    waiting_to_load: int | None = None  #: done and not loaded; None = the server was not asked
    strategy: str | None = None  #: how it was chosen
    url: str | None = None  #: of the first task that is still open
    age_days: float | None = None  #: since it was sent
    problem: str | None = None  #: why the server could not be asked

    @property
    def expected(self) -> int:
        """Images that are to be labelled: all but the removed ones."""
        return self.images - self.removed

    @property
    def missing(self) -> int:
        """Images that are still to be labelled."""
        return max(0, self.expected - self.labelled)


#: How a model stands to the labels: not trained, trained before labels came, or up to date.
NONE, OLD, CURRENT = STATES = ("none", "old", "current")


@dataclass(frozen=True, kw_only=True)
class Facts(Plain):
    """What the next action is decided from."""

    counts: Counts = field(default_factory=Counts)
    iteration: int = 0  #: the newest one that has labels
    is_split: bool = False  #: some image has the tag of the test split or of the initial images
    batch: Batch | None = None  #: the newest batch; before there is one, the initial images
    test_backend: str | None = None  #: where the test split was sent
    unet: str = NONE  #: one of STATES
    new_images: int = 0  #: labelled since the UNet was trained
    scores: str = NONE  #: one of STATES; "old" = by an earlier UNet, or under another zone
    has_new_zone: bool = False  #: this UNet scored, but what counts was changed since
    detector: str = NONE  #: one of STATES
    is_applied: bool = False  #: the newest detector predicted on the test split
    is_evaluated: bool = False  #: and was measured there

    @property
    def usable(self) -> int:
        """Images that are neither in the test split nor excluded."""
        return self.counts.images - self.counts.test - self.counts.excluded

    @property
    def has_open_batch(self) -> bool:
        """The newest batch has no labels at all."""
        return self.batch is not None and self.batch.number > self.iteration

    @property
    def is_batch_out(self) -> bool:
        """Annotators have images of the newest batch."""
        return self.batch is not None and self.batch.sent > 0 and not self.batch.closed

    @property
    def is_measurable(self) -> bool:
        """There is a test split with labels, and something to train a detector on."""
        return self.counts.test > self.counts.test_unlabelled and self.counts.boxes > 0


@dataclass(frozen=True, kw_only=True)
class Now(Plain):
    """Where the loop stands."""

    dataset: str
    iteration: int  #: the newest iteration that has labels
    counts: Counts
    batch: Batch | None
    next_action: Action
    other_actions: list[Action]
    empty_state: str | None = None  #: what to do first, where there is nothing to show
    hints: list[str] = field(default_factory=list)  #: what should be known besides
    series: list[str] = field(default_factory=list)  #: loops on this dataset with records
    asked_server: bool = False  #: `waiting_to_load` is from the server, not from the records


# --- ranking ---------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Interval(Plain):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Histogram(Plain):
    """Numbers of images per bin of the ranking metric.

    Bin i is [edges[i], edges[i + 1]); the last one holds everything from edges[-2] on, up to
    `maximum`, so that outliers do not squeeze the rest.
    """

    edges: list[float]  #: bins + 1, ascending
    pool: list[int]  #: per bin
    batch: list[int]  #: per bin
    maximum: float  #: the highest value of all
    is_open: bool  #: the last bin reaches further than its width


@dataclass(frozen=True, kw_only=True)
class BatchRow(Plain):
    """One image of the batch."""

    sample_id: str
    rank: int | None  #: 1 = label first
    filename: str
    value: float | None  #: of the metric, by the UNet that scored the image last
    regions: int | None  #: unseen regions
    is_labelled: bool
    annotation: str | None  #: sent, loaded, removed
    url: str | None  #: opens the image in the annotation tool
    chosen_by: str | None = None  #: the criterion, in a mixed batch; None = at random
    chosen_for: str = ""  #: the same for people: "unseen pixels", "high excess", "at random"


#: What can be said about a ranking, best first.
VERDICTS = ("good", "weak", "no better than random", "unknown")


@dataclass(frozen=True, kw_only=True)
class Trust(Plain):
    """How far a ranking can be trusted."""

    verdict: str  #: one of VERDICTS
    sentence: str  #: for a person, with the decisive figures
    figures: dict[str, Any] = field(default_factory=dict)  #: see docs/method.md
    details: list[str] = field(default_factory=list)  #: further sentences
    is_warning: bool = False  #: to be shown as a warning


@dataclass(frozen=True, kw_only=True)
class Novelty(Plain):
    """How much of the pool is as novel as what was labelled last."""

    share: float  #: of the pool, with at least the value `reference`
    reference: float  #: median of the metric over the last labelled ranked batch
    batch: str  #: its name


@dataclass(frozen=True, kw_only=True)
class ControlBatch(Plain):
    """The ranked and the random part of one batch; boxes are those of rare or new classes."""

    batch: str
    rare_classes: list[str]  #: by the labels from before the batch
    ranked_images: int
    ranked_boxes: int
    random_images: int
    random_boxes: int


@dataclass(frozen=True, kw_only=True)
class Control(Plain):
    """What ranking gained over random images, measured on the control group of the batches."""

    batches: list[ControlBatch]
    ranked_per_image: float  #: boxes of rare or new classes
    random_per_image: float
    gain: float  #: difference of the two
    interval: Interval | None  #: of the gain; None where it cannot be given
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ranking(Plain):
    """What the newest scores say about the pool, and what became of the batch."""

    dataset: str
    metric: str  #: name: excess, alpha, threshold, region_strength, entropy, foreground
    field: str  #: the sample field that holds it
    scored: int  #: unlabelled images of pool and batch with a value
    histogram: Histogram | None
    batch: Batch | None
    rows: list[BatchRow]  #: the batch in rank order
    chosen_how: str = ""  #: what the strategy of the batch chooses, for people
    trust: Trust
    novelty: Novelty | None = None
    control: Control | None = None  #: None without a random share in labelled batches
    empty_state: str | None = None


# --- when to stop ----------------------------------------------------------------------------------
#: What `stopping` recommends.
RECOMMENDATIONS = ("go on", "look at class", "stop", "measure first")


@dataclass(frozen=True, kw_only=True)
class Advice(Plain):
    """Whether to label on."""

    recommendation: str  #: one of RECOMMENDATIONS; "look at class" has `class_name`
    sentence: str  #: for a person
    class_name: str | None = None
    details: list[str] = field(default_factory=list)  #: the numbers behind it


def images_text(count: int) -> str:
    """A number of images for people: "1 image", "1,200 images"."""
    return f"{count:,} image{'' if count == 1 else 's'}"
