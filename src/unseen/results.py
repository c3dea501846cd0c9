"""What each step returns: frozen dataclasses of plain JSON data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

#: Detectors as people call them.
DETECTOR_NAMES = {"faster_rcnn": "Faster R-CNN", "centernet": "CenterNet"}


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Base of all results."""

    dataset: str  #: name of the dataset
    seconds: float = 0.0  #: wall time of the step

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON data."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """What happened, in one or two sentences for a person."""
        return ""

    def __str__(self) -> str:
        return self.summary()

    def __init_subclass__(cls) -> None:
        # @dataclass gives every subclass a repr with all fields unless the class has its own.
        if "__repr__" not in vars(cls):
            cls.__repr__ = StepResult.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        from unseen.notebook.results import result_text

        return result_text(self)

    def _repr_html_(self) -> str:
        """The result as a notebook shows it."""
        from unseen.notebook.results import result_html

        return result_html(self)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """One sample that a step left out, and why."""

    sample_id: str
    filepath: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ScreenResult(StepResult):
    """Result of `screen_images`."""

    checked: int
    excluded: dict[str, int]  #: images per reason: unreadable, blank, partial
    skipped: list[Skipped] = dataclasses.field(
        default_factory=list
    )  #: the excluded images, each with why
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        n = sum(self.excluded.values())
        if not n:
            return f"{self.checked} images checked, none excluded."
        parts = ", ".join(f"{count} {reason}" for reason, count in self.excluded.items() if count)
        would = "would be " if self.dry_run else ""
        return f"{self.checked} images checked, {n} {would}excluded: {parts}. Nothing was deleted."


@dataclass(frozen=True, kw_only=True)
class SplitResult(StepResult):
    """Result of `split_dataset`."""

    test: int
    initial: int
    pool: int  #: what is neither test, initial nor excluded
    excluded: int
    test_was_fixed: bool  #: the test split existed and was left as it is
    test_unlabelled: int = 0  #: of the test split
    initial_unlabelled: int = 0  #: of the initial images
    chosen_by: str = ""  #: how the initial images were chosen, and with which features
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        kept = " (as it was)" if self.test_was_fixed else ""
        dry = "Nothing was written. " if self.dry_run else ""
        return (
            f"{dry}Test split: {self.test} images{kept}. Initial: {self.initial} images, "
            f"{self.chosen_by}. Left for the pool: {self.pool}."
        )


@dataclass(frozen=True, kw_only=True)
class StructureResult(StepResult):
    """Result of `mark_structure`."""

    structure: str  #: where it came from; "none" = removed
    images: int  #: of the view
    marked: int  #: images that have the structure now
    changed: int  #: of them, and of those that lost it: another structure than before
    zone: str  #: what counts in the ranking
    margin: float = 0.0  #: px
    weight: float = 0.0  #: of what does not count
    pitch: list[float] = dataclasses.field(default_factory=list)  #: of a grid, x and y, px
    street: list[float] = dataclasses.field(default_factory=list)  #: of a grid, x and y, px
    strength: list[float] = dataclasses.field(
        default_factory=list
    )  #: autocorrelation of a found grid along x and y, in [-1, 1]
    median_fit: float | None = None  #: correlation of the images with the found grid
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    dry_run: bool = False  #: nothing was written; `changed` is 0 then

    def summary(self) -> str:
        if self.structure == "none" and self.dry_run:
            return f"The structure of {self.images} images would be removed."
        if self.structure == "none":
            return f"Structure removed from {self.changed} images; everything counts in full."
        have = "would have" if self.dry_run else "have"
        text = f"{self.marked} of {self.images} images {have} the structure ({self.structure})."
        if self.pitch:
            text += f" Pitch {_xy(self.pitch)} px, street {_xy(self.street)} px."
        if self.median_fit is not None:
            text += f" Median fit {self.median_fit:.2f}."
        unmarked = self.images - self.marked - len(self.skipped)
        if unmarked:
            text += f" {unmarked} images have none; they count in full."
        if self.skipped:
            text += f" {len(self.skipped)} could not be read."
        return f"{text} {self._what_counts()}"

    def _what_counts(self) -> str:
        near = f", without what is nearer than {self.margin:g} px to a line" if self.margin else ""
        if self.zone == "everywhere" and not self.margin:
            return "It is shown only: everything counts in the ranking."
        rest = f"; the rest counts {self.weight:g}" if self.weight else ""
        where = "everywhere" if self.zone == "everywhere" else f"only {self.zone}"
        return f"The ranking counts {where}{near}{rest}. Score the pool again to apply it."


def _xy(pair: list[float]) -> str:
    return " x ".join(f"{v:.2f}".rstrip("0").rstrip(".") for v in pair)


@dataclass(frozen=True, kw_only=True)
class PrepareResult(StepResult):
    """Result of `prepare_dataset`."""

    label_field: str
    classes: list[str]  #: that annotators will choose from; empty = none known yet
    images: int
    excluded: int  #: images left out
    test: int
    test_unlabelled: int  #: of the test split
    initial: int
    initial_unlabelled: int  #: of the initial images
    pool: int
    structure: str
    chosen_by: str = ""  #: how the initial images were chosen, and with which features
    notes: list[str] = dataclasses.field(default_factory=list)  #: what should be known besides
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        classes = ", ".join(self.classes) or "none known yet"
        state = "would be ready" if self.dry_run else "is ready"
        text = (
            f"{self.dataset} {state}: {self.test} test images ({self.test_unlabelled} without "
            f"labels), {self.initial} initial images ({self.initial_unlabelled} without labels), "
            f"{self.pool} in the pool, {self.excluded} excluded. Labels in {self.label_field!r}; "
            f"classes: {classes}. Initial images: {self.chosen_by}."
        )
        return " ".join([text, *self.notes])


def _partly(images: int) -> str:
    """A sentence on images that are labelled in part, where there are any."""
    return f" {images} of the images are labelled in part." if images else ""


@dataclass(frozen=True, kw_only=True)
class TrainUnetResult(StepResult):
    """Result of `train_unet`."""

    iteration: int
    checkpoint: str
    digest: str
    mode: str
    images: int
    boxes: int
    classes: list[str]
    class_counts: dict[str, int]
    working_scale: float
    steps: int
    final_loss: float
    device: str
    box_problems: dict[str, int] = dataclasses.field(
        default_factory=dict
    )  #: clipped, empty, not finite
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    partly_labelled: int = 0  #: images of which only a part is labelled

    def summary(self) -> str:
        skipped = f" {len(self.skipped)} unreadable images skipped." if self.skipped else ""
        problems = "".join(f" {n} boxes {what}." for what, n in self.box_problems.items() if n)
        return (
            f"UNet of iteration {self.iteration} trained on {self.images} images with "
            f"{self.boxes} boxes ({', '.join(self.classes)}) in {self.seconds:.0f} s."
            f"{_partly(self.partly_labelled)}{skipped}{problems}"
        )


@dataclass(frozen=True, kw_only=True)
class ScoreResult(StepResult):
    """Result of `score_samples`."""

    iteration: int
    scored: int
    already_scored: int
    thresholds: dict[str, float]  #: metric threshold, region threshold, heatmap full scale
    mean_score: float
    regions: int
    checkpoint: str
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    alpha: float | None = None  #: exponent of the alpha metric
    imbalance: float | None = None  #: of the labelled classes, where alpha goes by it

    def summary(self) -> str:
        done = f" {self.already_scored} had been scored before." if self.already_scored else ""
        bad = f" {len(self.skipped)} could not be read." if self.skipped else ""
        return (
            f"{self.scored} images scored in {self.seconds:.0f} s; "
            f"{self.regions} unseen regions.{done}{bad}{self._exponent()}"
        )

    def _exponent(self) -> str:
        if self.imbalance is None:
            return ""
        return f" Alpha {self.alpha:.2f}, by an imbalance of {self.imbalance:.2f}."


@dataclass(frozen=True, kw_only=True)
class SelectResult(StepResult):
    """Result of `select_batch`."""

    iteration: int  #: the iteration that this batch makes once it is labelled
    batch: str  #: tag and saved view
    strategy: str
    sample_ids: list[str]
    pool: int
    unscored: int = 0
    criteria: dict[str, int] = dataclasses.field(
        default_factory=dict
    )  #: images per criterion of the strategy mixed: pixel, novelty, coverage, new_class
    trust: str = ""  #: of the strategy mixed: what was rehearsed, and how the batch is divided
    features: str = ""  #: of the strategy mixed: where the pretrained features come from

    def summary(self) -> str:
        missing = f" {self.unscored} pool images have no score yet." if self.unscored else ""
        what = {
            "pixel": "unseen pixels",
            "novelty": "images unlike any other",
            "coverage": "kinds of images not labelled yet",
            "new_class": "a class that was just found",
        }
        parts = ", ".join(f"{n} for {what.get(c, c)}" for c, n in self.criteria.items())
        return (
            f"{len(self.sample_ids)} of {self.pool} pool images selected ({self.strategy}) as "
            f"{self.batch}{': ' + parts if parts else ''}.{missing}"
            + "".join(f" {sentence}" for sentence in (self.trust, self.features) if sentence)
        )


@dataclass(frozen=True, kw_only=True)
class RankRegionsResult(StepResult):
    """Result of `rank_regions`."""

    iteration: int
    view: str  #: saved view of the patches, in rank order
    regions: int  #: that have a rank now
    asked_for: int
    images: int  #: that they are in
    sample_ids: list[str]  #: of the image of each region, in rank order
    scores: list[float]  #: of the regions, in rank order
    pool: int
    unscored: int = 0

    def summary(self) -> str:
        fewer = f" ({self.asked_for} were asked for)" if self.regions < self.asked_for else ""
        missing = f" {self.unscored} pool images have no score yet." if self.unscored else ""
        span = f"{self.scores[0]:.2f} to {self.scores[-1]:.2f}" if self.scores else "none"
        return (
            f"{self.regions} unseen regions{fewer} in {self.images} of {self.pool} pool images "
            f"ranked as {self.view}, scores {span}.{missing}"
        )


@dataclass(frozen=True, kw_only=True)
class MoreLikeThisResult(StepResult):
    """Result of `more_like_this`."""

    iteration: int
    view: str  #: saved view of the patches, in rank order
    regions: int  #: that were found
    asked_for: int
    images: int  #: that they are in
    sample_ids: list[str]  #: of the image of each region, in rank order
    scores: list[float]  #: (0, 1), .5 = as like as the examples are on average, in rank order
    pool: int
    backbone: str  #: which features decided, and why these
    skipped: list[Skipped] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        fewer = (
            f" (at most {self.asked_for} were asked for)" if self.regions < self.asked_for else ""
        )
        unread = f" {len(self.skipped)} images cannot be read." if self.skipped else ""
        return (
            f"{self.regions} regions{fewer} in {self.images} of {self.pool} pool images look like what "
            f"you want, ranked as {self.view}, by {self.backbone.split(':')[0]}.{unread}"
        )


@dataclass(frozen=True, kw_only=True)
class RequestResult(StepResult):
    """Result of `request_annotations`."""

    anno_key: str
    backend: str
    images: int  #: that annotators have now, of this batch
    sent: int  #: of these, sent by this run
    dry_run: bool
    complete: bool  #: nothing is left to send
    tasks: list[dict[str, Any]] = dataclasses.field(default_factory=list)  #: name, url, images
    classes: list[str] = dataclasses.field(default_factory=list)
    suggestions: int = 0  #: boxes sent by this run
    predictions: int = 0
    labels: int = 0
    overlays: int = 0  #: images with something drawn in
    in_part: int = 0  #: images of which only the unseen regions are asked for
    notes: list[str] = dataclasses.field(default_factory=list)  #: what the user should know

    def summary(self) -> str:
        boxes = ", ".join(
            f"{n} {what}"
            for n, what in (
                (self.suggestions, "suggestions"),
                (self.predictions, "predictions"),
                (self.labels, "labels"),
            )
            if n
        )
        verb = "would be sent" if self.dry_run else "sent"
        parts = [f"{self.sent} images {verb} to {self.backend} as {self.anno_key}"]
        parts[0] += f" with {boxes}." if boxes else "."
        if self.in_part:
            parts[0] += f" Of {self.in_part} of them the unseen regions alone are asked for."
        if not self.sent and not self.dry_run:
            parts = [
                f"All {self.images} images of {self.anno_key} are with the annotators already."
            ]
        parts += [f"{t['name']}: {t['images']} images, {t['url']}" for t in self.tasks]
        return "\n".join([*parts, *self.notes])


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One job of a CVAT task."""

    job_id: int
    url: str
    assignee: str | None
    stage: str
    state: str
    images: int
    finished: bool  #: the wanted stage is completed
    waiting: bool  #: finished, or changed since it was loaded, and not loaded yet
    updated_at: str | None
    loaded_at: str | None


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """One task that was sent."""

    task_id: int
    name: str
    url: str
    assignee: str | None
    images: int
    sent_at: str
    gone: bool
    jobs: list[JobStatus] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SendingStatus:
    """One batch that was handed to annotators."""

    anno_key: str
    backend: str
    url: str | None
    iteration: int
    sent_at: str
    age_days: float
    images: int
    images_finished: int  #: in finished jobs
    images_loaded: int
    complete: bool  #: every image of the batch was sent
    closed: bool
    waiting: bool  #: something can be loaded
    tasks: list[TaskStatus] = dataclasses.field(default_factory=list)
    problem: str | None = None  #: why the server could not be asked


