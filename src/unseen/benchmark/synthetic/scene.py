"""A picture under construction: a background, and the marks that are drawn on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: Smallest change that a mark makes to a pixel, in grey levels. Weaker parts of a mark are left
#: out, so that rounding to 8 bits can neither hide a marked pixel nor change an unmarked one.
MIN_CHANGE = 1.0


@dataclass(frozen=True)
class SyntheticImage:
    """One generated picture with its complete labels.

    Attributes:
        pixels: (H, W) uint8.
        xyxy: (N, 4) float32, px; the tightest boxes around the drawn marks.
        labels: N class names, in the order of the boxes.
        background: (H, W) uint8, the same picture without any mark.
    """

    pixels: np.ndarray
    xyxy: np.ndarray
    labels: list[str]
    background: np.ndarray


@dataclass
class Scene:
    """Collects marks on a background.

    Attributes:
        background: (H, W) float grey levels; values between 2 and 253 leave room for marks.
    """

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
        """Draw one mark.

        Args:
            label: its class.
            change: (h, w) float grey levels to add; what lies outside the picture is cut off.
            top: row of the window in the picture, px; may be negative.
            left: column of the window, px; may be negative.

        Returns:
            False, with nothing drawn, where no pixel inside the picture changes by `MIN_CHANGE`.
        """
        height, width = self.shape
        rows = slice(max(0, -top), max(0, min(change.shape[0], height - top)))
        columns = slice(max(0, -left), max(0, min(change.shape[1], width - left)))
        inside = change[rows, columns]
        inside = np.where(np.abs(inside) >= MIN_CHANGE, inside, 0.0)
        marked_rows = np.flatnonzero(inside.any(axis=1))
        marked_columns = np.flatnonzero(inside.any(axis=0))
        if marked_rows.size == 0:
            return False
        top, left = top + rows.start, left + columns.start
        self._change[top : top + inside.shape[0], left : left + inside.shape[1]] += inside
        box = (
            left + int(marked_columns[0]),
            top + int(marked_rows[0]),
            left + int(marked_columns[-1]) + 1,
            top + int(marked_rows[-1]) + 1,
        )
        self._boxes.append(box)
        self._labels.append(label)
        return True

    def is_free(self, box: tuple[float, float, float, float], gap: float = 3.0) -> bool:
        """Whether `box` (x1, y1, x2, y2 in px) keeps a distance of `gap` px to all marks so far."""
        x1, y1, x2, y2 = box
        return not any(
            x1 - gap < right and left < x2 + gap and y1 - gap < bottom and top < y2 + gap
            for left, top, right, bottom in self._boxes
        )

    def render(self) -> SyntheticImage:
        """The finished picture."""
        pixels = np.clip(np.rint(self.background + self._change), 0, 255).astype(np.uint8)
        return SyntheticImage(
            pixels=pixels,
            xyxy=np.asarray(self._boxes, dtype=np.float32).reshape(-1, 4),
            labels=list(self._labels),
            background=self.background.astype(np.uint8),
        )
