"""Labelled images -> batches of training crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unseen.arrays.boxes import as_boxes
from unseen.arrays.illumination import evened
from unseen.arrays.masks import BACKGROUND, covered_pixels, target_mask
from unseen.arrays.scope import check_scopes, scope_mask
from unseen.errors import ShapeError, TrainingError
from unseen.unet.outlier_exposure import IGNORE, PatchSource

Array = npt.NDArray[np.float32]

#: Largest radius of an unseen patch as a share of the image's shorter side, and of the crop.
_RADIUS_OF_IMAGE = 0.11
_RADIUS_OF_CROP = 0.3
#: Jitter of contrast; of brightness; and of brightness between a crop's middle and its edge, the
#: last two in standard deviations. Little, because the images are evenly lit already: it stands for
#: what the fitted planes leave.
_GAIN = (0.8, 1.25)
_OFFSET = 0.25
_SLOPE = 0.25


@dataclass(frozen=True)
class LabelledImages:
    """The images to learn from, with their masks.

    Attributes:
        images: each (h, w, C) float32, evenly lit at the level `mean`, about in [0, 1].
        targets: each (h, w) int64, 0 = background, 1 + k = class k, IGNORE = not labelled.
        pixels: each (N, 4) int64, what every box covers: left, top, right, bottom.
        labels: each (N,) int64 class indices.
        mean: (C,) of all pixels as they came.
        std: (C,) around `mean` of all pixels of the evenly lit images, at least one 8-bit step.
        scopes: each (N, 4) int64, the pixels of its rectangles where the image is labelled in part,
            as in `pixels`; None where it is labelled as a whole.
    """

    images: list[Array]
    targets: list[npt.NDArray[np.int64]]
    pixels: list[npt.NDArray[np.int64]]
    labels: list[npt.NDArray[np.int64]]
    mean: Array
    std: Array
    scopes: list[npt.NDArray[np.int64] | None] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        images: Sequence[Array],
        boxes: Sequence[npt.ArrayLike],
        labels: Sequence[npt.ArrayLike],
        *,
        class_count: int,
        scale: float,
        margin: float,
        scopes: Sequence[npt.ArrayLike | None] | None = None,
    ) -> LabelledImages:
        """Check the arguments, even out the light and compute the masks.

        See `fit_unet` for what the arguments mean.
        """
        if not images:
            raise TrainingError("there are no labelled images; label some before training")
        if not len(images) == len(boxes) == len(labels):
            raise ShapeError(
                f"{len(images)} images have {len(boxes)} lists of boxes and {len(labels)} of "
                "labels; expected as many"
            )
        check_scopes(scopes, len(images))
        found = cls([], [], [], [], np.zeros(0, np.float32), np.zeros(0, np.float32))
        for image, image_boxes, image_labels in zip(images, boxes, labels, strict=True):
            if image.ndim != 3 or not image.size or image.shape[2] != images[0].shape[2]:
                raise ShapeError(
                    f"an image has shape {image.shape}; expected "
                    f"(h, w, {images[0].shape[-1]}) with h and w > 0"
                )
            xyxy = as_boxes(image_boxes)
            classes = np.asarray(image_labels, dtype=np.int64).reshape(-1)
            if classes.size and not 0 <= classes.min() <= classes.max() < class_count:
                raise ShapeError(
                    f"class indices range from {classes.min()} to {classes.max()}; expected 0 to "
                    f"{class_count - 1}"
                )
            height, width = image.shape[:2]
            found.images.append(np.asarray(image, dtype=np.float32))
            found.targets.append(
                target_mask(xyxy, classes, height=height, width=width, scale=scale, margin=margin)
            )
            found.pixels.append(
                covered_pixels(xyxy, height=height, width=width, scale=scale, margin=margin)
            )
            found.labels.append(classes)
            scope = None if scopes is None else scopes[len(found.labels) - 1]
            found.scopes.append(_ignore_outside(scope, found.targets[-1], scale))
        mean = _mean(found.images)
        even = [_evened(image, mean) for image in found.images]
        std = _deviation(even, mean)
        return cls(even, found.targets, found.pixels, found.labels, mean, std, found.scopes)

    def mean_areas(self, class_count: int) -> list[float]:
        """Mean area of each class's enlarged boxes, px at working scale.

        A class without boxes gets the mean of all boxes; without any box at all it is 1.
        """
        pixels, labels = np.concatenate(self.pixels), np.concatenate(self.labels)
        area = (pixels[:, 2] - pixels[:, 0]) * (pixels[:, 3] - pixels[:, 1])
        typical = float(area.mean()) if area.size else 1.0
        means = (area[labels == k] for k in range(class_count))
        return [max(1.0, float(a.mean()) if a.size else typical) for a in means]


class CropSampler:
    """Random crops: half of them near a box, flipped, rotated, jittered, with unseen patches."""

    def __init__(
        self,
        data: LabelledImages,
        *,
        size: int,
        patches: PatchSource | None,
        patch_share: float,
        rng: np.random.Generator,
    ) -> None:
        """Prepare.

        Args:
            data: what to crop.
            size: side of the square crops, px.
            patches: where unseen patches come from; None pastes none.
            patch_share: share of crops with patches, in [0, 1].
            rng: source of all randomness.
        """
        self._data = data
        self._size = size
        self._patches = patches
        self._patch_share = patch_share
        self._rng = rng

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` crops: images (B, C, size, size) float32 and targets (B, size, size) int64."""
        crops = [self._crop() for _ in range(count)]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in crops])
        targets = np.stack([target for _, target in crops])
        return torch.from_numpy(images), torch.from_numpy(targets)

    def _crop(self) -> tuple[Array, npt.NDArray[np.int64]]:
        rng, data = self._rng, self._data
        i = int(rng.integers(len(data.images)))
        full_image, full_target = data.images[i], data.targets[i]
        centre = None
        if len(data.pixels[i]) and rng.uniform() < 0.5:
            left, top, right, bottom = data.pixels[i][int(rng.integers(len(data.pixels[i])))]
            centre = ((top + bottom) / 2, (left + right) / 2)
        elif data.scopes and (scope := data.scopes[i]) is not None and len(scope):
            # Anywhere else nothing might be known: the crop would be of no use.
            areas = (scope[:, 2:] - scope[:, :2]).prod(axis=1)
            left, top, right, bottom = scope[rng.choice(len(scope), p=areas / areas.sum())]
            centre = (rng.uniform(top, bottom), rng.uniform(left, right))
        rows = self._window(full_target.shape[0], None if centre is None else centre[0])
        columns = self._window(full_target.shape[1], None if centre is None else centre[1])
        image = full_image[rows[:, None], columns]
        target = full_target[rows[:, None], columns]
        # Beyond the image there is its reflection, which is not labelled again.
        target[full_target.shape[0] :] = IGNORE
        target[:, full_target.shape[1] :] = IGNORE
        if self._patches is not None and rng.uniform() < self._patch_share:
            side = min(full_target.shape)
            max_radius = min(_RADIUS_OF_IMAGE * side, _RADIUS_OF_CROP * self._size)
            self._patches.paste(image, target, max_radius=max_radius, rng=rng)
        image = self._jittered(image)
        turns = int(rng.integers(4))
        image, target = np.rot90(image, turns), np.rot90(target, turns)
        if rng.uniform() < 0.5:
            image, target = image[:, ::-1], target[:, ::-1]
        return image, target

    def _jittered(self, image: Array) -> Array:
        """Another contrast, brightness and illumination."""
        rng, data = self._rng, self._data
        gain = np.float32(rng.uniform(*_GAIN))
        offset = data.std * np.float32(rng.uniform(-_OFFSET, _OFFSET))
        ramp = np.linspace(-1, 1, self._size, dtype=np.float32)
        down, across = rng.uniform(-_SLOPE, _SLOPE, 2).astype(np.float32)
        slope = (down * ramp[:, None] + across * ramp)[:, :, None] * data.std
        return np.asarray((image - data.mean) * gain + (data.mean + offset) + slope)

    def _window(self, length: int, centre: float | None) -> npt.NDArray[np.int64]:
        """The `size` rows of a crop; those beyond a small image come from its reflection."""
        size = self._size
        if length <= size:
            return np.pad(np.arange(length), (0, size - length), "symmetric")
        last = length - size
        if centre is None:
            start = int(self._rng.integers(last + 1))
        else:
            start = int(np.clip(centre + self._rng.uniform(-0.75, -0.25) * size, 0, last))
        return np.arange(start, start + size)


