"""Labelled images as a detector trains on them: resized once, kept in memory, varied each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unseen.science.faster_rcnn import DetectorSpec

#: Resized images are kept up to this many bytes; beyond it they are read again each time.
CACHE_BYTES = 1_000_000_000
#: Boxes thinner than this inside the detector, in px, have nothing to learn from.
MIN_SIDE = 1.0

#: Factors by which width and height of a training image are drawn out or pressed together.
ZOOM = (0.75, 1.35)
#: Places tried for the crop of an enlarged image, to cut as few objects as possible.
CROP_TRIES = 3
#: Objects of which less than this share of the box is left by a crop are left out.
VISIBLE = 0.5

Labelled = tuple[Tensor, Tensor, Tensor]  # (3, H, W) float32, (N, 4) float32 xyxy, (N,) int64


class TrainingSet:
    """Images at the detector's scale, with boxes to match.

    Args:
        images: of (H, W, 3) float32 in [0, 1] at native scale; each is read once if memory allows.
        boxes: per image (N, 4) xyxy px at native scale.
        labels: per image (N,) class indices from 0.
        spec: says how large images are inside the detector.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        spec: DetectorSpec,
    ) -> None:
        self._images, self._boxes, self._labels, self._spec = images, boxes, labels, spec
        self._kept: dict[int, Labelled] = {}
        self._free = CACHE_BYTES

    def __getitem__(self, index: int) -> Labelled:
        if index in self._kept:
            pixels, xyxy, labels = self._kept[index]
            return pixels.float().expand(3, -1, -1), xyxy, labels
        pixels, xyxy, labels = self._load(index)
        self._keep(index, pixels, xyxy, labels)
        return pixels, xyxy, labels

    def _load(self, index: int) -> Labelled:
        image = np.ascontiguousarray(self._images[index], dtype=np.float32)
        pixels, scale = resize(torch.from_numpy(image).permute(2, 0, 1), self._spec)
        xyxy, labels = _valid(self._boxes[index], self._labels[index], image.shape[:2])
        xyxy *= torch.tensor([scale[1], scale[0], scale[1], scale[0]])
        thick = (xyxy[:, 2:] - xyxy[:, :2]).amin(1) >= MIN_SIDE
        return pixels, xyxy[thick], labels[thick]

    def _keep(self, index: int, pixels: Tensor, xyxy: Tensor, labels: Tensor) -> None:
        # Half precision resolves 1/2048 of the range; grey needs one channel.
        is_grey = bool((pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all())
        small = (pixels[:1] if is_grey else pixels).half()
        if small.nbytes <= self._free:
            self._free -= small.nbytes
            self._kept[index] = (small, xyxy, labels)


def resize(pixels: Tensor, spec: DetectorSpec) -> tuple[Tensor, tuple[float, float]]:
    """Scale as torchvision's `GeneralizedRCNNTransform` does at inference.

    Args:
        pixels: (C, H, W).
        spec: its `image_size` and `shortest_side`.

    Returns:
        (C, H', W'), and the factors of height and width.
    """
    height, width = pixels.shape[-2:]
    shortest = spec.shortest_side or spec.image_size
    scale = min(shortest / min(height, width), spec.image_size / max(height, width))
    if scale == 1:
        return pixels, (1.0, 1.0)
    resized = functional.interpolate(
        pixels[None],
        scale_factor=scale,
        mode="bilinear",
        recompute_scale_factor=True,
        align_corners=False,
    )[0]
    return resized, (resized.shape[-2] / height, resized.shape[-1] / width)


def zoom(pixels: Tensor, xyxy: Tensor, labels: Tensor, rng: np.random.Generator) -> Labelled:
    """Stretch both axes by factors of their own, and crop what became larger than the image.

    From a few examples of a class, that makes others of other sizes and, of lines, other angles.

    Args:
        pixels: (3, H, W).
        xyxy: (N, 4) px.
        labels: (N,).
        rng: draws factors and places.

    Returns:
        At most (3, H, W); boxes clipped to it, without those that are mostly cut off.
    """
    before = pixels.shape[-2:]
    low, high = ZOOM
    factors = np.exp(rng.uniform(np.log(low), np.log(high), 2))
    after = [max(1, round(side * float(f))) for side, f in zip(before, factors, strict=True)]
    is_grey = pixels.stride(0) == 0
    source = pixels[:1] if is_grey else pixels
    stretched = functional.interpolate(source[None], after, mode="bilinear", align_corners=False)[0]
    xyxy = xyxy * torch.tensor([after[1] / before[1], after[0] / before[0]] * 2)
    height, width = min(after[0], before[0]), min(after[1], before[1])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1)
    best, fewest = (0, 0, xyxy, torch.ones_like(area)), len(xyxy) + 1
    for _ in range(CROP_TRIES):
        top = int(rng.integers(after[0] - height + 1))
        left = int(rng.integers(after[1] - width + 1))
        clipped = xyxy - torch.tensor([left, top] * 2)
        clipped[:, 0::2].clamp_(0, width)
        clipped[:, 1::2].clamp_(0, height)
        share = (clipped[:, 2:] - clipped[:, :2]).prod(1) / area
        cut = int(((share > 0.01) & (share < 0.99)).sum())
        if cut < fewest:
            best, fewest = (top, left, clipped, share), cut
    top, left, clipped, share = best
    crop = stretched[:, top : top + height, left : left + width].expand(3, -1, -1)
    is_visible = share >= VISIBLE
    return crop, clipped[is_visible], labels[is_visible]


def augment(pixels: Tensor, xyxy: Tensor, labels: Tensor, rng: np.random.Generator) -> Labelled:
    """Mirror, turn by quarters, and shift brightness and contrast a little.

    Args:
        pixels: (3, H, W) in [0, 1].
        xyxy: (N, 4) px.
        labels: (N,).
        rng: draws the variation.
    """
    height, width = pixels.shape[-2:]
    x1, y1, x2, y2 = xyxy.unbind(1)
    if rng.random() < 0.5:
        pixels, (x1, x2) = pixels.flip(-1), (width - x2, width - x1)
    if rng.random() < 0.5:
        pixels, (y1, y2) = pixels.flip(-2), (height - y2, height - y1)
    if rng.random() < 0.5:
        pixels, (x1, y1, x2, y2) = pixels.transpose(-1, -2), (y1, x1, y2, x2)
    gain, offset = rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1)
    return pixels * gain + offset, torch.stack([x1, y1, x2, y2], 1), labels


def _valid(boxes: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes clipped to the image; those without area or with NaN are left out."""
    height, width = size
    xyxy = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    xyxy = np.clip(xyxy, 0, np.asarray([width, height, width, height], dtype=np.float32))
    has_area = np.isfinite(xyxy).all(1) & (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    names = np.asarray(labels, dtype=np.int64).reshape(-1)[has_area] + 1
    return torch.from_numpy(xyxy[has_area]), torch.from_numpy(names)
