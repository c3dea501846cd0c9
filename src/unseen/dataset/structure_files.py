"""Files that describe the structure of every image: a mask, or polylines as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.arrays.images import read_image
from unseen.errors import ImageError, StructureError
from unseen.files import read_json
from unseen.structure.weights import Shapes

_Array = npt.NDArray[np.float64]

#: The layout of a file of polylines, for messages.
LAYOUT = (
    'expected {"size": [width, height], "polylines": [{"points": [[x, y], ...], "closed": true, '
    '"holes": [[[x, y], ...]]}]}, where "size" is left out when the points are relative, and '
    '"holes" when there are none'
)


def read_mask(path: str) -> npt.NDArray[np.bool_]:
    """(H, W) bool, True where any channel is above 0; `StructureError` if the file is no image."""
    try:
        pixels = read_image(Path(path).expanduser())
    except ImageError as error:
        raise StructureError(
            f"structure_file={path!r} is no mask: {error}. Pass an image whose pixels above 0 are "
            "inside the structure"
        ) from error
    return np.asarray((pixels > 0).any(axis=2))


def read_polylines(path: str) -> tuple[Shapes, str]:
    """The shapes of a JSON file in relative coordinates, and the first label ("structure" if none).

    Raises `StructureError` if the file is missing, no JSON, or not as expected.
    """
    try:
        content = read_json(Path(path).expanduser())
    except OSError as error:
        raise StructureError(f"structure_file={path!r} cannot be read ({error})") from error
    except ValueError as error:
        raise StructureError(f"{path}: no JSON ({error}); {LAYOUT}") from error
    polylines = content.get("polylines") if isinstance(content, dict) else None
    if not isinstance(polylines, list):
        raise StructureError(f"{path}: no list of polylines; {LAYOUT}")
    if not polylines:
        raise StructureError(f"{path}: the list of polylines is empty; {LAYOUT}")
    given = content.get("size", [1, 1])
    size = _pairs([given])
    if not (size.size and size.min() > 0):
        raise StructureError(f"{path}: size is not [width, height] in px; {LAYOUT}")
    outlines, opened = [], []
    for number, polyline in enumerate(polylines):
        where = f"{path}: polyline {number}"
        if not isinstance(polyline, dict):
            raise StructureError(f"{where} is a {type(polyline).__name__}; {LAYOUT}")
        is_closed = bool(polyline.get("closed"))
        points = _points(polyline.get("points"), size, where, least=3 if is_closed else 2)
        if is_closed:
            holes = enumerate(polyline.get("holes") or [])
            rings = [_points(hole, size, f"{where}, hole {n}", least=3) for n, hole in holes]
            outlines.append([points, *rings])
        else:
            opened.append(points)
    label = next((p["label"] for p in polylines if p.get("label")), "structure")
    return Shapes(outlines=outlines, lines=opened), str(label)


def _points(points: Any, size: _Array, where: str, *, least: int) -> npt.NDArray[np.float32]:
    """(N, 2) float32 relative coordinates."""
    pairs = _pairs(points)
    if len(pairs) < least:
        raise StructureError(
            f"{where} has no list of at least {least} points, pairs of finite numbers; {LAYOUT}"
        )
    relative = pairs / size
    if relative.min() < -1e-6 or relative.max() > 1 + 1e-6:
        raise StructureError(
            f"{where} reaches from {relative.min():.3g} to {relative.max():.3g} times the image's "
            'size; expected points inside the image. Give "size" where points are in px; ' + LAYOUT
        )
    return np.clip(relative, 0, 1).astype(np.float32)


def _pairs(value: Any) -> _Array:
    """(N, 2) float64; empty unless the value is a list of pairs of finite numbers."""
    try:
        pairs = np.asarray(value)
    except ValueError:  # lists of different lengths
        pairs = np.zeros(0)
    is_numeric = pairs.dtype.kind in "iuf" and bool(np.isfinite(pairs).all())
    if not is_numeric or pairs.ndim != 2 or pairs.shape[1] != 2:
        return np.zeros((0, 2))
    return pairs.astype(np.float64)
