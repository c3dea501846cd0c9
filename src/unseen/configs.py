"""The parameters of every step: one frozen dataclass feeds the SDK, the command line and the form.

Each field carries its help, unit, range and choices, and is checked when the object is made. This
module imports neither torch nor fiftyone, so that forms and `--help` open at once.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from unseen.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound="StepConfig")

STRATEGIES = (
    "mixed",
    "diverse",
    "plain",
    "balanced",
    "random",
    "sequential",
    "entropy",
    "foreground",
)
METRICS = ("excess", "alpha", "threshold", "region_strength")
#: Where known structure of the images comes from, and which part of the image then counts.
STRUCTURES = ("grid", "mask", "polylines", "field", "none")
ZONES = ("everywhere", "inside", "outside")
#: Architectures of the detectors, and "auto".
DETECTOR_BACKBONES = ("auto", "lite0", "small", "mobilenet_v3", "resnet50")
#: Strategies that rank by what the UNet says; the others need no model.
SCORED_STRATEGIES = ("diverse", "mixed", "plain", "balanced", "entropy", "foreground")


def setting(
    default: T,
    help: str,
    *,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    advanced: bool = False,
    only_with: Mapping[str, tuple[Any, ...]] | None = None,
) -> T:
    """Declare one parameter.

    Args:
        default: the value when nothing is given.
        help: one sentence, shown by the form and by `--help`.
        unit: of a number, for example "px" or "images".
        minimum: the lowest valid number, inclusive.
        maximum: the highest valid number, inclusive.
        choices: the valid strings.
        advanced: shown in the form's second section only.
        only_with: another parameter -> its values with which this one has a meaning; with others
            the form leaves it out.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "advanced": advanced,
        "only_with": dict(only_with or {}),
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """One field of a config as the form and the command line see it."""

    name: str
    kind: type  # bool, int, float, str or tuple (of kind `item`)
    item: type | None
    is_optional: bool
    default: Any
    help: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    advanced: bool
    only_with: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """What all steps share: where things are stored in the dataset."""

    label_field: str = setting(
        "ground_truth",
        "Field with the labels (Detections). None on a sample means unlabelled, an empty list means labelled and nothing there.",
    )
    series: str = setting(
        "",
        "Name of a second, independent loop on the same dataset; its tags, fields and records carry this name. Empty for the main loop.",
        advanced=True,
    )
    prefix: str = setting(
        "unseen", "Prefix of every sample field and record that this package writes.", advanced=True
    )
    test_tag: str = setting("test", "Tag of the fixed test split.", advanced=True)
    initial_tag: str = setting("initial", "Tag of the initial images.", advanced=True)
    excluded_tag: str = setting("excluded", "Tag of images left out of the pool.", advanced=True)
    model_dir: str | None = setting(
        None,
        "Folder for checkpoints. Default: a folder per dataset below FiftyOne's default dataset directory.",
        advanced=True,
    )

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            value = _checked(type(self).__name__, parameter, getattr(self, parameter.name))
            object.__setattr__(self, parameter.name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Rules between parameters; each of them is valid by itself already."""

    def to_dict(self) -> dict[str, Any]:
        """Every parameter as plain JSON data."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class ScreenConfig(StepConfig):
    """Parameters of `screen_images`."""

    min_contrast: float = setting(
        0.01,
        "An image is blank when the standard deviation of its brightness is below this share of the full range.",
        minimum=0,
        maximum=1,
    )
    max_flat_share: float = setting(
        0.25,
        "An image is partial when at least this share of it is a flat region at its border, beyond what is usual in the dataset.",
        minimum=0,
        maximum=1,
    )
    workers: int = setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)
    dry_run: bool = setting(False, "Say what would change; change nothing.")


