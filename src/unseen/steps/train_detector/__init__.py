"""Train the detector, Faster R-CNN or CenterNet, on everything labelled."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.detector import architecture_choices, check_architecture, detectors
from unseen.errors import ConfigError
from unseen.parameters import StepConfig, setting
from unseen.results import TrainingResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class TrainDetectorConfig(StepConfig):
    """Parameters of `train_detector`."""

    detector: str = setting(
        "faster_rcnn",
        "Faster R-CNN, or CenterNet, which finds centres instead of judging anchors.",
        choices=tuple(detectors()),
    )
    architecture: str = setting(
        "auto",
        "Backbone. For CPU and small data: lite0 (EfficientNet-Lite0, pretrained), or small, from scratch; larger: mobilenet_v3 (Faster R-CNN only), resnet50. Auto: resnet50 on a GPU; elsewhere lite0 where its weights are installed, or else small.",
        choices=architecture_choices(),
    )
    epochs: int = setting(
        100, "Passes over the labelled images (the paper's schedule).", unit="epochs", minimum=1
    )
    steps: int | None = setting(
        None, "Optimiser steps, instead of epochs.", unit="steps", minimum=1
    )
    batch_size: int = settings.batch_size(4, "Images per step.", advanced=False)
    learning_rate: float | None = setting(
        None,
        "Peak learning rate. Default: by architecture.",
        minimum=1e-7,
        maximum=1,
        advanced=True,
    )
    balance: float | None = setting(
        None,
        "Repeat images of classes that fewer than this share of the images hold (0.5 is a start). Default: each image once per pass.",
        minimum=0.001,
        maximum=1,
        advanced=True,
    )
    rectification: float = setting(
        0.0,
        "Weight of the class rectification loss, which pulls rare classes apart; 0 trains without.",
        minimum=0,
        maximum=10,
        advanced=True,
        only_with={"detector": tuple(n for n, one in detectors().items() if one.has_rectification)},
    )
    weights: str | None = setting(
        None,
        "File with pretrained weights for resnet50 or mobilenet_v3 (torchvision's .pth or .safetensors) or lite0; 'none' trains from scratch. Default: torchvision's, or those of lite0's package, where they can be had.",
        advanced=True,
        path="read",
        not_paths=("none", "default"),
    )
    classes: tuple[str, ...] = setting(
        (),
        "Fixed class list. Default: the dataset's classes, or else all labels of the label field.",
        advanced=True,
    )
    image_size: int | None = settings.image_size()
    device: str = settings.device()
    precision: str = settings.precision()
    iteration: int | None = settings.iteration("Iteration to train for. Default: the current one.")
    seed: int = settings.seed()
    engine: str = settings.engine("What trains")
    address: str | None = settings.address()
    workers: int = setting(
        1,
        "Processes of the Ray cluster that share each step's images, with a GPU or a core each.",
        minimum=1,
        advanced=True,
        only_with={"engine": ("ray",)},
    )

    def _check_together(self) -> None:
        super()._check_together()
        if self.workers > 1 and self.engine == "local":
            raise ConfigError(
                f"workers={self.workers} with engine='local', which is one process; set engine='ray'"
            )
        if self.workers > self.batch_size:
            raise ConfigError(
                f"workers={self.workers} with batch_size={self.batch_size}, the images of a step in "
                "all; each worker needs one: take fewer workers or a larger batch_size"
            )
        if self.rectification and not detectors()[self.detector].has_rectification:
            raise ConfigError(
                f"rectification={self.rectification:g} with detector={self.detector!r}; it compares "
                "boxes in the head of Faster R-CNN: choose that detector, or 0"
            )
        check_architecture(self.detector, self.architecture)


@dataclass(frozen=True, kw_only=True)
class TrainDetectorResult(TrainingResult):
    """Result of `train_detector`."""

    detector: str  #: faster_rcnn or centernet
    architecture: str
    pretrained: bool
    weights: str  #: where they came from, and why this architecture, in words
    schedule: str  #: "100 epochs (750 steps)" or "600 steps (80 epochs)"
    image_size: int
    scale: float | None = (
        None  #: of the images, which are seen in tiles; None: they are made to fit
    )
    max_detections: int = 100  #: most boxes that it finds in one image

    def summary(self) -> str:
        weights = "pretrained" if self.pretrained else "from scratch"
        tiles = (
            f" The objects are small: images are scaled by {self.scale:.3g} and seen in tiles of "
            f"{self.image_size} px."
            if self.scale
            else ""
        )
        return (
            f"{detectors()[self.detector].label} ({self.architecture}, {weights}) of iteration "
            f"{self.iteration} trained on {self.images} images with {self.boxes} boxes, "
            f"{self.schedule}, in {self.seconds:.0f} s.{tiles}"
            f"{self.remarks}"
        )


STEP = Step(
    order=150,
    label="Train the detector",
    config=TrainDetectorConfig,
    view_verb="Train on",
    is_long=True,
)