@dataclass(frozen=True, kw_only=True)
class ListAnnotationsResult(StepResult):
    """Result of `list_annotations`."""

    batches: list[SendingStatus]

    def summary(self) -> str:
        if not self.batches:
            return "Nothing was handed to annotators yet; run request_annotations."
        lines = []
        for b in self.batches:
            state = (
                "closed" if b.closed else "labels are waiting to be loaded" if b.waiting else "out"
            )
            sent = "" if b.complete else ", NOT ALL SENT (run request_annotations again)"
            lines.append(
                f"{b.anno_key} ({b.backend}, {b.age_days:.1f} days): {b.images_finished} of "
                f"{b.images} images done, {b.images_loaded} loaded, {state}{sent}"
            )
            if b.problem:
                lines.append(f"  {b.problem}")
            for task in b.tasks:
                gone = " - deleted on the server" if task.gone else ""
                lines.append(f"  {task.name}: {task.images} images, {task.url}{gone}")
                for job in task.jobs:
                    mark = " - waiting to be loaded" if job.waiting else ""
                    lines.append(
                        f"    job {job.job_id}: {job.images} images, {job.stage} {job.state}, "
                        f"{job.assignee or 'nobody'}, {job.url}{mark}"
                    )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class LoadResult(StepResult):
    """Result of `load_annotations`."""

    dry_run: bool
    anno_keys: list[str]
    jobs_loaded: int
    jobs_waiting: int  #: not finished yet, and left alone
    labelled: int  #: images with boxes
    empty: int  #: images that somebody looked at and that hold nothing: labelled negatives
    unopened: int  #: images whose job is not finished: still unlabelled
    removed: int  #: images that annotators removed from their job
    written: int  #: images whose labels changed
    added: dict[str, int]
    changed: dict[str, int]
    deleted: dict[str, int]
    suggestions_accepted: dict[str, int]
    suggestions_left: int
    suggestions_rejected: int
    predictions_kept: dict[str, int]
    predictions_changed: dict[str, int]
    predictions_deleted: dict[str, int]
    kept_local: int  #: edits made in FiftyOne meanwhile that stay
    conflicts: int  #: boxes that both sides changed
    new_classes: dict[str, int]  #: boxes per class that was not sent: refused or added
    refused: int  #: images left alone because of such a class
    oddities: dict[str, int]  #: what was converted, clipped or dropped
    examples: list[str]  #: links to some of the oddities and refused images
    gone: list[str]  #: tasks that no longer exist on the server
    snapshots: list[str]  #: to be restored by undo_annotations
    closed: list[str]  #: annotation runs that are complete now
    notes: list[str] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        would = "would be " if self.dry_run else ""
        lines = [
            f"{self.jobs_loaded} jobs {would}loaded, {self.jobs_waiting} not finished yet. "
            f"{self.labelled} images with boxes, {self.empty} looked at and empty, "
            f"{self.unopened} not labelled yet."
        ]
        for what, counts in (
            ("Added", self.added),
            ("Changed", self.changed),
            ("Deleted", self.deleted),
            ("Suggestions that became labels", self.suggestions_accepted),
        ):
            if counts:
                lines.append(f"{what}: " + ", ".join(f"{k} {v}" for k, v in counts.items()) + ".")
        if self.removed:
            lines.append(f"{self.removed} images were removed by annotators.")
        if self.refused:
            names = ", ".join(f"{k} ({v})" for k, v in self.new_classes.items())
            lines.append(
                f"{self.refused} images left as they were, because they hold classes that were not "
                f"sent: {names}. Load with new_classes='add' to take them, or rename them in CVAT."
            )
        if self.kept_local or self.conflicts:
            lines.append(
                f"{self.kept_local} edits made in FiftyOne meanwhile stay; {self.conflicts} boxes "
                "were changed on both sides."
            )
        lines += [f"{n} x {what}." for what, n in self.oddities.items()]
        lines += [f"Gone from the server: {name}." for name in self.gone]
        lines += self.notes
        if self.snapshots:
            lines.append(
                f"undo_annotations restores the labels from before ({self.snapshots[-1]})."
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class UndoResult(StepResult):
    """Result of `undo_annotations`."""

    dry_run: bool
    restored: str  #: key of the snapshot
    anno_key: str
    images: int
    boxes_before: int  #: before the undo
    boxes_after: int
    kept: str | None  #: snapshot of the labels from before the undo

    def summary(self) -> str:
        would = "would be " if self.dry_run else ""
        again = f" {self.kept} holds what was there before." if self.kept else ""
        return (
            f"{self.images} images {would}restored from {self.restored}: {self.boxes_before} boxes "
            f"before, {self.boxes_after} after.{again}"
        )


@dataclass(frozen=True, kw_only=True)
class NextResult(StepResult):
    """Result of `next_iteration`."""

    iteration: int
    done: list[str]  #: one line per step that ran
    waits_for: str | None  #: why it stopped; None = the next batch is ready
    batch: str | None = None
    sent: bool = False
    steps: dict[str, Any] = dataclasses.field(default_factory=dict)  #: results by step

    def summary(self) -> str:
        lines = [*self.done]
        if self.waits_for:
            lines.append(f"Waiting: {self.waits_for}")
        elif self.batch:
            lines.append(f"{self.batch} is {'sent' if self.sent else 'ready'}.")
        return "\n".join(lines) or "Nothing to do."


@dataclass(frozen=True, kw_only=True)
class RevealResult(StepResult):
    """Result of `reveal_labels`."""

    iteration: int
    images: int
    boxes: int
    class_counts: dict[str, int]
    partly_labelled: int = 0  #: images of which only the unseen regions were labelled

    def summary(self) -> str:
        counts = ", ".join(f"{k} {v}" for k, v in self.class_counts.items())
        return (
            f"{self.images} images labelled with {self.boxes} boxes ({counts or 'none'})."
            f"{_partly(self.partly_labelled)}"
        )


@dataclass(frozen=True, kw_only=True)
class TrainDetectorResult(StepResult):
    """Result of `train_detector`."""

    iteration: int
    checkpoint: str
    digest: str
    detector: str  #: faster_rcnn or centernet
    architecture: str
    pretrained: bool
    weights: str  #: where they came from, and why this architecture, in words
    images: int
    boxes: int
    classes: list[str]
    class_counts: dict[str, int]
    schedule: str  #: "100 epochs (750 steps)" or "600 steps (80 epochs)"
    steps: int
    final_loss: float
    image_size: int
    device: str
    box_problems: dict[str, int] = dataclasses.field(default_factory=dict)
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    partly_labelled: int = 0  #: images of which only a part is labelled

    def summary(self) -> str:
        weights = "pretrained" if self.pretrained else "from scratch"
        return (
            f"{DETECTOR_NAMES.get(self.detector, self.detector)} ({self.architecture}, {weights}) of iteration {self.iteration} trained "
            f"on {self.images} images with {self.boxes} boxes, {self.schedule}, in "
            f"{self.seconds:.0f} s.{_partly(self.partly_labelled)}"
        )


@dataclass(frozen=True, kw_only=True)
class ApplyDetectorResult(StepResult):
    """Result of `apply_detector`."""

    iteration: int
    field: str
    images: int
    boxes: int
    skipped: list[Skipped] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        return f"{self.boxes} predictions on {self.images} images in field {self.field}."


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How one class is detected on the test split."""

    precision: float
    recall: float
    f1: float
    support: int  #: boxes of this class in the test split
    ap: float | None  #: average precision at the evaluation's IoU; None without support


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(StepResult):
    """Result of `evaluate_detector`."""

    iteration: int
    eval_key: str
    images: int
    iou: float
    min_confidence: float
    per_class: dict[str, ClassMetrics]
    macro_f1: float  #: mean over the classes with support
    mean_ap: float  #: mean of the classes' AP over those with support
    partly_labelled: int = 0  #: images of which only a part is labelled, and counts

    def summary(self) -> str:
        rows = "; ".join(
            f"{label} P {m.precision:.2f} R {m.recall:.2f} F1 {m.f1:.2f}"
            for label, m in self.per_class.items()
        )
        return (
            f"Mean F1 {self.macro_f1:.3f}, AP {self.mean_ap:.3f} on {self.images} images. {rows}."
            f"{_partly(self.partly_labelled)}"
        )


@dataclass(frozen=True, kw_only=True)
class IterationSummary:
    """One point of a learning curve: what was labelled, and how good the detector became."""

    series: str  #: "" for the main loop
    strategy: str  #: how its batches were chosen, or "full"
    iteration: int
    images: int
    boxes: int
    class_counts: dict[str, int]  #: labelled boxes per class
    schedule: str | None = None
    detector: str | None = None  #: faster_rcnn or centernet; None in older records: faster_rcnn
    architecture: str | None = None
    pretrained: bool | None = None
    per_class: dict[str, ClassMetrics] | None = None
    macro_f1: float | None = None
    mean_ap: float | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  #: wall time per step
    eval_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class CompareResult(StepResult):
    """Result of `compare_iterations`."""

    classes: list[str]
    iterations: list[IterationSummary]
    table: str  #: the tables as text
    report: str | None  #: path of the HTML report
    pictures: list[str] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        return f"{self.table}\n\nReport: {self.report}"


@dataclass(frozen=True, kw_only=True)
class SimulateResult(StepResult):
    """Result of `simulate`."""

    iterations: list[IterationSummary]
    first_batch_seconds: float | None  #: from the start to the first ranked batch

    def summary(self) -> str:
        rows = [
            f"{i.strategy} {i.images} images: mean F1 {i.macro_f1:.3f}"
            for i in self.iterations
            if i.macro_f1 is not None
        ]
        return "; ".join(rows) or f"{len(self.iterations)} iterations simulated."


@dataclass(frozen=True, kw_only=True)
class AutoLabelResult(StepResult):
    """Result of `auto_label`."""

    iteration: int
    field: str  #: of the automatic labels
    images: int  #: of the pool that were looked at
    labelled: int  #: of them with at least one automatic label
    boxes: int
    class_counts: dict[str, int]
    thresholds: dict[
        str, dict[str, Any]
    ]  #: class -> confidence (None = not good enough), precision, bound, recall, kept
    wanted_precision: float
    digest: str  #: of the detector's weights
    dry_run: bool = False  #: nothing was written; images, labelled and boxes are 0 then

    def summary(self) -> str:
        sure = {c: t for c, t in self.thresholds.items() if t.get("confidence") is not None}
        unsure = [c for c in self.thresholds if c not in sure]
        wanted = f"{100 * self.wanted_precision:.3g} %"
        if not sure:
            best = ", ".join(
                f"{c} at least {100 * (t.get('bound') or 0):.0f} %"
                for c, t in self.thresholds.items()
            )
            return (
                f"The detector is not good enough for any class: {wanted} right was asked for, "
                f"and the test split shows {best}. Label on, or ask for less."
            )
        from_ = ", ".join(f"{c} from {t['confidence']:.2f}" for c, t in sure.items())
        left = f" Not good enough, so without any: {', '.join(unsure)}." if unsure else ""
        if self.dry_run:
            return f"{wanted} right is reached by {from_}.{left} Nothing was written."
        return (
            f"{self.boxes} automatic labels in {self.labelled} of {self.images} images, in "
            f"{self.field!r} ({from_}; at least {wanted} right on the test split).{left} They are "
            "no labels until somebody has looked at them."
        )


@dataclass(frozen=True, kw_only=True)
class CleanResult(StepResult):
    """Result of `clean_dataset`."""

    fields: list[str]
    tags: list[str]
    views: list[str]
    runs: list[str]
    evaluations: list[str]
    checkpoints: int
    dry_run: bool = False  #: nothing was removed

    def summary(self) -> str:
        removed = "Would remove" if self.dry_run else "Removed"
        return (
            f"{removed} {len(self.fields)} fields, {len(self.tags)} tags, {len(self.views)} views, "
            f"{len(self.runs)} records, {len(self.evaluations)} evaluations and "
            f"{self.checkpoints} checkpoints. Labels and images are untouched."
        )