def _ignore_outside(
    scope: npt.ArrayLike | None, target: npt.NDArray[np.int64], scale: float
) -> npt.NDArray[np.int64] | None:
    """Let what nobody looked at be no background; the scope's pixels, None for the whole image."""
    if scope is None:
        return None
    height, width = target.shape
    is_out = ~scope_mask(scope, height=height, width=width, scale=scale)
    if not is_out.any():
        return None
    target[is_out & (target == BACKGROUND)] = IGNORE
    pixels = covered_pixels(scope, height=height, width=width, scale=scale, margin=0.0)
    return np.asarray(pixels[(pixels[:, 2:] > pixels[:, :2]).all(axis=1)])


def _mean(images: Sequence[Array]) -> Array:
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    total = sum(image.sum(axis=(0, 1), dtype=np.float64) for image in images)
    return np.asarray(total / pixels, dtype=np.float32)


def _evened(image: Array, mean: Array) -> Array:
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    even = evened(planes, torch.from_numpy(mean))[0].numpy()
    return np.ascontiguousarray(even.transpose(1, 2, 0))


def _deviation(images: Sequence[Array], mean: Array) -> Array:
    pixels = sum(image.shape[0] * image.shape[1] for image in images)
    square = sum(((image - mean) ** 2).sum(axis=(0, 1), dtype=np.float64) for image in images)
    variance = np.asarray(np.maximum(square / pixels, (1 / 255) ** 2))
    return np.asarray(np.sqrt(variance), dtype=np.float32)
