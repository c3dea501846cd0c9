"""Image files as arrays, whatever their depth: grey, RGB, RGBA, palette, 16-bit, float."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from unseen.errors import ImageError

#: Pillow's modes of 16-bit grey values.
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in px from the header; `ImageError` if the file is missing or no image."""
    with _opened(path) as image:
        width, height = image.size
        return int(width), int(height)


def read_image(path: str | Path, *, channels: int | None = None) -> np.ndarray:
    """The image as (H, W, C) float32 in [0, 1].

    8-bit values are divided by 255, 16-bit values by 65535, float values only if they exceed 1.
    Alpha is dropped. EXIF rotation is not applied: FiftyOne and CVAT store boxes in the file's own
    pixels. `channels` 1 or 3 converts; None keeps the 1 of grey and the 3 of colour. Raises
    `ImageError` if the file is missing, damaged or no image.
    """
    with _opened(path) as image:
        pixels = _pixels(image)
    if pixels.size == 0:
        raise ImageError(f"{path}: the image has no pixels; replace it or exclude the sample")
    return pixels if channels is None else as_channels(pixels, channels)


def as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, 1 or 3) -> (H, W, channels): grey is repeated, colour becomes ITU-R 601 luminance."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    weights = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(pixels @ weights)[:, :, None]


def resize(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Reduce (H, W, C) float32 by a factor in (0, 1] to block means, at least 1 x 1 px.

    The sides become round(H * scale) and round(W * scale); a factor of 1 returns the input.
    """
    if scale == 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BOX)
        for plane in np.moveaxis(pixels, 2, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        what = f"cannot be read as an image ({error}); replace"
        if not Path(path).is_file():
            what = "no such file; restore"
        raise ImageError(f"{path}: {what} it or exclude the sample") from error


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode in _DEEP:
        pixels = np.clip(np.asarray(image, dtype=np.float32) / 65535.0, 0, 1)
    elif image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        peak = float(grey.max(initial=0.0))
        scale = 1.0 if peak <= 1 else 255.0 if peak <= 255 else 65535.0
        pixels = np.clip(grey / scale, 0, 1)
    else:
        mode = "L" if image.mode in ("L", "LA", "La", "1") else "RGB"
        pixels = np.asarray(image.convert(mode), dtype=np.float32) / 255.0
    return np.atleast_3d(pixels)
