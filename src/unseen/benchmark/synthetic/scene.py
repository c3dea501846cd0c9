"""An image under construction: a background, and the marks drawn on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Smallest change of a pixel by a mark, in grey levels. Weaker parts of a mark are left out, so that
#: rounding to 8 bits neither hides a marked pixel nor changes an unmarked one.
MIN_CHANGE = 1.0


@dataclass(frozen=True)
class Stage:
    """Where in the story of its pool an image stands."""

    size: int  #: side of the image, px
    drift: float  #: state of the process, in [0, 1]
    rare: frozenset[str]  #: rare classes to show
    is_late: bool  #: whether the late variant of a common class may appear
    design: int  #: number of the die's layout, the same for a whole pool


@dataclass(frozen=True)
class SyntheticImage:
    """One generated image with its complete labels."""

    pixels: np.ndarray  #: (H, W) uint8
    xyxy: np.ndarray  #: (N, 4) float32, px; the tightest boxes around the marks
    labels: list[str]  #: N class names, in the order of the boxes
    background: np.ndarray  #: (H, W) uint8, the same image without marks


@dataclass
class Scene:
    """Collects marks on a background of (H, W) float grey levels, clipped to 2 - 253."""

    background: np.ndarray
    _change: np.ndarray = field(init=False)
    _boxes: list[tuple[int, int, int, int]] = field(init=False, default_factory=list)
    _labels: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        # Rounded first: a change of at least one level then always shows in 8 bits.
        self.background = np.clip(np.rint(self.background), 2, 253)
        self._change = np.zeros_like(self.background)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in px."""
        height, width = self.background.shape
        return height, width

    def add(self, label: str, change: np.ndarray, top: int = 0, left: int = 0) -> bool:
        """Draw one mark: add grey levels (h, w) in a window at (top, left) px.

        Whatever lies outside the image is cut off. Returns False, with nothing drawn, if no pixel
        inside the image changes by `MIN_CHANGE`.
        """
        height, width = self.shape
        rows = slice(max(0, -top), max(0, min(change.shape[0], height - top)))
        columns = slice(max(0, -left), max(0, min(change.shape[1], width - left)))
        inside = change[rows, columns]
        inside = np.where(np.abs(inside) >= MIN_CHANGE, inside, 0.0)
        ys, xs = np.nonzero(inside)
        if not len(ys):
            return False
        top, left = top + rows.start, left + columns.start
        self._change[top : top + inside.shape[0], left : left + inside.shape[1]] += inside
        x1, y1, x2, y2 = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        self._boxes.append((left + x1, top + y1, left + x2, top + y2))
        self._labels.append(label)
        return True

    def is_free(self, box: tuple[float, float, float, float]) -> bool:
        """Whether `box` (x1, y1, x2, y2 in px) keeps a distance of 3 px to all marks so far."""
        x1, y1, x2, y2 = box
        gap = 3
        return not any(
            x1 - gap < right and left < x2 + gap and y1 - gap < bottom and top < y2 + gap
            for left, top, right, bottom in self._boxes
        )

    def render(self) -> SyntheticImage:
        """The finished image."""
        pixels = np.clip(np.rint(self.background + self._change), 0, 255).astype(np.uint8)
        return SyntheticImage(
            pixels=pixels,
            xyxy=np.asarray(self._boxes, dtype=np.float32).reshape(-1, 4),
            labels=list(self._labels),
            background=self.background.astype(np.uint8),
        )
