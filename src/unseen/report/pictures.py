"""Contact sheets of the ranked batches: image, heatmap, unseen regions and what was labelled."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from unseen.arrays.images import as_channels, read_image
from unseen.errors import ImageError
from unseen.report.data import BatchPicture
from unseen.report.png import new_figure, save_png

#: Images on one sheet; a longer batch is cut; the heading says up to which rank.
MAX_TILES = 20
#: Scores are written on this many regions of an image, strongest first.
SCORED_REGIONS = 3
_WIDTH = 1400  # px
_GAP = 14
_CAPTION = 46
_HEAD = 66
REGION_COLOR = "#FFD800"
BOX_COLOR = "#00C8FF"


def ranked_batch(pictures: Sequence[BatchPicture], path: Path) -> Path:
    """Draw one batch in rank order.

    Args:
        pictures: the images of one batch, at least one.
        path: the PNG to write.

    Returns:
        The path.
    """
    pictures = sorted(pictures, key=lambda p: p.rank)
    shown = pictures[:MAX_TILES]
    tiles = [_tile(p) for p in shown]
    columns = 5 if len(shown) > 4 else max(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    width = (_WIDTH - _GAP * (columns + 1)) // columns
    aspects = [t.shape[0] / t.shape[1] for t in tiles if isinstance(t, np.ndarray)]
    height = round(width * min(1.4, max(0.4, float(np.median(aspects or [1.0])))))
    total = _HEAD + rows * (height + _CAPTION + _GAP) + 4
    figure = new_figure(_WIDTH, total)
    _heading(figure, pictures, total)
    for i, (picture, tile) in enumerate(zip(shown, tiles, strict=True)):
        left = _GAP + (i % columns) * (width + _GAP)
        bottom = total - _HEAD - (i // columns) * (height + _CAPTION + _GAP) - height
        place = (left / _WIDTH, bottom / total, width / _WIDTH, height / total)
        axes = figure.add_axes(place)
        axes.set_axis_off()
        _draw(axes, picture, tile)
        figure.text(
            left / _WIDTH,
            (bottom - 6) / total,
            _caption(picture),
            fontsize=9,
            verticalalignment="top",
            parse_math=False,
        )
    return save_png(figure, path)


def overlay(pixels: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Blend a heatmap over an image: the stronger, the more opaque; zero leaves the image alone.

    Magenta to orange: saturated colours that show on grey, white and black alike, with a brightness
    that rises with the score.

    Args:
        pixels: (H, W, 3) float32 in [0, 1].
        heatmap: (h, w) uint8; interpolated to (H, W).

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    height, width = pixels.shape[:2]
    large = Image.fromarray(heatmap).resize((width, height), Image.Resampling.BILINEAR)
    value = np.asarray(large, dtype=np.float32)[:, :, None] / 255.0
    low = np.asarray([0.80, 0.00, 0.62], dtype=np.float32)
    high = np.asarray([1.00, 0.50, 0.05], dtype=np.float32)
    colour = low + (high - low) * value**1.5
    opacity = 0.7 * value**1.2  # the defect stays visible below
    return np.asarray(pixels * (1 - opacity) + colour * opacity, dtype=np.float32)


def for_display(pixels: np.ndarray) -> np.ndarray:
    """Stretch an image between its 0.5 % and 99.5 % quantiles.

    For images of more than 8 bits: cameras of 10 or 12 bits leave a 16-bit file nearly black.

    Args:
        pixels: (H, W, C) float32 in [0, 1].

    Returns:
        The same shape in [0, 1]; unchanged where there is no contrast.
    """
    step = max(1, max(pixels.shape) // 1024)  # quantiles of a sample do for display
    low, high = np.quantile(pixels[::step, ::step], (0.005, 0.995))
    if high - low < 1e-6:
        return pixels
    return np.asarray(np.clip((pixels - low) / (high - low), 0, 1), dtype=np.float32)


def _tile(picture: BatchPicture) -> np.ndarray | str:
    """(H, W, 3) float32 with the heatmap, at most 512 px wide; or why there is none."""
    try:
        pixels = read_image(picture.filepath)
        if _is_deep(picture.filepath):
            pixels = for_display(pixels)
        pixels = as_channels(pixels, 3)
    except ImageError as error:
        return str(error)
    height, width = pixels.shape[:2]
    scale = min(1.0, 512 / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.fromarray((pixels * 255).astype(np.uint8)).resize(size)
        pixels = np.asarray(small, dtype=np.float32) / 255.0
    return pixels if picture.heatmap is None else overlay(pixels, picture.heatmap)


def _is_deep(path: str) -> bool:
    """Whether the file holds more than 8 bits per channel."""
    with Image.open(path) as image:
        return str(image.mode).startswith(("I", "F"))


def _draw(axes: Axes, picture: BatchPicture, tile: np.ndarray | str) -> None:
    if isinstance(tile, str):
        axes.set_facecolor("0.8")
        axes.set_axis_on()
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            _wrapped(tile),
            fontsize=8,
            color="0.2",
            ha="center",
            va="center",
            transform=axes.transAxes,
            parse_math=False,
        )
        return
    axes.imshow(tile, extent=(0, 1, 1, 0), aspect="auto", interpolation="bilinear")
    # The cell has the batch's aspect; the axes take that of the image, so nothing is distorted.
    axes.set_box_aspect(tile.shape[0] / tile.shape[1])
    axes.set_anchor("N")
    halo = [patheffects.withStroke(linewidth=2.6, foreground="black", alpha=0.6)]
    for box, _ in picture.boxes:
        if not np.all(np.isfinite(box)):
            continue
        axes.add_patch(_rectangle(box, BOX_COLOR, 1.1, (0, (4, 2)), halo))
    for i, (box, score) in enumerate(picture.regions):
        if not np.all(np.isfinite(box)):
            continue
        axes.add_patch(_rectangle(box, REGION_COLOR, 1.5, "-", halo))
        if i < SCORED_REGIONS and score is not None:
            axes.text(
                min(box[0], 0.88),
                max(box[1] - 0.012, 0.05),
                f"{score:.2f}",
                fontsize=8,
                color=REGION_COLOR,
                va="bottom",
                path_effects=[patheffects.withStroke(linewidth=2.2, foreground="black")],
            )
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)


def _rectangle(
    box: tuple[float, float, float, float],
    color: str,
    width: float,
    style: object,
    halo: list[patheffects.withStroke],
) -> Rectangle:
    x1, y1, x2, y2 = box
    return Rectangle(
        (x1, y1),
        x2 - x1,
        y2 - y1,
        fill=False,
        edgecolor=color,
        linewidth=width,
        linestyle=style,
        path_effects=halo,
        clip_on=True,
    )


def _heading(figure: Figure, pictures: Sequence[BatchPicture], total: int) -> None:
    first = pictures[0]
    last = pictures[min(len(pictures), MAX_TILES) - 1]
    text = f"{first.batch}: rank {first.rank} to {last.rank}"
    left = _GAP / _WIDTH
    figure.text(left, 1 - 10 / total, text, fontsize=14, weight="bold", va="top", parse_math=False)
    scale = f" (full colour = {first.full_scale:.3g})" if first.full_scale else ""
    handles: list[Patch | Line2D] = []
    if any(p.heatmap is not None for p in pictures):
        handles.append(Patch(facecolor="#E0309A", label=f"unseen score{scale}"))
    if any(p.regions for p in pictures):
        handles.append(Patch(fill=False, edgecolor="#C9A800", lw=2, label="unseen region, score"))
    if any(p.boxes for p in pictures):
        handles.append(
            Line2D([], [], color="#0090C0", lw=1.4, ls="--", label="labelled afterwards")
        )
    if handles:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.0, 1 - 30 / total),
            ncols=3,
            frameon=False,
            fontsize=10,
        )


def _caption(picture: BatchPicture) -> str:
    value = picture.metric_value
    metric = f"{picture.metric_name} {value:.4g}" if value is not None else "no score"
    name = Path(picture.filepath).name
    lines = [f"{picture.rank}.  {metric}   {name if len(name) <= 18 else '…' + name[-17:]}"]
    counts = Counter(label for _, label in picture.boxes)
    if picture.excluded:
        lines.append(f"excluded: {picture.excluded}")
    elif counts:
        labelled = ", ".join(f"{n} {label}" for label, n in counts.most_common())
        lines.append(labelled if len(labelled) <= 42 else labelled[:41] + "…")
    return "\n".join(lines)


def _wrapped(text: str, width: int = 36) -> str:
    """At most eight lines; long paths are broken anywhere."""
    lines = textwrap.wrap(text, width)
    return "\n".join([*lines[:7], "…"] if len(lines) > 7 else lines)