@dataclass(frozen=True, kw_only=True)
class SplitConfig(StepConfig):
    """Parameters of `split_dataset`."""

    test_share: float = setting(
        0.2,
        "Share of the usable images set aside as test split (ignored where the test tag exists already, or with a test count).",
        minimum=0,
        maximum=0.9,
    )
    test_count: int | None = setting(
        None,
        "Number of images set aside as test split, instead of a share.",
        unit="images",
        minimum=0,
    )
    initial: int = setting(10, "Number of initial images to label first.", unit="images", minimum=1)
    initial_order: str = setting(
        "directory",
        "How the initial images are chosen: the first in directory order, at random, or by coverage: typical images of as many groups as images are wanted, by pretrained features (of a random 20,000 images where there are more). Where something is labelled already, coverage keeps the initial images there are, else takes the first in directory order.",
        choices=("coverage", "directory", "random"),
    )
    seed: int = setting(51, "Seed of all random choices.", minimum=0)
    dry_run: bool = setting(False, "Say what would change; change nothing.")


@dataclass(frozen=True, kw_only=True)
class StructureConfig(StepConfig):
    """Parameters of `mark_structure`."""

    structure: str = setting(
        "grid",
        "Where it comes from: a repeating die grid, a mask file, a file of polylines, a field of polylines of this dataset; none removes it.",
        choices=STRUCTURES,
    )
    structure_file: str | None = setting(
        None,
        "Mask: an image whose pixels above 0 are inside. Polylines: a JSON file, see docs/guide.md. Both hold for every image.",
        only_with={"structure": ("mask", "polylines")},
    )
    structure_field: str | None = setting(
        None,
        "Field of polylines, each image with its own; closed ones have an inside.",
        only_with={"structure": ("field",)},
    )
    pitch: tuple[float, ...] = setting(
        (),
        "Width and height of one repeat of the grid. Default: found from the images.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid",)},
    )
    origin: tuple[float, ...] = setting(
        (),
        "Where a die begins in every image (x, y). Default: found in each image.",
        unit="px",
        only_with={"structure": ("grid",)},
    )
    street: tuple[float, ...] = setting(
        (),
        "Width of the vertical and of the horizontal street between dies. Default: found from the images.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid",)},
    )
    zone: str = setting(
        "everywhere",
        "Which pixels count in the ranking: everywhere, only inside the structure (the dies), only outside of it (the streets).",
        choices=ZONES,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    margin: float = setting(
        0.0,
        "Pixels nearer than this to a line of the structure do not count.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    weight: float = setting(
        0.0,
        "What a pixel that does not count still weighs: 0 ignores it, 0.3 lets it count a third.",
        minimum=0,
        maximum=1,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    workers: int = setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)
    seed: int = setting(51, "Seed of all random choices.", minimum=0, advanced=True)
    dry_run: bool = setting(False, "Say what would change; change nothing.")

    def _check_together(self) -> None:
        super()._check_together()
        for name in ("pitch", "origin", "street"):
            value = getattr(self, name)
            if value and len(value) != 2:
                raise ConfigError(
                    f"{name}={list(value)!r}; expected two numbers (x, y), or none to have them found"
                )
        if self.origin and not self.pitch:
            raise ConfigError(f"origin={list(self.origin)!r} without a pitch; give both or neither")
        needed = {
            "mask": "structure_file",
            "polylines": "structure_file",
            "field": "structure_field",
        }
        name = needed.get(self.structure, "")
        if name and not getattr(self, name):
            raise ConfigError(f"structure={self.structure!r} needs {name}; it is empty")


@dataclass(frozen=True, kw_only=True)
class _WhatIsThere(StepConfig):
    """What `prepare_dataset` asks first."""

    classes: tuple[str, ...] = setting(
        (),
        "All classes, also those that no image shows yet. Default: those of the labels.",
    )
    screen: bool = setting(
        True, "Leave out unreadable, blank and partial images; nothing is deleted."
    )


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StructureConfig, SplitConfig, _WhatIsThere):
    """Parameters of `prepare_dataset`: what is there, how it is split, its known structure."""

    initial_order: str = setting(
        "coverage",
        "How the initial images are chosen where nothing is labelled yet. Coverage: typical images of as many groups as images are wanted, by pretrained features (of a random 20,000 images where there are more). Directory: the first ones. With labels, coverage keeps the initial images there are, else takes the first in directory order.",
        choices=("coverage", "directory", "random"),
    )
    structure: str = setting(
        "none",
        "Known structure of the images, the paper's domain overlay: a repeating die grid, a mask file, a file of polylines, a field of polylines, or none.",
        choices=STRUCTURES,
    )


