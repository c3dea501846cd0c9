"""Labelled images as a detector trains on them: resized once, kept in memory, varied each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unseen.arrays.scope import outside
from unseen.detector.faster_rcnn import DetectorSpec

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


class Labelled(NamedTuple):
    """One training image as the detector sees it."""

    pixels: Tensor  #: (3, H, W) float32
    xyxy: Tensor  #: (N, 4) float32 px
    labels: Tensor  #: (N,) int64 from 1
    scope: Tensor | None = None  #: (M, 4) float32 xyxy px, the labelled part; None: the whole image

    def target(self, device: torch.device) -> dict[str, Tensor]:
        """What torchvision's detectors and CenterNet are given to train on.

        `boxes` and `labels`; where a part of the image is not labelled also `unknown`, what lies
        neither in the scope nor in a box, as (K, 4) xyxy px of rectangles that do not overlap.
        """
        target = {"boxes": self.xyxy.to(device), "labels": self.labels.to(device)}
        if self.scope is not None:
            height, width = self.pixels.shape[-2:]
            # Of an object that sticks out, all is known: a piece of it is not the object.
            known = torch.cat([self.scope, self.xyxy]).numpy()
            unknown = outside(known, height=height, width=width)
            target["unknown"] = torch.from_numpy(unknown).to(device)
        return target


class TrainingSet:
    """Images at the detector's scale, with boxes to match.

    Args:
        images: of (H, W, 3) float32 in [0, 1] at native scale; each is read once if memory allows.
        boxes: per image (N, 4) xyxy px at native scale.
        labels: per image (N,) class indices from 0.
        spec: says how large images are inside the detector.
        scopes: per image its labelled rectangles, (N, 4) xyxy px at native scale, or None for all
            of it.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        spec: DetectorSpec,
        scopes: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        self._images, self._boxes, self._labels, self._spec = images, boxes, labels, spec
        self._scopes = scopes
        self._kept: dict[int, Labelled] = {}
        self._free = CACHE_BYTES

    def __getitem__(self, index: int) -> Labelled:
        if index not in self._kept:
            found = self._load(index)
            self._keep(index, found)
            return found
        kept = self._kept[index]
        return kept._replace(pixels=kept.pixels.float().expand(3, -1, -1))

    def _load(self, index: int) -> Labelled:
        image = np.ascontiguousarray(self._images[index], dtype=np.float32)
        pixels, scale = resize(torch.from_numpy(image).permute(2, 0, 1), self._spec)
        factors = torch.tensor([scale[1], scale[0], scale[1], scale[0]])
        xyxy, labels = _valid(self._boxes[index], self._labels[index], image.shape[:2])
        xyxy *= factors
        thick = (xyxy[:, 2:] - xyxy[:, :2]).amin(1) >= MIN_SIDE
        scope = self._scope(index, image.shape[:2])
        if scope is not None:
            scope *= factors
        return Labelled(pixels, xyxy[thick], labels[thick], scope)

    def _scope(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """At native scale; None where it is the whole image."""
        given = None if self._scopes is None else self._scopes[index]
        if given is None or not len(outside(given, height=size[0], width=size[1])):
            return None
        return _valid(given, np.zeros(len(given)), size)[0]

    def _keep(self, index: int, found: Labelled) -> None:
        # Half precision resolves 1/2048 of the range; grey needs one channel.
        pixels = found.pixels
        is_grey = bool((pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all())
        small = (pixels[:1] if is_grey else pixels).half()
        if small.nbytes <= self._free:
            self._free -= small.nbytes
            self._kept[index] = found._replace(pixels=small)


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


def zoom(found: Labelled, rng: np.random.Generator) -> Labelled:
    """Stretch both axes by factors of their own, and crop what became larger than the image.

    From a few examples of a class, that makes others of other sizes and, of lines, other angles.

    Args:
        found: of (3, H, W).
        rng: draws factors and places.

    Returns:
        At most (3, H, W); boxes clipped to it, without those that are mostly cut off; the scope
        clipped to it. Where nothing of the scope would be left, the image as it came.
    """
    pixels, xyxy, labels, scope = found
    before = pixels.shape[-2:]
    low, high = ZOOM
    factors = np.exp(rng.uniform(np.log(low), np.log(high), 2))
    after = [max(1, round(side * float(f))) for side, f in zip(before, factors, strict=True)]
    is_grey = pixels.stride(0) == 0
    source = pixels[:1] if is_grey else pixels
    stretched = functional.interpolate(source[None], after, mode="bilinear", align_corners=False)[0]
    stretch = torch.tensor([after[1] / before[1], after[0] / before[0]] * 2)
    xyxy = xyxy * stretch
    height, width = min(after[0], before[0]), min(after[1], before[1])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1)
    best, fewest = (0, 0, xyxy, torch.ones_like(area)), len(xyxy) + 1
    for _ in range(CROP_TRIES):
        top = int(rng.integers(after[0] - height + 1))
        left = int(rng.integers(after[1] - width + 1))
        clipped = _moved(xyxy, left, top, width, height)
        share = (clipped[:, 2:] - clipped[:, :2]).prod(1) / area
        cut = int(((share > 0.01) & (share < 0.99)).sum())
        if cut < fewest:
            best, fewest = (top, left, clipped, share), cut
    top, left, clipped, share = best
    if scope is not None:
        scope = _moved(scope * stretch, left, top, width, height)
        scope = scope[(scope[:, 2:] > scope[:, :2]).all(1)]
        if not len(scope):
            return found
    crop = stretched[:, top : top + height, left : left + width].expand(3, -1, -1)
    is_visible = share >= VISIBLE
    return Labelled(crop, clipped[is_visible], labels[is_visible], scope)


def augment(found: Labelled, rng: np.random.Generator) -> Labelled:
    """Mirror, turn by quarters, and shift brightness and contrast a little.

    Args:
        found: of (3, H, W) in [0, 1].
        rng: draws the variation.
    """
    pixels, xyxy, labels, scope = found
    height, width = pixels.shape[-2:]
    together = xyxy if scope is None else torch.cat([xyxy, scope])
    x1, y1, x2, y2 = together.unbind(1)
    if rng.random() < 0.5:
        pixels, (x1, x2) = pixels.flip(-1), (width - x2, width - x1)
    if rng.random() < 0.5:
        pixels, (y1, y2) = pixels.flip(-2), (height - y2, height - y1)
    if rng.random() < 0.5:
        pixels, (x1, y1, x2, y2) = pixels.transpose(-1, -2), (y1, x1, y2, x2)
    gain, offset = rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1)
    together = torch.stack([x1, y1, x2, y2], 1)
    moved = None if scope is None else together[len(xyxy) :]
    return Labelled(pixels * gain + offset, together[: len(xyxy)], labels, moved)


def _moved(xyxy: Tensor, left: int, top: int, width: int, height: int) -> Tensor:
    """Boxes in px of a crop, clipped to it."""
    clipped = xyxy - torch.tensor([left, top] * 2)
    clipped[:, 0::2].clamp_(0, width)
    clipped[:, 1::2].clamp_(0, height)
    return clipped


def _valid(boxes: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes clipped to the image; those without area or with NaN are left out."""
    height, width = size
    xyxy = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    xyxy = np.clip(xyxy, 0, np.asarray([width, height, width, height], dtype=np.float32))
    has_area = np.isfinite(xyxy).all(1) & (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    names = np.asarray(labels, dtype=np.int64).reshape(-1)[has_area] + 1
    return torch.from_numpy(xyxy[has_area]), torch.from_numpy(names)
