"""Send the batch's images to the annotators and their server, in rank order."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from unseen.errors import ConfigError
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class RequestConfig(StepConfig):
    """Parameters of `request_annotations`."""

    images: str = setting(
        "batch",
        "What is handed to the annotators: the newest batch, the initial images, or the test split.",
        choices=("batch", "initial", "test"),
    )
    backend: str = setting(
        "cvat",
        "Where people label: cvat, app (the Annotate tab of FiftyOne's App, for one person), or another backend of FiftyOne such as labelstudio.",
    )
    classes: tuple[str, ...] = setting(
        (),
        "All classes that annotators can choose, also those that no image shows yet. Default: the dataset's classes, or every label seen so far.",
    )
    suggestions: bool = setting(
        True,
        "Draw the unseen regions as boxes of the class 'unseen'. They never become labels unless somebody gives them a class.",
    )
    overlay: bool = setting(
        False, "Send copies of the images with the heatmap drawn over them; boxes fit the original."
    )
    structure: bool = setting(
        False,
        "Send copies of the images with the known structure (dies, boundaries) drawn as thin lines.",
    )
    predictions: bool = setting(
        False, "Draw the newest detector's predictions as boxes to correct."
    )
    auto_labels: bool = setting(
        False,
        "Draw the automatic labels of `auto_label` as boxes to review, instead of all predictions.",
    )
    regions_only: bool = setting(
        False,
        "Ask for the unseen regions alone, outlined in copies of the images; what lies around them then counts neither as background nor in the evaluation.",
    )
    regions_per_image: int = setting(
        5,
        "As many regions per image, the strongest ones.",
        minimum=1,
        advanced=True,
        only_with={"regions_only": (True,)},
    )
    guide: bool = setting(True, "Attach a guide to each task: what is marked, and the classes.")
    instructions: str = setting("", "Your own words to the annotators, put into the guide.")
    assignees: tuple[str, ...] = setting(
        (),
        "CVAT users who get the jobs, in turn.",
    )
    task_size: int = setting(
        100, "Most images in one task; each task is sent by itself.", unit="images", minimum=1
    )
    segment_size: int | None = setting(
        None, "Most images in one job. Default: one job per task.", unit="images", minimum=1
    )
    golden: float = setting(
        0.0,
        "Share of labelled test images that are mixed in, without their labels, to see how well people label; their labels never change.",
        minimum=0,
        maximum=1,
        advanced=True,
        only_with={"backend": ("cvat",), "images": ("batch", "initial")},
    )
    second_opinions: float = setting(
        0.0,
        "Share of the images that a second person labels too, those first that likely hold a new or rare class; the first person's labels count.",
        minimum=0,
        maximum=1,
        advanced=True,
        only_with={"backend": ("cvat",)},
    )
    dry_run: bool = setting(False, "Check everything and say what would be sent; send nothing.")
    url: str | None = setting(
        None,
        "Address of the CVAT server. Default: FIFTYONE_CVAT_URL. Credentials are never a parameter.",
        in_app=False,
    )
    organization: str | None = setting(None, "Short name of the CVAT organization.", advanced=True)
    project: str | None = setting(
        None,
        "Name of the CVAT project that holds the tasks; made where it is missing.",
        advanced=True,
    )
    extend_project: bool = setting(
        False, "Add missing classes to an existing CVAT project.", advanced=True
    )
    task_assignee: str | None = setting(None, "CVAT user who gets the tasks.", advanced=True)
    issue_tracker: str | None = setting(
        None, "Address of an issue tracker to link to the tasks.", advanced=True
    )
    image_quality: int = setting(
        95,
        "JPEG quality in which CVAT shows the images; small defects need a high one.",
        minimum=0,
        maximum=100,
        advanced=True,
    )
    by_reference: str | None = setting(
        None,
        "Name images that CVAT sees itself instead of uploading them: HERE=THERE where THERE on CVAT's share holds the images below HERE, HERE=ID:THERE for its cloud storage ID. Copies with something drawn in are uploaded.",
        advanced=True,
    )
    overlay_opacity: float = setting(
        0.45, "Strength of the heatmap in the overlay.", minimum=0.05, maximum=1, advanced=True
    )
    min_confidence: float = setting(
        0.5,
        "Predictions below this confidence are not sent.",
        minimum=0,
        maximum=1,
        advanced=True,
    )
    timeout: float = setting(
        600.0,
        "Longest wait for the server to make the jobs of one task.",
        unit="s",
        minimum=1,
        advanced=True,
    )
    iteration: int | None = setting(
        None, "Batch to send. Default: the newest one.", minimum=0, advanced=True
    )

    def _check_together(self) -> None:
        if self.golden and self.images == "test":
            raise ConfigError("golden images come from the test split; leave golden= out with it")
        if self.second_opinions and (len(self.assignees) < 2 or self.segment_size):
            raise ConfigError(
                f"second_opinions={self.second_opinions:g} needs two people, each with whole tasks; "
                "pass two assignees= or more, and task_size= instead of segment_size="
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
    golden: int = 0  #: labelled test images mixed in by this run
    second_opinions: int = 0  #: images that a second person gets too
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
        if self.golden or self.second_opinions:
            parts[0] += (
                f" Mixed in for comparison: {self.golden} labelled test images, "
                f"{self.second_opinions} images of another person."
            )
        if not self.sent and not self.dry_run:
            parts = [
                f"All {self.images} images of {self.anno_key} are with the annotators already."
            ]
        parts += [f"{t['name']}: {t['images']} images, {t['url']}" for t in self.tasks]
        return "\n".join([*parts, *self.notes])


STEP = Step(
    order=100,
    label="Request annotations",
    config=RequestConfig,
    continues=True,
    risk="high",
    asks_server=True,
)