@dataclass(frozen=True, kw_only=True)
class TrainUnetConfig(StepConfig):
    """Parameters of `train_unet`."""

    mode: str = setting(
        "recommended",
        "'recommended': softmax over background, classes and unseen, with outlier exposure. 'paper': the U-Net of Ivanov et al. with two maps.",
        choices=("recommended", "paper"),
    )
    paper_loss: str = setting(
        "mse",
        "Paper mode only: two linear maps with squared error, or two sigmoid maps with binary cross-entropy.",
        choices=("mse", "bce"),
        advanced=True,
        only_with={"mode": ("paper",)},
    )
    steps: int | None = setting(
        None,
        "Optimiser steps. Default: 300, with near misses 400, in the paper mode 600. Longer is not better: the unseen score fades with over-training.",
        unit="steps",
        minimum=1,
    )
    batch_size: int = setting(4, "Crops per step.", unit="crops", minimum=1, advanced=True)
    crop_size: int = setting(
        128,
        "Side of a training crop at working scale.",
        unit="px",
        minimum=32,
        maximum=1024,
        advanced=True,
    )
    learning_rate: float = setting(
        3e-3, "Peak learning rate (AdamW, one cycle).", minimum=1e-6, maximum=1, advanced=True
    )
    channels: tuple[int, ...] = setting(
        (16, 32, 64, 128), "Feature maps per level of the UNet.", minimum=1, advanced=True
    )
    box_margin: float = setting(
        10.0,
        "Boxes are enlarged by this much on each side, at native scale.",
        unit="px",
        minimum=0,
        advanced=True,
    )
    working_scale: float | None = setting(
        None,
        "Images are resized by this factor before the UNet. Default: from the size of the labelled boxes.",
        minimum=0.01,
        maximum=1,
        advanced=True,
    )
    dice: float = setting(
        0.0,
        "Weight of the generalised Dice loss beside the cross-entropy; 0 trains without.",
        minimum=0,
        maximum=10,
        advanced=True,
        only_with={"mode": ("recommended",)},
    )
    patch_share: float = setting(
        0.7,
        "Share of crops with synthetic unseen patches (recommended mode).",
        minimum=0,
        maximum=1,
        advanced=True,
    )
    near_misses: bool = setting(
        False,
        "Among the synthetic unseen patches, also known objects with a part missing and changes from edge to edge; helps where surfaces differ, hurts where all objects look alike.",
        advanced=True,
        only_with={"mode": ("recommended",)},
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    precision: str = setting(
        "auto",
        "Arithmetic: bf16 where it pays (auto), or fp32.",
        choices=("auto", "bf16", "fp32"),
        advanced=True,
    )
    iteration: int | None = setting(
        None, "Iteration to train for. Default: the current one.", minimum=0, advanced=True
    )
    seed: int = setting(51, "Seed of all random choices.", minimum=0)

    @property
    def optimiser_steps(self) -> int:
        """`steps`, or the mode's default.

        The paper's two maps become complementary only with time: on the synthetic bare wafer
        300 steps leave a mean unseen score of .023 (noise), 600 one of .013.
        """
        return self.steps or (600 if self.mode == "paper" else 400 if self.near_misses else 300)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StepConfig):
    """Parameters of `score_samples`."""

    checkpoint: str | None = setting(
        None, "UNet checkpoint. Default: the newest of this loop.", advanced=True
    )
    alpha: float = setting(
        2.0,
        "Exponent of the alpha metric; the higher, the less low-scoring pixels count.",
        minimum=0.1,
        maximum=64,
    )
    adapt_alpha: bool = setting(
        False,
        "Raise the exponent with the imbalance of the labelled classes: alpha x (1 + imbalance); 0 = as many boxes of each class.",
        advanced=True,
    )
    threshold: float | None = setting(
        None,
        "Unseen score above which a pixel counts. Default: a quantile over the pool.",
        minimum=0,
        maximum=1,
    )
    threshold_quantile: float = setting(
        0.97,
        "Quantile of the pool's unseen scores that is used as threshold.",
        minimum=0.5,
        maximum=0.99999,
    )
    region_quantile: float = setting(
        0.97,
        "Quantile of the pool's unseen scores above which pixels form regions.",
        minimum=0.5,
        maximum=0.99999,
        advanced=True,
    )
    max_regions: int = setting(
        5,
        "Unseen regions shown per image at most, the strongest first; fewer where the others are weak.",
        unit="regions",
        minimum=0,
        maximum=1000,
    )
    heatmap_size: int = setting(
        96,
        "Longest side of the stored heatmap; 0 stores none.",
        unit="px",
        minimum=0,
        maximum=1024,
        advanced=True,
    )
    batch_size: int = setting(
        8, "Images per forward pass.", unit="images", minimum=1, advanced=True
    )
    tile_size: int = setting(
        1536,
        "Images with a longer side are computed in overlapping tiles of this side (at working scale), so that memory stays bounded.",
        unit="px",
        minimum=256,
        advanced=True,
    )
    workers: int = setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)
    rescore: bool = setting(False, "Score again what this model has scored already.", advanced=True)
    embeddings: bool = setting(
        True,
        "Also make FiftyOne Brain's similarity and visualization of the pretrained features, for the App's Embeddings panel and Sort by similarity; up to 50,000 images.",
        advanced=True,
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    precision: str = setting(
        "auto",
        "Arithmetic: bf16 where it pays (auto), or fp32.",
        choices=("auto", "bf16", "fp32"),
        advanced=True,
    )
    seed: int = setting(
        51,
        "Seed of the sample of images that the quantiles are taken from.",
        minimum=0,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class SelectConfig(StepConfig):
    """Parameters of `select_batch`."""

    budget: int = setting(10, "Images in the batch.", unit="images", minimum=1)
    strategy: str = setting("mixed", "How the batch is chosen.", choices=STRATEGIES)
    metric: str = setting(
        "excess", "Image metric that ranks (strategies diverse, mixed and plain).", choices=METRICS
    )
    random_share: float = setting(
        0.0, "Share of the batch drawn at random instead.", minimum=0, maximum=1
    )
    replace: bool = setting(False, "Replace the last batch if no one has labelled any of it yet.")
    features: str = setting(
        "auto",
        "Pretrained features: auto takes the best at hand; efficientnet_lite0, mobilenet_v2, dinov2_s, statistics (no network), or a weights file.",
        advanced=True,
        only_with={"strategy": ("mixed",)},
    )
    seed: int = setting(51, "Seed of all random choices.", minimum=0)


@dataclass(frozen=True, kw_only=True)
class RankRegionsConfig(StepConfig):
    """Parameters of `rank_regions`."""

    count: int = setting(
        100,
        "Regions that get a rank, the strongest of the pool.",
        unit="regions",
        minimum=1,
        maximum=10000,
    )
    max_per_image: int = setting(
        5,
        "At most so many regions of one image, so that no single image fills the list.",
        unit="regions",
        minimum=1,
        maximum=1000,
    )
    min_score: float = setting(0.0, "Regions with a lower score get no rank.", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class MoreLikeThisConfig(StepConfig):
    """Parameters of `more_like_this`."""

    wanted: tuple[str, ...] = setting(
        (),
        "Ids of boxes, of any field of detections, and of samples (the whole image) that show what you want. In the App: what is selected.",
    )
    unwanted: tuple[str, ...] = setting(
        (), "Ids of what looks alike but is not wanted, given in the same way."
    )
    count: int = setting(
        50, "Regions that are found at most.", unit="regions", minimum=1, maximum=10000
    )
    max_per_image: int = setting(
        3, "At most so many regions of one image.", unit="regions", minimum=1, maximum=1000
    )
    seed: int = setting(
        51,
        "Seed of the sample of patches that the ordinary look is learned from.",
        minimum=0,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class RevealConfig(StepConfig):
    """Parameters of `reveal_labels`."""

    hidden_field: str = setting(
        "hidden_truth", "Field with the complete labels that the simulated annotator copies from."
    )
    iteration: int | None = setting(
        None,
        "Batch to reveal: 0 is the initial set. Default: the first one that is not labelled.",
        minimum=0,
    )
    regions_only: bool = setting(
        False,
        "Label only the unseen regions of a batch; the rest of its images does not count.",
        advanced=True,
    )
    regions_per_image: int = setting(
        5,
        "As many regions per image, the strongest ones.",
        minimum=1,
        advanced=True,
        only_with={"regions_only": (True,)},
    )


@dataclass(frozen=True, kw_only=True)
class TrainDetectorConfig(StepConfig):
    """Parameters of `train_detector`."""

    detector: str = setting(
        "faster_rcnn",
        "Faster R-CNN, or CenterNet, which finds centres instead of judging anchors.",
        choices=("faster_rcnn", "centernet"),
    )
    architecture: str = setting(
        "auto",
        "Backbone. For CPU and small data: lite0 (EfficientNet-Lite0, pretrained), or small, from scratch; larger: mobilenet_v3 (Faster R-CNN only), resnet50. Auto: resnet50 on a GPU; elsewhere lite0 where its weights are installed, or else small.",
        choices=DETECTOR_BACKBONES,
    )
    epochs: int = setting(
        100, "Passes over the labelled images (the paper's schedule).", unit="epochs", minimum=1
    )
    steps: int | None = setting(
        None,
        "Optimiser steps, instead of epochs: the same for every iteration.",
        unit="steps",
        minimum=1,
    )
    batch_size: int = setting(4, "Images per step.", unit="images", minimum=1)
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
        only_with={"detector": ("faster_rcnn",)},
    )
    weights: str | None = setting(
        None,
        "File with pretrained weights for resnet50 or mobilenet_v3 (torchvision's .pth or .safetensors) or lite0; 'none' trains from scratch. Default: torchvision's, or those of lite0's package, where they can be had.",
        advanced=True,
    )
    classes: tuple[str, ...] = setting(
        (),
        "Fixed class list. Default: the dataset's classes, or else all labels of the label field.",
        advanced=True,
    )
    image_size: int | None = setting(
        None,
        "Longest side of the images inside the detector. Default: by architecture and image size.",
        unit="px",
        minimum=64,
        maximum=4096,
        advanced=True,
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    precision: str = setting(
        "auto",
        "Arithmetic: bf16 where it pays (auto), or fp32.",
        choices=("auto", "bf16", "fp32"),
        advanced=True,
    )
    iteration: int | None = setting(
        None, "Iteration to train for. Default: the current one.", minimum=0, advanced=True
    )
    seed: int = setting(51, "Seed of all random choices.", minimum=0)

    def _check_together(self) -> None:
        super()._check_together()
        if self.rectification and self.detector != "faster_rcnn":
            raise ConfigError(
                f"rectification={self.rectification:g} with detector={self.detector!r}; it compares "
                "boxes in the head of Faster R-CNN: choose that detector, or 0"
            )
        check_backbone(self.detector, self.architecture)


@dataclass(frozen=True, kw_only=True)
class ApplyDetectorConfig(StepConfig):
    """Parameters of `apply_detector`."""

    target: str = setting(
        "test",
        "What to predict on: the test split, the rest of the pool, or the given view as it is.",
        choices=("test", "pool", "view"),
    )
    checkpoint: str | None = setting(
        None, "Detector checkpoint. Default: the newest of this loop.", advanced=True
    )
    min_confidence: float = setting(
        0.05, "Predictions below this confidence are not stored.", minimum=0, maximum=1
    )
    batch_size: int = setting(
        4, "Images per forward pass.", unit="images", minimum=1, advanced=True
    )
    workers: int = setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    precision: str = setting(
        "auto",
        "Arithmetic: bf16 where it pays (auto), or fp32.",
        choices=("auto", "bf16", "fp32"),
        advanced=True,
    )
    iteration: int | None = setting(
        None,
        "Iteration whose detector is applied. Default: the newest with one.",
        minimum=0,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class AutoLabelConfig(StepConfig):
    """Parameters of `auto_label`."""

    wanted_precision: float = setting(
        0.95,
        "Share of the automatic labels of a class that shall be right; classes that do not reach it get none.",
        minimum=0.5,
        maximum=0.999,
    )
    level: float = setting(
        0.9,
        "How sure that must be, judged on the labelled test split.",
        minimum=0.5,
        maximum=0.999,
        advanced=True,
    )
    iou: float = setting(
        0.5, "Overlap from which a prediction counts as right.", minimum=0.05, maximum=0.95
    )
    gt_field: str | None = setting(
        None, "Field with the labels of the test split. Default: the label field.", advanced=True
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    dry_run: bool = setting(False, "Say what would change; change nothing.")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(StepConfig):
    """Parameters of `evaluate_detector`."""

    iou: float = setting(
        0.5, "Overlap from which a prediction counts as found.", minimum=0.05, maximum=0.95
    )
    min_confidence: float = setting(
        0.5,
        "Precision, recall and F1 count predictions from this confidence on; AP counts all.",
        minimum=0,
        maximum=1,
    )
    gt_field: str | None = setting(
        None, "Field with the labels of the test split. Default: the label field.", advanced=True
    )
    classes: tuple[str, ...] = setting(
        (), "Fixed class list. Default: that of the detector.", advanced=True
    )
    iteration: int | None = setting(
        None,
        "Iteration to evaluate. Default: the newest with predictions.",
        minimum=0,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(StepConfig):
    """Parameters of `compare_iterations`."""

    output: str | None = setting(
        None, "Folder for the report and its pictures. Default: a folder beside the checkpoints."
    )
    pictures: bool = setting(True, "Draw the ranked batches with heatmaps and regions.")
    title: str | None = setting(
        None, "Title of the report. Default: the dataset's name.", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class SimulateConfig(StepConfig):
    """Parameters of `simulate`."""

    hidden_field: str = setting(
        "hidden_truth", "Field with the complete labels that the simulated annotator copies from."
    )
    strategies: tuple[str, ...] = setting(
        ("mixed", "sequential", "random"),
        "Strategies to run; the first is the main loop and fills the label field.",
        choices=STRATEGIES,
    )
    iterations: int = setting(
        2,
        "Batches that are selected and labelled after the initial images.",
        minimum=1,
        maximum=1000,
    )
    budget: int = setting(10, "Images in a batch.", unit="images", minimum=1)
    initial: int = setting(10, "Initial images.", unit="images", minimum=1)
    initial_order: str = setting(
        "directory", "How the initial images are chosen.", choices=("directory", "random")
    )
    metric: str = setting("excess", "Image metric that ranks.", choices=METRICS, advanced=True)
    regions_only: bool = setting(
        False,
        "Label only the unseen regions of ranked batches; other strategies show none and label whole images.",
        advanced=True,
    )
    mode: str = setting(
        "recommended", "UNet mode.", choices=("recommended", "paper"), advanced=True
    )
    unet_steps: int | None = setting(
        None,
        "Optimiser steps of the UNet. Default: 300, in the paper mode 600.",
        unit="steps",
        minimum=1,
        advanced=True,
    )
    detector: bool = setting(True, "Train and evaluate the detector after each iteration.")
    full: bool = setting(False, "Train the detector on the fully labelled set too.")
    detector_kind: str = setting(
        "faster_rcnn",
        "Which detector is trained.",
        choices=("faster_rcnn", "centernet"),
        advanced=True,
    )
    architecture: str = setting(
        "auto", "Backbone of the detector.", choices=DETECTOR_BACKBONES, advanced=True
    )
    epochs: int = setting(100, "Epochs of the detector.", unit="epochs", minimum=1, advanced=True)
    detector_steps: int | None = setting(
        None,
        "Optimiser steps of the detector, instead of epochs.",
        unit="steps",
        minimum=1,
        advanced=True,
    )
    image_size: int | None = setting(
        None,
        "Longest side of the images inside the detector. Default: by architecture and image size.",
        unit="px",
        minimum=64,
        maximum=4096,
        advanced=True,
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    seed: int = setting(51, "Seed of all random choices.", minimum=0)

    def _check_together(self) -> None:
        super()._check_together()
        check_backbone(self.detector_kind, self.architecture)


@dataclass(frozen=True, kw_only=True)
class CleanConfig(StepConfig):
    """Parameters of `clean_dataset`."""

    keep_checkpoints: bool = setting(False, "Keep the model files on disk.")
    dry_run: bool = setting(False, "Say what would change; change nothing.")


#: The config class of each step, so that a form or `--help` need not import the step itself.

BACKENDS = ("cvat", "app")
STAGES = ("annotation", "validation", "acceptance")


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
    dry_run: bool = setting(False, "Check everything and say what would be sent; send nothing.")
    url: str | None = setting(
        None,
        "Address of the CVAT server. Default: FIFTYONE_CVAT_URL. Credentials are never a parameter.",
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


@dataclass(frozen=True, kw_only=True)
class LoadConfig(StepConfig):
    """Parameters of `load_annotations`."""

    jobs: str = setting(
        "finished",
        "Which CVAT jobs: the finished ones, or all, also while people label in them.",
        choices=("finished", "all"),
    )
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
    )
    new_classes: str = setting(
        "refuse",
        "Boxes of a class that was not sent: refuse leaves their images unlabelled, add takes the class.",
        choices=("refuse", "add"),
    )
    empty_is_labelled: bool = setting(
        False,
        "Other backends than CVAT only: images without a box count as looked at, with nothing there. CVAT's jobs tell this themselves.",
    )
    dry_run: bool = setting(False, "Say what would change; change nothing.")
    anno_key: str | None = setting(
        None, "Key of one annotation run. Default: every run that is out.", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class UndoConfig(StepConfig):
    """Parameters of `undo_annotations`."""

    snapshot: str | None = setting(
        None, "Snapshot to restore. Default: the labels before the newest load that still applies."
    )
    dry_run: bool = setting(False, "Say what would change; change nothing.")


@dataclass(frozen=True, kw_only=True)
class ListAnnotationsConfig(StepConfig):
    """Parameters of `list_annotations`."""

    anno_key: str | None = setting(None, "Key of one annotation run. Default: all.", advanced=True)
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class NextConfig(StepConfig):
    """Parameters of `next_iteration`."""

    budget: int = setting(10, "Images in the next batch.", unit="images", minimum=1)
    strategy: str = setting("mixed", "How the batch is chosen.", choices=STRATEGIES)
    detector: bool = setting(
        True, "Train and evaluate the detector too, where there is a labelled test split."
    )
    send: bool = setting(
        False, "Send the next batch to the annotators, the way the last one was sent."
    )
    jobs: str = setting(
        "finished",
        "Which CVAT jobs are loaded: the finished ones, or all.",
        choices=("finished", "all"),
        advanced=True,
    )
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
        advanced=True,
    )
    min_loaded: float = setting(
        1.0,
        "Share of the batch that must have come back before the next iteration starts.",
        minimum=0.01,
        maximum=1,
        advanced=True,
    )
    seed: int = setting(51, "Seed of all random choices.", minimum=0, advanced=True)


STEP_CONFIGS: dict[str, type[StepConfig]] = {
    "prepare_dataset": PrepareConfig,
    "screen_images": ScreenConfig,
    "split_dataset": SplitConfig,
    "mark_structure": StructureConfig,
    "train_unet": TrainUnetConfig,
    "score_samples": ScoreConfig,
    "select_batch": SelectConfig,
    "rank_regions": RankRegionsConfig,
    "more_like_this": MoreLikeThisConfig,
    "request_annotations": RequestConfig,
    "list_annotations": ListAnnotationsConfig,
    "load_annotations": LoadConfig,
    "undo_annotations": UndoConfig,
    "reveal_labels": RevealConfig,
    "train_detector": TrainDetectorConfig,
    "apply_detector": ApplyDetectorConfig,
    "evaluate_detector": EvaluateConfig,
    "auto_label": AutoLabelConfig,
    "compare_iterations": CompareConfig,
    "next_iteration": NextConfig,
    "simulate": SimulateConfig,
    "clean_dataset": CleanConfig,
}


def parameters(config: type[StepConfig]) -> list[Parameter]:
    """The parameters of a config class, in the order of the form: its own first, shared ones last."""
    hints = typing.get_type_hints(config)
    shared = {f.name for f in dataclasses.fields(StepConfig)} - {"label_field"}
    found = []
    for f in dataclasses.fields(config):
        kind, is_optional = _unwrap_optional(hints[f.name])
        item = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
        found.append(
            Parameter(
                name=f.name,
                kind=typing.get_origin(kind) or kind,
                item=item,
                is_optional=is_optional,
                default=f.default,
                **f.metadata,
            )
        )
    return sorted(found, key=lambda p: (p.name in shared, p.name == "dry_run"))


def from_mapping(config: type[C], values: Mapping[str, Any]) -> C:
    """A config from form or command-line values; None and missing keys take the default.

    Raises:
        ConfigError: a key is no parameter of this config, or a value is out of range.
    """
    known = {f.name for f in dataclasses.fields(config)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{config.__name__} has no parameter {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(sorted(known))}"
        )
    return config(**{k: v for k, v in values.items() if v is not None})


def check_value(config: type[StepConfig], name: str, value: Any) -> None:
    """Check one parameter by itself, as a form does while one types.

    Raises:
        ConfigError: the value is out of its range.
    """
    parameter = next(p for p in parameters(config) if p.name == name)
    _checked(config.__name__, parameter, value)


def check_backbone(detector: str, architecture: str) -> None:
    """Which architectures a detector has.

    Raises:
        ConfigError: this one not.
    """
    if detector == "centernet" and architecture == "mobilenet_v3":
        raise ConfigError(
            "architecture='mobilenet_v3' with detector 'centernet': it is torchvision's Faster R-CNN; "
            "choose detector 'faster_rcnn', or architecture 'lite0', 'small' or 'resnet50'"
        )


def _unwrap_optional(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return inner[0], True
    return hint, False


def _checked(owner: str, parameter: Parameter, value: Any) -> Any:
    """The value in its declared type, or a ConfigError that says what was expected."""
    if value is None:
        if parameter.is_optional:
            return None
        raise ConfigError(f"{owner}.{parameter.name} is None; expected {_expectation(parameter)}")
    if parameter.kind is tuple:
        if isinstance(value, str):
            value = [v.strip() for v in value.split(",") if v.strip()]
        try:
            values = tuple(_checked_one(owner, parameter, parameter.item, v) for v in value)
        except TypeError:
            raise ConfigError(
                f"{owner}.{parameter.name}={value!r}; expected a list of {_expectation(parameter)}"
            ) from None
        if len(set(values)) != len(values) and parameter.item is str:
            raise ConfigError(f"{owner}.{parameter.name}={value!r} names something twice")
        return values
    return _checked_one(owner, parameter, parameter.kind, value)


def _checked_one(owner: str, parameter: Parameter, kind: type | None, value: Any) -> Any:
    message = f"{owner}.{parameter.name}={value!r}; expected {_expectation(parameter)}"
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(message)
        return value
    if kind is str:
        if not isinstance(value, str):
            raise ConfigError(message)
    else:
        if isinstance(value, bool):
            raise ConfigError(message)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ConfigError(message) from None
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ConfigError(message)
        if parameter.minimum is not None and number < parameter.minimum:
            raise ConfigError(message)
        if parameter.maximum is not None and number > parameter.maximum:
            raise ConfigError(message)
        value = int(number) if kind is int else number
    if parameter.choices and value not in parameter.choices:
        raise ConfigError(message)
    if parameter.name in ("prefix", "series"):
        _check_name(parameter.name, value)
    return value


def _check_name(name: str, value: str) -> None:
    if value and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ConfigError(
            f"{name}={value!r}: expected lower-case letters, digits and underscores, "
            "starting with a letter (it becomes part of field names)"
        )
    if name == "prefix" and not value:
        raise ConfigError("prefix is empty; expected a name such as 'unseen'")


def _expectation(parameter: Parameter) -> str:
    if parameter.choices:
        return "one of " + ", ".join(parameter.choices)
    kind = parameter.item or parameter.kind
    text = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
    if parameter.unit:
        text += f" ({parameter.unit})"
    if parameter.minimum is not None:
        text += f" from {parameter.minimum:g}"
    if parameter.maximum is not None:
        text += f" up to {parameter.maximum:g}"
    return text
