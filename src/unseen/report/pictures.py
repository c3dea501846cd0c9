"""Contact sheets of the ranked batches: image, heatmap, unseen regions and what was labelled."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from unseen.arrays.heatmap import TINT, overlay
from unseen.arrays.images import as_float, read_pixels
from unseen.errors import ImageError

#: Images on one sheet; a longer batch is cut, and the heading says up to which rank.
MAX_TILES = 20
#: Scores are written on this many regions of an image, strongest first.
SCORED_REGIONS = 3
REGION_COLOR = "#FFD800"
BOX_COLOR = "#00C8FF"
_OPACITY = 0.6  #: of the tint at full heat: the defect stays visible below
_WIDTH, _GAP, _CAPTION, _HEAD = 1400, 14, 46, 66  # px

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class BatchPicture:
    """One image of a ranked batch; boxes are (x1, y1, x2, y2) relative to the image, in [0, 1]."""

    batch: str  #: name of the batch, such as "batch_01"
    iteration: int  #: the iteration that the batch makes
    rank: int  #: 1 = label first
    filepath: str
    metric_name: str  #: the image metric that ranked, such as "excess"
    metric_value: float | None
    heatmap: np.ndarray | None = None  #: (h, w) uint8: unseen score, 255 = `full_scale`
    full_scale: float | None = None  #: the unseen score that is drawn at full strength
    regions: Sequence[tuple[Box, float | None]] = ()  #: unseen regions: box, score
    boxes: Sequence[tuple[Box, str]] = ()  #: what was then labelled: box, class


def ranked_batch(pictures: Sequence[BatchPicture], path: Path) -> Path:
    """Draw one batch, at least one image, in rank order as a JPEG."""
    shown = sorted(pictures, key=lambda p: p.rank)[:MAX_TILES]
    columns = 5 if len(shown) > 4 else max(2, len(shown))
    width = (_WIDTH - _GAP * (columns + 1)) // columns
    images = [_image(p) for p in shown]
    aspects = [i.height / i.width for i in images if isinstance(i, Image.Image)]
    height = round(width * np.clip(np.median(aspects or [1.0]), 0.4, 1.4))
    step = height + _CAPTION + _GAP
    sheet = Image.new("RGB", (_WIDTH, _HEAD + math.ceil(len(shown) / columns) * step), "white")
    _heading(ImageDraw.Draw(sheet), shown)
    for i, (picture, image) in enumerate(zip(shown, images, strict=True)):
        left, top = _GAP + i % columns * (width + _GAP), _HEAD + i // columns * step
        sheet.paste(_tile(picture, image, (width, height)), (left, top))
        caption = _caption(picture)
        ImageDraw.Draw(sheet).text((left, top + height + 6), caption, "black", _font(12))
    sheet.save(path, quality=85, subsampling=0)
    return path


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Stretch (H, W, C) float32 in [0, 1] between its 0.5 % and 99.5 % quantiles, for display.

    Cameras of 10 or 12 bits leave a 16-bit file nearly black. Without contrast nothing changes.
    """
    step = max(1, max(pixels.shape) // 1024)  # a sample gives the same quantiles
    low, high = np.quantile(pixels[::step, ::step], (0.005, 0.995))
    if high - low < 1e-6:
        return pixels
    return np.asarray(np.clip((pixels - low) / (high - low), 0, 1), dtype=np.float32)


def _image(picture: BatchPicture) -> Image.Image | str:
    """The image for display, or why it cannot be read."""
    try:
        pixels = read_pixels(picture.filepath, channels=3)
    except ImageError as error:
        return str(error)
    if pixels.dtype != np.uint8:
        pixels = (stretched(as_float(pixels)) * 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _tile(picture: BatchPicture, image: Image.Image | str, size: tuple[int, int]) -> Image.Image:
    if isinstance(image, str):
        tile = Image.new("RGB", size, "#cccccc")
        lines = textwrap.wrap(image, max(1, size[0] // 7), max_lines=7, placeholder=" …")
        ImageDraw.Draw(tile).text((8, 8), "\n".join(lines), "#333333", _font(12))
        return tile
    image = ImageOps.contain(image, size)
    if picture.heatmap is not None:
        pixels = overlay(np.asarray(image), picture.heatmap, opacity=_OPACITY)
        image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    for box, _ in picture.boxes:
        _outline(pen, image, box, BOX_COLOR, 1)
    for i, (box, score) in enumerate(picture.regions):
        corner = _outline(pen, image, box, REGION_COLOR, 2)
        if corner and i < SCORED_REGIONS and score is not None:
            place = min(corner[0], image.width - 30), max(corner[1] - 16, 0)
            black = {"stroke_width": 2, "stroke_fill": "black"}
            pen.text(place, f"{score:.2f}", REGION_COLOR, _font(12), **black)
    tile = Image.new("RGB", size, "white")
    tile.paste(image)
    return tile


def _outline(
    pen: ImageDraw.ImageDraw, image: Image.Image, box: Box, color: str, width: int
) -> tuple[int, int] | None:
    """Draw a box with a dark rim; returns its upper left corner in px, None if not finite."""
    if not np.all(np.isfinite(box)):
        return None
    x1, y1, x2, y2 = np.rint(np.multiply(box, (image.width, image.height) * 2)).astype(int).tolist()
    right, lower = max(x1, x2), max(y1, y2)
    pen.rectangle((x1 - 1, y1 - 1, right + 1, lower + 1), outline="black", width=width + 2)
    pen.rectangle((x1, y1, right, lower), outline=color, width=width)
    return x1, y1


def _heading(pen: ImageDraw.ImageDraw, shown: Sequence[BatchPicture]) -> None:
    first, last = shown[0], shown[-1]
    title = f"{first.batch}: rank {first.rank} to {last.rank}"
    pen.text((_GAP, 8), title, "black", _font(20))
    scale = f" (full colour = {first.full_scale:.3g})" if first.full_scale else ""
    legend: list[tuple[str | tuple[int, ...], str]] = []
    if any(p.heatmap is not None for p in shown):
        legend.append((TINT, f"unseen score{scale}"))
    if any(p.regions for p in shown):
        legend.append((REGION_COLOR, "unseen region, score"))
    if any(p.boxes for p in shown):
        legend.append((BOX_COLOR, "labelled afterwards"))
    left = float(_GAP)
    for color, text in legend:
        pen.rectangle((left, 42, left + 24, 54), fill=color, outline="black")
        pen.text((left + 32, 39), text, "black", _font(14))
        left += 60 + pen.textlength(text, _font(14))


def _caption(picture: BatchPicture) -> str:
    """Rank, metric and file name; what was labelled below."""
    value, name = picture.metric_value, Path(picture.filepath).name
    metric = f"{picture.metric_name} {value:.4g}" if value is not None else "no score"
    counts = Counter(label for _, label in picture.boxes).most_common()
    labelled = ", ".join(f"{n} {label}" for label, n in counts)
    first = f"{picture.rank}.  {metric}   {name if len(name) <= 18 else '…' + name[-17:]}"
    return f"{first}\n{labelled if len(labelled) <= 42 else labelled[:41] + '…'}"


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
