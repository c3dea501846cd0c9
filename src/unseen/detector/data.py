"""Labelled images as a detector trains on them: resized once, kept in memory, varied each time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_area, clip_boxes_to_image

from unseen.arrays.boxes import clean_boxes
from unseen.arrays.scope import outside, without
from unseen.detector.models import DetectorSpec
from unseen.detector.tiles import MIN_SIDE

#: Resized images are kept up to this many bytes; beyond it they are read again each time.
CACHE_BYTES = 1_000_000_000
#: Range of the factors by which width and height of a training image are stretched.
ZOOM = (0.75, 1.35)
#: Random places tried for the crop of an enlarged image, to cut as few objects as possible.
CROP_TRIES = 3
#: Share of the tiles of an image that are chosen around one of its objects.
OBJECTS = 0.8
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

        `boxes` and `labels`; for a partially labelled image also `unknown`, what lies neither in
        the scope nor in a box, as (K, 4) xyxy px of rectangles that do not overlap.
        """
        target = {"boxes": self.xyxy.to(device), "labels": self.labels.to(device)}
        if self.scope is not None:
            height, width = self.pixels.shape[-2:]
            # An object that sticks out is known as a whole: a piece of it is not the object.
            known = torch.cat([self.scope, self.xyxy]).numpy()
            unknown = outside(known, height=height, width=width)
            target["unknown"] = torch.from_numpy(unknown).to(device)
        return target


class TrainingSet:
    """The arguments of `fit_detector` at the detector's scale, read once if memory allows."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        spec: DetectorSpec,
        scopes: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        self._images, self._boxes, self._labels, self._spec = images, boxes, labels, spec
        self._scopes = scopes or [None] * len(images)
        self._kept: dict[int, Labelled] = {}
        self._free = CACHE_BYTES

    def __getitem__(self, index: int) -> Labelled:
        if index in self._kept:
            kept = self._kept[index]
            return kept._replace(pixels=kept.pixels.float().expand(3, -1, -1))
        one = self._load(index)
        # Half precision resolves 1/2048 of the range; grey needs one channel.
        is_grey = bool((one.pixels == one.pixels[:1]).all())
        small = (one.pixels[:1] if is_grey else one.pixels).half()
        if small.nbytes <= self._free:
            self._free -= small.nbytes
            self._kept[index] = one._replace(pixels=small)
        return one

    def _load(self, index: int) -> Labelled:
        image = np.ascontiguousarray(self._images[index], dtype=np.float32)
        height, width = image.shape[:2]
        pixels = resize(torch.from_numpy(image).permute(2, 0, 1), self._spec)
        across, down = pixels.shape[-1] / width, pixels.shape[-2] / height
        factors = torch.tensor([across, down, across, down])
        usable, names, _ = clean_boxes(self._boxes[index], self._labels[index], width, height)
        xyxy = torch.from_numpy(usable) * factors
        is_thick = (xyxy[:, 2:] - xyxy[:, :2]).amin(1) >= MIN_SIDE
        labels = torch.from_numpy(names.astype(np.int64)) + 1
        # What is too thin to be learned is no background either.
        thin = usable[~is_thick.numpy()]
        scope = without(self._scopes[index], thin, height=height, width=width)
        part = None
        if scope is not None and len(outside(scope, height=height, width=width)):
            clean, _, _ = clean_boxes(scope, np.zeros(len(scope)), width, height)
            part = torch.from_numpy(clean) * factors
        return Labelled(pixels, xyxy[is_thick], labels[is_thick], part)


def resize(pixels: Tensor, spec: DetectorSpec) -> Tensor:
    """Scale a (C, H, W) image to what the network sees, as torchvision's transform does."""
    height, width = pixels.shape[-2:]
    scale = spec.scale_of(height, width)
    # The tolerance keeps rounding from taking a px off an exact size.
    size = [max(1, math.floor(side * scale + 1e-4)) for side in (height, width)]
    if size == [height, width]:
        return pixels
    return functional.interpolate(pixels[None], size, mode="bilinear", align_corners=False)[0]


def tile(one: Labelled, side: int, rng: np.random.Generator) -> Labelled:
    """A window of at most `side` px of an image, mostly with one of its objects, whole if it fits."""
    height, width = one.pixels.shape[-2:]
    size = min(side, height), min(side, width)
    if size == (height, width):
        return one
    everywhere = torch.tensor([[0.0, 0.0, width, height]])

    def place(among: Tensor) -> tuple[int, int]:
        x1, y1, x2, y2 = among[int(rng.integers(len(among)))].tolist()
        top, left = (
            # Between the windows that end where it ends, and that begin where it begins.
            np.clip(rng.uniform(*sorted((first, last - span))), 0, length - span)
            for first, last, span, length in ((y1, y2, size[0], height), (x1, x2, size[1], width))
        )
        return round(top), round(left)

    known = everywhere if one.scope is None else one.scope
    about = [
        one.xyxy if len(one.xyxy) and rng.random() < OBJECTS else known for _ in range(CROP_TRIES)
    ]
    return _crop(one, [place(a) for a in about], size) or _crop(one, [place(known)], size) or one


