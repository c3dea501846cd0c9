"""What to label next.

Every step of the loop is one function with one frozen config; all load on first use, so that
`import unseen` costs nothing::

    import unseen

    unseen.train_unet("wafers")
    unseen.score_samples("wafers")
    unseen.select_batch("wafers", budget=10)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Steps of the loop, in its order; the module of the same name holds the function.
STEPS = (
    "prepare_dataset",
    "screen_images",
    "split_dataset",
    "mark_structure",
    "train_unet",
    "score_samples",
    "select_batch",
    "rank_regions",
    "more_like_this",
    "request_annotations",
    "list_annotations",
    "load_annotations",
    "undo_annotations",
    "reveal_labels",
    "train_detector",
    "apply_detector",
    "evaluate_detector",
    "auto_label",
    "compare_iterations",
    "next_iteration",
    "simulate",
    "clean_dataset",
)

_CONFIGS = (
    "PrepareConfig",
    "ScreenConfig",
    "SplitConfig",
    "StructureConfig",
    "TrainUnetConfig",
    "ScoreConfig",
    "SelectConfig",
    "RankRegionsConfig",
    "MoreLikeThisConfig",
    "RequestConfig",
    "ListAnnotationsConfig",
    "LoadConfig",
    "UndoConfig",
    "RevealConfig",
    "TrainDetectorConfig",
    "ApplyDetectorConfig",
    "EvaluateConfig",
    "AutoLabelConfig",
    "CompareConfig",
    "NextConfig",
    "SimulateConfig",
    "CleanConfig",
)

__all__ = [*STEPS, *_CONFIGS, "UnseenError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in STEPS:
        return getattr(importlib.import_module(f"unseen.steps.{name}"), name)
    if name in _CONFIGS:
        return getattr(importlib.import_module("unseen.configs"), name)
    if name == "UnseenError":
        return importlib.import_module("unseen.errors").UnseenError
    raise AttributeError(f"module 'unseen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
