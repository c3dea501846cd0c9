"""Drawing on matplotlib's Agg canvas, and PNG files that stay small."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

#: Every picture is embedded in the report, so it is made to stay below this.
MAX_BYTES = 600_000
DPI = 100


def new_figure(width: int, height: int) -> Figure:
    """An empty figure of that many pixels; no pyplot, no global state."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> Path:
    """Write the figure; where it is too large, with fewer levels and then ever smaller."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    data = _encoded(picture)
    if len(data) > MAX_BYTES:
        picture = _coarser(picture)
        data = _encoded(picture)
    scale = 1.0
    while len(data) > MAX_BYTES and scale > 0.3:
        scale *= 0.85
        size = (round(picture.width * scale), round(picture.height * scale))
        data = _encoded(_coarser(picture.resize(size, Image.Resampling.LANCZOS)))
    path.write_bytes(data)
    return path


def _coarser(picture: Image.Image) -> Image.Image:
    """32 levels per channel: grain costs half the bytes, and small spots keep their colour.

    A palette of 256 colours is smaller still, but spends them all on the grain.
    """
    levels = np.rint(np.asarray(picture) * (31 / 255))
    return Image.fromarray(np.rint(levels * (255 / 31)).astype(np.uint8))


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=6)  # 9 saves 8 % more at 10 x the time
    return buffer.getvalue()
