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
    """Write the figure; where it is too large, with 256 colours and then ever smaller."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    data = _encoded(picture)
    if len(data) > MAX_BYTES:
        data = _encoded(picture.quantize(256, dither=Image.Dither.NONE))
    scale = 1.0
    while len(data) > MAX_BYTES and scale > 0.3:
        scale *= 0.85
        size = (round(picture.width * scale), round(picture.height * scale))
        smaller = picture.resize(size, Image.Resampling.LANCZOS)
        data = _encoded(smaller.quantize(256, dither=Image.Dither.NONE))
    path.write_bytes(data)
    return path


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
