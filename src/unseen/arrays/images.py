"""Image files -> arrays, whatever their depth: grey, RGB, RGBA, palette, 16-bit, float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unseen.errors import ImageError

#: Modes whose grey values do not fit 8 bits, with their full scale.
_DEEP = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I;16N": 65535.0, "I": 65535.0}


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in px, read from the header.

    Raises:
        ImageError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            return int(width), int(height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(_message(path, error)) from error


def read_image(path: str | Path, *, channels: int | None = None) -> np.ndarray:
    """The image as float32.

    8-bit values are divided by 255, 16-bit values by 65535; float images are taken as they are,
    and divided by their full scale only where they exceed 1. Alpha is dropped. EXIF rotation is
    not applied, because FiftyOne and CVAT store boxes in the file's own pixels.

    Args:
        path: a file that Pillow reads.
        channels: 1 or 3 converts; None keeps what the file has (1 for grey, 3 for colour).

    Returns:
        (H, W, C) float32 in [0, 1].

    Raises:
        ImageError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            pixels = _pixels(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(_message(path, error)) from error
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


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode in _DEEP:
        grey = np.asarray(image, dtype=np.float32) / _DEEP[image.mode]
        return np.asarray(np.clip(grey, 0, 1)[:, :, None])
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        peak = float(grey.max(initial=0.0))
        scale = 1.0 if peak <= 1 else 255.0 if peak <= 255 else 65535.0
        return np.asarray(np.clip(grey / scale, 0, 1)[:, :, None])
    if image.mode in ("L", "LA", "La", "1"):
        grey = np.asarray(image.convert("L"), dtype=np.float32) / 255.0
        return grey[:, :, None]
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0


def _message(path: str | Path, error: Exception) -> str:
    if not Path(path).is_file():
        return f"{path}: no such file; restore it or exclude the sample"
    return f"{path}: cannot be read as an image ({error}); replace it or exclude the sample"


def resize(pixels: np.ndarray, scale: float) -> np.ndarray:
    """The image made smaller, each pixel the mean of the area it covers.

    Args:
        pixels: (H, W, C) float32.
        scale: factor in (0, 1]; 1 returns the input.

    Returns:
        (max(1, round(H * scale)), max(1, round(W * scale)), C) float32.
    """
    if scale == 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels[:, :, c])).resize(
                (width, height), Image.Resampling.BOX
            )
        )
        for c in range(pixels.shape[2])
    ]
    return np.stack(planes, axis=2)
