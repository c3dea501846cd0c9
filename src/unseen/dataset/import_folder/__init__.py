"""Make a dataset from a folder: images alone, COCO, Pascal VOC, YOLO v5, CVAT, a FiftyOne export."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.errors import ConfigError
from unseen.parameters import Config, setting
from unseen.results import StepResult


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Config):
    """Parameters of `import_folder`."""

    folder: str = setting("", "Folder to import; its format is found out.", path="read")
    name: str = setting(
        "", "Name of the new dataset. Default: the folder's name, numbered if taken."
    )
    hidden: bool = setting(
        False,
        "Keep the labels out of sight, in the field hidden_truth, for a simulated annotator; only the test split shows them.",
        advanced=True,
    )

    def _check_together(self) -> None:
        if not self.folder:
            raise ConfigError("folder is empty; expected the path of a folder with images")


@dataclass(frozen=True, kw_only=True)
class ImportResult(StepResult):
    """Result of `import_folder`."""

    format: str
    train: int  #: images outside of the test split
    test: int  #: images in the test split
    boxes: int
    classes: list[str]
    unlabelled: int = 0  #: images without labels
    without_boxes: int = 0  #: labelled images on which nothing is
    ignored: int = 0  #: regions to ignore (`iscrowd`)
    missing: list[str] = field(default_factory=list)  #: listed images without a readable file
    unlisted: int = 0  #: image files that no label file lists and that were not imported
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:  # noqa: D102 - documented on the base class
        text = (
            f"{self.format}: {self.train} train and {self.test} test images with {self.boxes} boxes "
            f"of {len(self.classes)} classes imported as dataset {self.dataset!r}."
        )
        if self.unlabelled:
            text += f" {self.unlabelled} images have no labels."
        if self.without_boxes:
            text += f" {self.without_boxes} labelled images have no box: nothing is there."
        if self.ignored:
            text += f" {self.ignored} crowds (iscrowd) are kept as regions to ignore."
        if self.missing:
            rest = f" and {len(self.missing) - 3} more" if len(self.missing) > 3 else ""
            text += (
                f" {len(self.missing)} listed images cannot be read and will be skipped: "
                f"{', '.join(self.missing[:3])}{rest}."
            )
        if self.unlisted:
            text += f" {self.unlisted} image files are in no label file and were left out."
        return " ".join([text, *self.notes])
