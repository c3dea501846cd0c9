"""Labelled images -> batches of training crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unseen.arrays.boxes import as_boxes, check_labelled, has_area
from unseen.arrays.illumination import fit_plane, plane_at, positions
from unseen.arrays.image_store import ImageStore
from unseen.arrays.images import Pixels, as_channels, as_float
from unseen.arrays.masks import BACKGROUND, covered_pixels, largest_first, painted
from unseen.arrays.scope import check_scopes, scope_mask
from unseen.errors import ShapeError, TrainingError
from unseen.unet.outlier_exposure import IGNORE, PatchSource

Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

#: Largest radius of an unseen patch as a share of the image's shorter side, and of the crop.
_RADIUS_OF_IMAGE = 0.11
_RADIUS_OF_CROP = 0.3
#: Jitter of contrast, of brightness, and of the slope of brightness from a crop's middle to its
#: edge; the last two in standard deviations. Weak, because the images are evenly lit already: it
#: stands for what the fitted planes leave.
_GAIN = (0.8, 1.25)
_OFFSET = 0.25
_SLOPE = 0.25


@dataclass(frozen=True)
class LabelledImages:
    """The training images as they are kept, and what is labelled in them; crops are made from it."""

    read: Callable[[int], Pixels]  #: (h, w, 1 or C), see `as_float`
    sizes: list[tuple[int, int]]  #: (h, w)
    planes: list[Array]  #: (C, 3), `fit_plane` of each image
    pixels: list[
        IntArray
    ]  #: (N, 4), what every box covers, the smallest last: left, top, right, bottom
    labels: list[IntArray]  #: (N,) class indices
    scopes: list[IntArray | None]  #: (N, 4), what the scope covers likewise; None: the whole image
    mean: Array  #: (C,) of all pixels as they came
    std: Array  #: (C,) around `mean`, of the evenly lit images; at least one 8-bit step

    @classmethod
    def of(
        cls,
        images: Sequence[Pixels],
        boxes: Sequence[npt.ArrayLike],
        labels: Sequence[npt.ArrayLike],
        *,
        class_count: int,
        scale: float,
        margin: float,
        channels: int | None = None,
        scopes: Sequence[npt.ArrayLike | None] | None = None,
    ) -> LabelledImages:
        """Check the arguments of `fit_unet`, and see what the boxes cover and how images are lit."""
        if not images:
            raise TrainingError("there are no labelled images; label some before training")
        check_labelled(len(images), boxes, labels, class_count)
        check_scopes(scopes, len(images))
        read = images.pixels if isinstance(images, ImageStore) else images.__getitem__
        sizes, planes, all_pixels, all_classes, all_scopes = [], [], [], [], []
        total, squares = np.zeros(1), np.zeros(1)
        for i, scope in enumerate(scopes or [None] * len(images)):
            image = read(i)
            channels = channels or image.shape[-1]
            if image.ndim != 3 or not image.size or image.shape[2] not in (1, channels):
                raise ShapeError(
                    f"an image has shape {image.shape}; expected (h, w, {channels}) with h and w > 0"
                )
            xyxy = as_boxes(boxes[i])
            classes = np.asarray(labels[i], dtype=np.int64).reshape(-1)
            height, width = image.shape[:2]
            size = {"height": height, "width": width, "scale": scale}
            scope_pixels = None
            if scope is not None and not scope_mask(scope, **size).all():
                scope_pixels = covered_pixels(scope, margin=0.0, **size)
                scope_pixels = scope_pixels[has_area(scope_pixels)]
            order = largest_first(xyxy)
            sizes.append((height, width))
            all_pixels.append(covered_pixels(xyxy, margin=margin, **size)[order])
            all_classes.append(classes[order])
            all_scopes.append(scope_pixels)
            values = torch.from_numpy(as_float(as_channels(image, channels))).permute(2, 0, 1)[None]
            plane = fit_plane(values)
            planes.append(plane[0].float().numpy())
            total = total + values.sum(dim=(0, 2, 3), dtype=torch.float64).numpy()
            values = values - plane_at(plane, positions(height), positions(width))
            squares = squares + values.square().sum(dim=(0, 2, 3), dtype=torch.float64).numpy()
        count = sum(height * width for height, width in sizes)
        std = np.sqrt(np.maximum(squares / count, (1 / 255) ** 2)).astype(np.float32)
        mean = (total / count).astype(np.float32)
        return cls(read, sizes, planes, all_pixels, all_classes, all_scopes, mean, std)

    def image(self, i: int, rows: IntArray, columns: IntArray) -> Array:
        """These rows and columns of an image, (h, w, C) float32, evenly lit at the level `mean`."""
        height, width = self.sizes[i]
        part = as_float(as_channels(self.read(i)[rows[:, None], columns], len(self.mean)))
        down, across = _positions(rows, height), _positions(columns, width)
        level, slope_down, slope_across = self.planes[i].T
        level = level - self.mean
        return np.asarray(
            part - (level + down[:, None, None] * slope_down + across[:, None] * slope_across)
        )

    def target(self, i: int, rows: IntArray, columns: IntArray) -> IntArray:
        """What is labelled there, (h, w): 0 is background, 1 + k is class k, IGNORE is not known."""
        window = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
        mask = painted(self.pixels[i], self.labels[i], window)
        scope = self.scopes[i]
        if scope is not None:
            is_in = painted(scope, np.zeros(len(scope), np.int64), window)
            mask[(is_in == 0) & (mask == BACKGROUND)] = IGNORE
        return mask[(rows - window[1])[:, None], columns - window[0]]

    def mean_areas(self, map_count: int) -> list[float]:
        """Mean area of the enlarged boxes of each foreground map, px at working scale.

        A single map, as in the paper mode, stands for all classes. A map without boxes gets the
        mean of all boxes; without any box at all it is 1.
        """
        pixels, labels = np.concatenate(self.pixels), np.concatenate(self.labels)
        area = (pixels[:, 2] - pixels[:, 0]) * (pixels[:, 3] - pixels[:, 1])
        typical = float(area.mean()) if area.size else 1.0
        means = (area[np.minimum(labels, map_count - 1) == k] for k in range(map_count))
        return [max(1.0, float(a.mean()) if a.size else typical) for a in means]


class CropSampler:
    """Random square crops, half of them near a box: flipped, rotated, jittered.

    `patches`, if any, pastes unseen patches into a share of the crops; `size` is in px.
    """

    def __init__(
        self,
        data: LabelledImages,
        *,
        size: int,
        patches: PatchSource | None,
        patch_share: float,
        rng: np.random.Generator,
    ) -> None:
        self._data = data
        self._size = size
        self._ramp = np.linspace(-1, 1, size, dtype=np.float32)
        self._patches = patches
        self._patch_share = patch_share
        self._rng = rng

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` crops: images (B, C, size, size) float32 and targets (B, size, size) int64."""
        crops = [self._crop() for _ in range(count)]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in crops])
        targets = np.stack([target for _, target in crops])
        return torch.from_numpy(images), torch.from_numpy(targets)

    def _crop(self) -> tuple[Array, IntArray]:
        rng = self._rng
        i = int(rng.integers(len(self._data.sizes)))
        height, width = self._data.sizes[i]
        y, x = self._centre(i)
        rows, columns = self._window(height, y), self._window(width, x)
        image, target = self._data.image(i, rows, columns), self._data.target(i, rows, columns)
        # Beyond the image there is its reflection, which is not labelled again.
        target[height:] = IGNORE
        target[:, width:] = IGNORE
        if self._patches is not None and rng.uniform() < self._patch_share:
            side = min(height, width)
            max_radius = min(_RADIUS_OF_IMAGE * side, _RADIUS_OF_CROP * self._size)
            self._patches.paste(image, target, max_radius=max_radius, rng=rng)
        image = self._jittered(image)
        turns, is_mirrored = int(rng.integers(4)), rng.uniform() < 0.5
        # As `np.rot90`, which takes longer than the copy of a crop, and a mirror after it.
        down = -1 if turns in (1, 2) else 1
        across = -1 if (turns in (2, 3)) != is_mirrored else 1
        axes = (1, 0, 2) if turns % 2 else (0, 1, 2)
        image, target = image.transpose(axes), target.transpose(axes[:2])
        return image[::down, ::across], target[::down, ::across]

    def _centre(self, i: int) -> tuple[float | None, float | None]:
        """Row and column that the crop of image i has to show; None: any."""
        rng, pixels, scope = self._rng, self._data.pixels[i], self._data.scopes[i]
        if len(pixels) and rng.uniform() < 0.5:
            left, top, right, bottom = pixels[int(rng.integers(len(pixels)))]
            return (top + bottom) / 2, (left + right) / 2
        if scope is not None and len(scope):
            # Elsewhere nothing might be known, and the crop would be useless.
            areas = (scope[:, 2:] - scope[:, :2]).prod(axis=1)
            left, top, right, bottom = scope[rng.choice(len(scope), p=areas / areas.sum())]
            return rng.uniform(top, bottom), rng.uniform(left, right)
        return None, None

    def _jittered(self, image: Array) -> Array:
        """Vary contrast, brightness and illumination."""
        rng, data = self._rng, self._data
        gain = np.float32(rng.uniform(*_GAIN))
        offset = data.std * np.float32(rng.uniform(-_OFFSET, _OFFSET))
        ramp = self._ramp
        down, across = rng.uniform(-_SLOPE, _SLOPE, 2).astype(np.float32)
        slope = (down * ramp[:, None] + across * ramp)[:, :, None] * data.std
        return np.asarray((image - data.mean) * gain + (data.mean + offset) + slope)

    def _window(self, length: int, centre: float | None) -> IntArray:
        """The `size` indices of a crop along one axis; a small image is reflected."""
        size = self._size
        if length <= size:
            return np.pad(np.arange(length), (0, size - length), "symmetric")
        last = length - size
        if centre is None:
            start = int(self._rng.integers(last + 1))
        else:
            start = int(np.clip(centre + self._rng.uniform(-0.75, -0.25) * size, 0, last))
        return np.arange(start, start + size)


def _positions(indices: IntArray, count: int) -> Array:
    """The `positions` of some of `count` pixels."""
    return np.asarray((indices + 0.5) * (2 / count) - 1, np.float32)
