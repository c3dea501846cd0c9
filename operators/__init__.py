"""One thin form per step; `OPERATORS` is the only list of them."""

from __future__ import annotations

from typing import Any

from .apply_detector import ApplyDetector
from .auto_label import AutoLabel
from .clean_dataset import CleanDataset
from .compare_iterations import CompareIterations
from .evaluate_detector import EvaluateDetector
from .list_annotations import ListAnnotations
from .load_annotations import LoadAnnotations
from .mark_structure import MarkStructure
from .more_like_this import MoreLikeThis
from .next_iteration import NextIteration
from .open_workspace import OpenWorkspace
from .prepare_dataset import PrepareDataset
from .rank_regions import RankRegions
from .request_annotations import RequestAnnotations
from .reveal_labels import RevealLabels
from .score_samples import ScoreSamples
from .screen_images import ScreenImages
from .select_batch import SelectBatch
from .simulate import Simulate
from .split_dataset import SplitDataset
from .train_detector import TrainDetector
from .train_unet import TrainUnet
from .undo_annotations import UndoAnnotations

#: In the order of the loop.
OPERATORS = [
    PrepareDataset,
    ScreenImages,
    SplitDataset,
    MarkStructure,
    TrainUnet,
    ScoreSamples,
    SelectBatch,
    RankRegions,
    MoreLikeThis,
    RequestAnnotations,
    ListAnnotations,
    LoadAnnotations,
    UndoAnnotations,
    RevealLabels,
    TrainDetector,
    ApplyDetector,
    EvaluateDetector,
    AutoLabel,
    CompareIterations,
    NextIteration,
    Simulate,
    CleanDataset,
    OpenWorkspace,
]


def register(plugin: Any) -> None:
    """Hand every operator to FiftyOne."""
    for operator in OPERATORS:
        plugin.register(operator)
