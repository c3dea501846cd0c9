"""Image files as arrays, upright and whatever their depth: grey, RGB, RGBA, palette, 16-bit, float."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from unseen.errors import ImageError

#: (H, W, C) of any type; integers are shares of their type's largest value.
Pixels = npt.NDArray[Any]
#: The values in the files that become 0 and 1.
ValueRange = tuple[float, float]

#: Most pixels of an image. Pillow's own limit of 0.18 gigapixels refuses stitched maps.
MOST_PIXELS = 2**30
#: Images from which the value range of a data set is taken.
SAMPLED = 64
#: Values that fill less than this share of their number of bits are stretched.
_LEAST_FILLED = 1 / 8
#: What 1 may stand for: white of normalised floats, and of 8 to 16 bits.
_WHITES = (1, *(2**bits - 1 for bits in (8, 10, 12, 14, 16)))
_EXIF_ORIENTATION = 0x0112
#: Output rows that `resize` computes together.
_ROWS = 64


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in px, upright, from the header; `ImageError` if it cannot be read."""
    with _opened(path) as image:
        # Versions of Pillow differ in whether they turn the size of a TIFF.
        tags = getattr(image, "tag_v2", {})
        width, height = tags.get(256, image.width), tags.get(257, image.height)
        return (height, width) if _orientation(image) >= 5 else (width, height)


def read_image(
    path: str | Path, *, channels: int | None = None, value_range: ValueRange | None = None
) -> npt.NDArray[np.float32]:
    """The image as (H, W, C) float32 in [0, 1]; see `read_pixels`."""
    return as_float(read_pixels(path, channels=channels, value_range=value_range))


def read_pixels(
    path: str | Path, *, channels: int | None = None, value_range: ValueRange | None = None
) -> Pixels:
    """The image as (H, W, C) uint8 or uint16, shares of the type's largest value (`as_float`).

    It is upright, as FiftyOne and CVAT show it: an EXIF orientation is applied. Alpha is dropped.
    `channels` 1 or 3 converts; None keeps the 1 of grey and the 3 of colour. Files with more than 8
    bits become uint16: the `value_range` of their data set is 0 and 1, and what is no number is 0.
    Without a range 16 bits are used in full, and float values come as they are, as float32. Raises
    `ImageError` if the file is missing, damaged or no image.
    """
    with _opened(path) as image:
        # TIFF comes upright from Pillow and OpenCV.
        orientation = 1 if image.format == "TIFF" else _orientation(image)
        is_deep = _is_deep(image)
        pixels = _decoded(image, path)
    if pixels.size == 0:
        raise ImageError(f"{path}: the image has no pixels; replace it or exclude the sample")
    if is_deep:
        pixels = _normalised(pixels, value_range)
    pixels = np.ascontiguousarray(_turned(pixels, orientation))
    return pixels if channels is None else as_channels(pixels, channels)


def as_float(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Integers as shares of their type's largest value, float32 in [0, 1]; floats as they are."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    shares = pixels.astype(np.float32)
    shares /= np.float32(np.iinfo(pixels.dtype).max)  # in place: large images are in memory once
    return shares


def as_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W, 1 or 3) -> (H, W, channels): grey is repeated, colour becomes ITU-R 601 luminance."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    grey = as_float(pixels) @ np.asarray([0.299, 0.587, 0.114], dtype=np.float32)
    # 8 bits would lose the digits of the weighted sum.
    is_float = pixels.dtype.kind == "f"
    return np.asarray(grey if is_float else np.rint(grey * 65535).astype(np.uint16))[:, :, None]


def resize(pixels: Pixels, scale: float) -> Pixels:
    """Reduce (H, W, C) by a factor in (0, 1] to block means, at least 1 x 1 px.

    The sides become round(H * scale) and round(W * scale); a factor of 1 returns the input. Shares
    become uint16, floats float32.
    """
    if scale == 1:
        return pixels
    height, width, channels = pixels.shape
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    is_float = pixels.dtype.kind == "f"
    result = np.empty((rows, columns, channels), np.float32 if is_float else np.uint16)
    # In strips, so that a large image is never in memory as floats.
    for start in range(0, rows, _ROWS):
        stop = min(start + _ROWS, rows)
        top, bottom = start * height / rows, stop * height / rows
        first = math.floor(top)
        strip = as_float(pixels[first : math.ceil(bottom)])
        part = (0, top - first, width, bottom - first)
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(strip[:, :, channel]))
            means = np.asarray(
                plane.resize((columns, stop - start), Image.Resampling.BOX, box=part)
            )
            result[start:stop, :, channel] = means if is_float else np.rint(means * 65535)
    return result