def zoom(one: Labelled, rng: np.random.Generator) -> Labelled:
    """Stretch both axes by factors of their own, and crop what became larger than the image.

    From a few examples of a class this makes others of other sizes and, of lines, other angles.
    Boxes and scope are clipped to the crop; boxes that are mostly cut off leave. If nothing of the
    scope would be left, the image stays as it is.
    """
    pixels = one.pixels
    before = pixels.shape[-2:]
    low, high = ZOOM
    factors = np.exp(rng.uniform(np.log(low), np.log(high), 2))
    after = [max(1, round(side * float(f))) for side, f in zip(before, factors, strict=True)]
    is_grey = pixels.stride(0) == 0
    source = pixels[:1] if is_grey else pixels
    stretched = functional.interpolate(source[None], after, mode="bilinear", align_corners=False)[0]
    stretch = torch.tensor([after[1] / before[1], after[0] / before[0]] * 2)
    size = height, width = min(after[0], before[0]), min(after[1], before[1])
    places = [
        (int(rng.integers(after[0] - height + 1)), int(rng.integers(after[1] - width + 1)))
        for _ in range(CROP_TRIES)
    ]
    scope = None if one.scope is None else one.scope * stretch
    larger = Labelled(stretched.expand(3, -1, -1), one.xyxy * stretch, one.labels, scope)
    return _crop(larger, places, size) or one


def _crop(
    one: Labelled, places: Sequence[tuple[int, int]], size: tuple[int, int]
) -> Labelled | None:
    """The crop at the (top, left) that cuts the fewest objects; None if none of the scope is left."""
    pixels, xyxy, labels, scope = one
    clipped = [_cropped(xyxy, top, left, size) for top, left in places]
    shares = [box_area(boxes) / box_area(xyxy) for boxes in clipped]
    cuts = [int(((share > 0.01) & (share < 0.99)).sum()) for share in shares]
    best = int(np.argmin(cuts))
    top, left = places[best]
    if scope is not None:
        scope = _cropped(scope, top, left, size)
        scope = scope[(scope[:, 2:] > scope[:, :2]).all(1)]
        if not len(scope):
            return None
    is_visible = shares[best] >= VISIBLE
    crop = pixels[:, top : top + size[0], left : left + size[1]]
    return Labelled(crop, clipped[best][is_visible], labels[is_visible], scope)


def augment(one: Labelled, rng: np.random.Generator) -> Labelled:
    """Mirror, turn by quarters, and shift brightness and contrast a little."""
    pixels, xyxy, labels, scope = one
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


def _cropped(xyxy: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """Boxes in px of a crop, clipped to it."""
    clipped: Tensor = clip_boxes_to_image(xyxy - torch.tensor([left, top] * 2), size)
    return clipped


def image_order(
    labels: Sequence[npt.ArrayLike], rng: np.random.Generator, balance: float | None
) -> Iterator[int]:
    """Images to train on, pass after pass, for ever: each once per pass, or by `repeat_factors`."""
    factors = None if balance is None else repeat_factors(labels, balance)
    while True:
        if factors is None:
            yield from rng.permutation(len(labels)).tolist()
        else:
            yield from repeated_pass(factors, rng).tolist()


def repeat_factors(labels: Sequence[npt.ArrayLike], threshold: float) -> npt.NDArray[np.float64]:
    """How often each image is to be seen per pass, (N,) at least 1.

    Gupta, Dollar & Girshick 2019, "LVIS: A Dataset for Large Vocabulary Instance Segmentation",
    section 5.2: with f_c the share of images that hold class c, max(1, sqrt(threshold / f_c)) of
    the image's rarest class. Takes each image's class indices and a threshold in (0, 1]; LVIS has
    0.001 for a thousand classes, a handful needs about 0.5.
    """
    held = [np.unique(np.asarray(of_image, dtype=np.int64).reshape(-1)) for of_image in labels]
    factors = np.ones(len(held))
    classes, images = np.unique(np.concatenate(held or [np.zeros(0, int)]), return_counts=True)
    per_class = np.maximum(1, np.sqrt(threshold * len(held) / images))
    for index, of_image in enumerate(held):
        if len(of_image):
            factors[index] = per_class[np.searchsorted(classes, of_image)].max()
    return factors


def repeated_pass(
    factors: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The order of one pass in which image i appears factors[i] times on average.

    Each image appears the whole part of its factor, and once more with the rest as probability, so
    that the mean over passes is exact.
    """
    whole = np.floor(factors)
    times = (whole + (rng.random(len(factors)) < factors - whole)).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(len(factors)), times))
