"""What a report is made of, beside the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unseen.errors import ShapeError

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class BatchPicture:
    """One image of a ranked batch.

    Boxes are (x1, y1, x2, y2) relative to the image, in [0, 1].
    """

    batch: str  #: name of the batch, such as "batch_01"
    iteration: int  #: the iteration that the batch makes
    rank: int  #: 1 = label first
    filepath: str
    sample_id: str
    metric_name: str  #: the image metric that ranked, such as "excess"
    metric_value: float | None
    heatmap: np.ndarray | None = None  #: (h, w) uint8: unseen score, 255 = `full_scale`
    full_scale: float | None = None  #: the unseen score that is drawn at full strength
    regions: Sequence[tuple[Box, float | None]] = field(default=())  #: unseen regions: box, score
    boxes: Sequence[tuple[Box, str]] = field(default=())  #: what was then labelled: box, class
    excluded: str = ""  #: why the image is left out of training, if it is

    def __post_init__(self) -> None:
        if self.heatmap is not None and (
            self.heatmap.ndim != 2 or self.heatmap.dtype != np.uint8 or self.heatmap.size == 0
        ):
            raise ShapeError(
                f"heatmap of {self.filepath} is {self.heatmap.dtype} {self.heatmap.shape}; "
                "expected uint8 (h, w) with h * w > 0"
            )


@dataclass(frozen=True)
class ReportFiles:
    """What `write_report` wrote."""

    html: Path
    pictures: list[Path]
    tables: list[Path]  #: the tables as text and as Markdown