def value_range(paths: Sequence[str]) -> ValueRange | None:
    """What the deep images of a data set need to be comparable; None if they have 8 bits.

    One range for all of them, taken from up to `SAMPLED` images spread evenly over the paths. It is
    0 to white of the fewest bits that hold the values (a camera's 12 bits in a 16-bit file), or 0 to
    1 of floats in it. Values that fill little of that, or are negative, get a range of their own,
    with room for other images.
    """
    samples, extremes, is_float = [], [], False
    for path in paths[:: max(1, len(paths) // SAMPLED)]:
        try:
            with _opened(path) as image:
                if not _is_deep(image):
                    continue
                pixels = _decoded(image, path)
        except ImageError:
            continue  # whoever needs the image says so
        is_float = is_float or pixels.dtype.kind == "f"
        pixels = pixels[np.isfinite(pixels)]
        if pixels.size:
            extremes += [float(pixels.min()), float(pixels.max())]
            samples.append(pixels[:: max(1, pixels.size // 2**14)].astype(np.float64))
    if not samples:
        return None
    low, high = np.quantile(np.concatenate(samples), [0.001, 0.999]).tolist()
    whites = _WHITES if is_float else _WHITES[1:]
    white = next((w for w in whites if min(extremes) >= 0 and max(extremes) <= w), None)
    if white is not None and high - low >= _LEAST_FILLED * white:
        return 0.0, float(white)
    room = (high - low) / 2 or 0.5
    # Rounded outwards, so that more images rarely change it.
    step = 2.0 ** math.floor(math.log2(room)) / 2
    return math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    if Image.MAX_IMAGE_PIXELS:  # Pillow refuses twice as many
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MOST_PIXELS // 2)
    try:
        with Image.open(path) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: more than {MOST_PIXELS:,} pixels; cut it into tiles or exclude the sample"
        ) from error
    except (OSError, ValueError, SyntaxError, cv2.error) as error:
        what = f"cannot be read as an image ({error}); replace"
        if not Path(path).is_file():
            what = "no such file; restore"
        raise ImageError(f"{path}: {what} it or exclude the sample") from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8."""
    # Pillow would decode all of a PNG to look for EXIF behind its pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    return int(orientation) if orientation in range(1, 9) else 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """The upright view of (H, W, C) pixels, by the EXIF orientation."""
    if orientation >= 5:
        pixels, orientation = pixels.swapaxes(0, 1), {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    down = -1 if orientation in (3, 4) else 1
    across = -1 if orientation in (2, 3) else 1
    return pixels[::down, ::across]


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I") or _is_deep_colour(image)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether Pillow would drop the lower half of 16 bits."""
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA", "LA") or not tiles:
        return False
    args = tiles[0][3]
    return ";16" in str(args if isinstance(args, str) else (args or ("",))[0])


def _decoded(image: Image.Image, path: str | Path) -> Pixels:
    """(H, W, 1 or 3) uint8, uint16, int32 or float32, as in the file."""
    # Pillow 13 garbles uncompressed TIFF that lies on its side.
    if _is_deep_colour(image) or (image.format == "TIFF" and _orientation(image) >= 5):
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("OpenCV cannot decode it")
        pixels = np.atleast_3d(pixels)[:, :, 2::-1]
        return np.asarray(pixels[:, :, :1] if image.mode == "LA" else pixels)
    if not _is_deep(image):
        image = image.convert("L" if image.mode in ("L", "LA", "La", "1") else "RGB")
    pixels = np.asarray(image)
    if pixels.dtype.byteorder == ">":
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    return np.atleast_3d(pixels)


def _normalised(pixels: Pixels, value_range: ValueRange | None) -> Pixels:
    if value_range is None:
        if pixels.dtype.kind == "f":
            return np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        value_range = 0.0, 65535.0
    if value_range == (0.0, 65535.0) and pixels.dtype == np.uint16:
        return pixels
    low, high = value_range
    result = np.empty(pixels.shape, np.uint16)
    for start in range(0, len(pixels), _ROWS):  # as floats only in strips
        strip = pixels[start : start + _ROWS].astype(np.float32)
        shares = np.where(np.isfinite(strip), (strip - low) * np.float32(65535 / (high - low)), 0)
        result[start : start + _ROWS] = np.rint(shares.clip(0, 65535))
    return result
