"""Copies of images with heatmap, structure and scope drawn in, for tools that only show images."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from bson import ObjectId
from PIL import Image

from unseen.arrays.heatmap import SCOPE_COLOUR, Picture, draw_lines, overlay
from unseen.arrays.images import read_pixels
from unseen.dataset import structure, writing
from unseen.dataset.loop import Loop
from unseen.dataset.scope import Scope
from unseen.errors import DatasetError, ImageError
from unseen.progress import Progress, silent

logger = logging.getLogger(__name__)

#: Samples whose heatmaps are in memory at a time.
CHUNK = 64
#: Threads that draw; each has one image in memory.
WORKERS = 2
#: Quality of copies of JPEG files. Their texture is lossy already; 95 adds nothing visible.
JPEG_QUALITY = 95
#: Deep images are shown between these quantiles, so that a few hot pixels do not darken the rest.
SHOWN_QUANTILES = (0.001, 0.999)
#: A file name may have 255 bytes; the id, the field's name and the suffixes need about 60.
_STEM_BYTES = 150


def write_overlays(
    loop: Loop,
    folder: Path,
    *,
    opacity: float,
    heat: bool = True,
    lines: bool = False,
    scopes: Mapping[str, Scope] | None = None,
    progress: Progress = silent,
) -> dict[str, str]:
    """Write a copy with something drawn in for each sample of the view, and store its path.

    A copy is upright, as large as its image, and has no EXIF data, so that boxes drawn on it fit. It
    is a PNG, or a JPEG where the image is one; deep images are stretched to 8 bits, and those of
    floats have a copy in any case. An existing copy is replaced in one move, so that nobody reads half
    a file.

    Args:
        loop: its view holds the samples; `names.overlay` stores the path.
        folder: for the copies; created if missing. `DatasetError` if it cannot be written to.
        opacity: of the tint at full heat, in (0, 1]; `ValueError` otherwise.
        heat: draw the heatmap.
        lines: draw the known structure.
        scopes: sample id -> rectangles to outline.
        progress: called with the number of samples done.

    Returns:
        Sample id -> file to show: the copy, or the image itself if there is nothing to draw.
        Unreadable images are logged and have no entry.
    """
    if not 0 < opacity <= 1:
        raise ValueError(f"opacity={opacity}; expected a number in (0, 1]")
    text = "Copy of the image with the heatmap drawn in"
    writing.declare(loop, loop.names.overlay, fo.StringField, text)
    folder = Path(folder).expanduser().absolute()
    fields = {"filepath": 1}
    fields |= {f"{loop.names.heatmap}.map": 1} if heat else {}
    fields |= {loop.names.structure: 1} if lines else {}
    show = partial(_show, loop=loop, folder=folder, opacity=opacity, scopes=scopes or {})
    ids = loop.view.values("id")
    shown: dict[str, str | None] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(WORKERS) as threads:
            for start in range(0, len(ids), CHUNK):
                chunk = {"_id": {"$in": [ObjectId(i) for i in ids[start : start + CHUNK]]}}
                documents = list(loop.dataset._sample_collection.find(chunk, fields))
                for document, path in zip(documents, threads.map(show, documents), strict=True):
                    shown[str(document["_id"])] = path
                    progress(len(shown), len(ids), "overlays")
    except OSError as error:
        raise DatasetError(
            f"overlays cannot be written to {folder} ({error}); free some space, or choose another folder"
        ) from error
    writing.set_raw(loop.dataset, {i: {loop.names.overlay: path} for i, path in shown.items()})
    writing.group_fields(loop)
    return {i: path for i, path in shown.items() if path is not None}


def overlay_folder(loop: Loop, model_dir: str | None) -> Path:
    """The folder for the copies; in a `model_dir`, which datasets may share, one for each."""
    folder = loop.folder(model_dir) / "overlays"
    return folder / str(loop.dataset._doc.id) if model_dir else folder


def remove_overlays(loop: Loop, folder: Path, ids: Collection[str] | None = None) -> None:
    """Delete the copies of these samples, by default of all, below a folder.

    Only files named by this loop are deleted; folders that become empty go with them, and so does
    the field once no sample has a copy.
    """
    own_name = re.compile(
        rf".*-([0-9a-f]{{24}})\.{loop.names.overlay}\.(png|jpg)(\.part)?", re.DOTALL
    )
    root = Path(folder).expanduser().absolute()
    found = [
        (Path(parent, file), match[1])
        for parent, _, files in os.walk(root)
        for file in files
        if (match := own_name.fullmatch(file)) and (ids is None or match[1] in ids)
    ]
    known = set(loop.dataset.select([sample_id for _, sample_id in found]).values("id"))
    for path, sample_id in found:
        if sample_id in known:
            path.unlink(missing_ok=True)
    for parent, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):
            Path(parent).rmdir()  # only if it is empty
    samples = loop.dataset if ids is None else loop.dataset.select(list(ids))
    if loop.names.overlay in writing.own_fields(loop):
        samples.clear_sample_field(loop.names.overlay)
        if not len(loop.dataset.exists(loop.names.overlay).limit(1)):
            writing.delete_fields(loop.dataset, [loop.names.overlay])
            writing.group_fields(loop)


def _show(
    document: Mapping[str, Any],
    *,
    loop: Loop,
    folder: Path,
    opacity: float,
    scopes: Mapping[str, Scope],
) -> str | None:
    """The file to show for one sample as stored; None if its image cannot be read."""
    filepath, sample_id = document["filepath"], str(document["_id"])
    packed = (document.get(loop.names.heatmap) or {}).get("map")
    heat = None if packed is None else fou.deserialize_numpy_array(packed)
    lines = structure.to_lines(document.get(loop.names.structure))
    outlines = [
        np.asarray([(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)], np.float32)
        for x, y, w, h in scopes.get(sample_id, [])
    ]
    try:
        pixels, is_jpeg, is_float = _displayed(filepath)
    except ImageError as error:
        logger.warning("no overlay: %s", error)
        return None
    if lines:
        pixels = draw_lines(pixels, lines)
    if heat is not None and heat.any():
        pixels = overlay(pixels, heat, opacity=opacity)
    elif not (lines or outlines or is_float):
        return str(filepath)
    if outlines:
        pixels = draw_lines(pixels, outlines, colour=SCOPE_COLOUR)
    stem = Path(filepath).stem.encode()[:_STEM_BYTES].decode(errors="ignore")
    suffix = "jpg" if is_jpeg else "png"
    target = folder / f"{stem}-{sample_id}.{loop.names.overlay}.{suffix}"
    part = target.with_name(target.name + ".part")
    if is_jpeg:
        Image.fromarray(pixels).save(part, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
    part.replace(target)
    return str(target)


def _displayed(filepath: str) -> tuple[Picture, bool, bool]:
    """The upright pixels as (H, W, 3) uint8, and whether the file is a JPEG, and one of floats."""
    pixels = read_pixels(filepath, channels=3)
    if pixels.dtype == np.uint8:
        return pixels, Path(filepath).suffix.lower() in (".jpg", ".jpeg", ".jpe", ".mpo"), False
    low, high = np.quantile(pixels, SHOWN_QUANTILES)
    if low == high:
        low, high = pixels.min(), pixels.max()
    stretched = np.rint(np.interp(pixels, (low, high), (0, 255))).astype(np.uint8)
    return stretched, False, pixels.dtype.kind == "f"
