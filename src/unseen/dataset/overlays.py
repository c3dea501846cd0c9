"""Copies of images with heatmap and structure drawn in, for tools that show nothing but images."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.utils as fou
import numpy as np
from bson import ObjectId
from PIL import Image

from unseen.arrays.heatmap import SCOPE_COLOUR, draw_lines, overlay
from unseen.arrays.images import image_size, read_image
from unseen.dataset import reading, structure, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.scope import Scope
from unseen.errors import DatasetError, ImageError
from unseen.progress import Progress, silent
from unseen.results import Skipped

#: Samples whose heatmaps are in memory at a time.
CHUNK = 64
#: Quality of copies of JPEG files. Their texture is lossy already; 95 adds nothing visible.
JPEG_QUALITY = 95
#: Deep images are shown between these quantiles, so that a few hot pixels do not darken the rest.
SHOWN_QUANTILES = (0.001, 0.999)
#: A file name may have 255 bytes; the id, the field's name and endings need about 60.
_STEM_BYTES = 150


@dataclass(frozen=True)
class Overlays:
    """What to show for each sample.

    Attributes:
        paths: sample id -> file to show: the copy, or the sample's own file where there is no heat.
        plain: samples shown as they are, because there is nothing to draw.
        skipped: samples whose image cannot be read; they are not in `paths`.
    """

    paths: dict[str, str]
    plain: int
    skipped: list[Skipped] = field(default_factory=list)


def write_overlays(
    view: Any,
    names: Names,
    folder: Path,
    *,
    opacity: float,
    heat: bool = True,
    lines: bool = False,
    scopes: Mapping[str, Scope] | None = None,
    progress: Progress = silent,
    workers: int = 2,
) -> Overlays:
    """Write a copy with heatmap or structure drawn in for each sample of a view, and store its path.

    A copy has the image's own size in px, so that boxes drawn on it are those of the image. It is
    a PNG, or a JPEG where the image is one; without EXIF data, because boxes refer to the pixels
    as they are in the file. Deep images are stretched to 8 bits. A copy that exists is replaced,
    in one move, so that nobody ever reads half a file. The images themselves are only read.

    Args:
        view: the samples; heatmaps as `score_samples` stored them, structure as `mark_structure`.
        names: the loop; the path is stored in `names.overlay`.
        folder: for the copies; made where it is missing.
        opacity: of the tint at full heat, in (0, 1].
        heat: draw the heatmap.
        lines: draw the lines of the known structure.
        scopes: sample id -> rectangles to outline.
        progress: called with the samples done.
        workers: threads; each has one image in memory.

    Raises:
        DatasetError: the folder cannot be written to, or the field belongs to somebody else.
        ValueError: opacity is out of its range.
    """
    if not 0 < opacity <= 1:
        raise ValueError(f"opacity={opacity}; expected a number in (0, 1]")
    dataset = reading.dataset_of(view)
    writing.declare(
        Loop(dataset, names),
        names.overlay,
        fo.StringField,
        "Copy of the image with the heatmap drawn in",
    )
    wanted = _Wanted(names, heat, lines, scopes or {})
    folder = Path(folder).expanduser().absolute()
    ids, files = reading.ids_and_paths(view)
    paths: dict[str, str] = {}
    skipped: list[Skipped] = []
    plain = 0

    def show(sample_id: str, filepath: str, drawn: _Drawn) -> str | Skipped:
        try:
            return _show(filepath, drawn, folder, _name(filepath, sample_id, names), opacity)
        except ImageError as error:
            return Skipped(sample_id=sample_id, filepath=filepath, reason=str(error))

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for chunk_ids, chunk_files, drawn in _chunks(dataset, wanted, ids, files):
                for sample_id, filepath, shown in zip(
                    chunk_ids,
                    chunk_files,
                    pool.map(show, chunk_ids, chunk_files, drawn),
                    strict=True,
                ):
                    if isinstance(shown, Skipped):
                        skipped.append(shown)
                    else:
                        paths[sample_id] = shown
                        plain += shown == filepath
                    progress(len(paths) + len(skipped), len(ids), "overlays")
    except OSError as error:
        raise DatasetError(
            f"overlays cannot be written to {folder} ({error}); make room, or choose another folder"
        ) from error
    stored = {**paths, **{item.sample_id: None for item in skipped}}
    if stored:
        dataset.set_values(names.overlay, stored, key_field="id")
    writing.group_fields(Loop(dataset, names))
    return Overlays(paths, plain, skipped)


def remove_overlays(loop: Loop, folder: Path) -> int:
    """Delete the copies of this dataset and this loop, and the field; other files stay.

    Args:
        loop: the loop.
        folder: as it was given to `write_overlays`, or one above; folders that become empty go.

    Returns:
        How many copies there were.
    """
    folder = Path(folder).expanduser().absolute()
    pattern = re.compile(
        rf".*-([0-9a-f]{{24}})\.{loop.names.overlay}\.(png|jpg)(\.part)?", re.DOTALL
    )
    ids = set(loop.dataset.values("id"))
    removed = 0
    for parent, _, files in os.walk(folder, topdown=False):
        for file in files:
            match = pattern.fullmatch(file)
            if match and match[1] in ids:
                Path(parent, file).unlink(missing_ok=True)
                removed += match[3] is None
        with contextlib.suppress(OSError):
            Path(parent).rmdir()  # only when nothing else is in it
    if loop.names.overlay in writing.own_fields(loop.dataset, loop.names.prefix):
        writing.delete_fields(loop.dataset, [loop.names.overlay])
        writing.group_fields(loop)
    return removed


def discard_overlays(loop: Loop, ids: Sequence[str]) -> None:
    """Delete the copies of these samples, and the field where nothing is left in it.

    Args:
        loop: the loop.
        ids: samples whose copies are of no use, because they were not sent.
    """
    if loop.names.overlay not in writing.own_fields(loop.dataset, loop.names.prefix):
        return
    view = loop.dataset.select(list(ids))
    for copy, original in zip(*view.values([loop.names.overlay, "filepath"]), strict=True):
        if copy and copy != original:
            Path(copy).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(copy).parent.rmdir()  # only when nothing else is in it
    view.clear_sample_field(loop.names.overlay)
    if not len(loop.dataset.exists(loop.names.overlay).limit(1)):
        writing.delete_fields(loop.dataset, [loop.names.overlay])


@dataclass(frozen=True)
class _Wanted:
    """What is drawn into the copies."""

    names: Names
    heat: bool
    lines: bool
    scopes: Mapping[str, Scope]

    def read(self, document: dict[str, Any]) -> _Drawn:
        packed = (document.get(self.names.heatmap) or {}).get("map") if self.heat else None
        label = document.get(self.names.structure) if self.lines else None
        asked = self.scopes.get(str(document["_id"]), [])
        return _Drawn(packed, structure.to_lines(label), [_outline(box) for box in asked])


@dataclass(frozen=True)
class _Drawn:
    """What is drawn into one copy."""

    packed: bytes | None = None  #: heatmap as FiftyOne stores it
    lines: list[np.ndarray] = field(default_factory=list)  #: each (N, 2) relative
    outlines: list[np.ndarray] = field(default_factory=list)  #: likewise


def _chunks(
    dataset: Any, wanted: _Wanted, ids: Sequence[str], files: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[str], list[_Drawn]]]:
    """Ids, paths and what is drawn, a few samples at a time, whatever fields a view hides."""
    fields = {f"{wanted.names.heatmap}.map": 1, wanted.names.structure: 1}
    for start in range(0, len(ids), CHUNK):
        part = slice(start, start + CHUNK)
        query = {"_id": {"$in": [ObjectId(i) for i in ids[part]]}}
        found = {
            str(document["_id"]): wanted.read(document)
            for document in dataset._sample_collection.find(query, fields)
        }
        yield ids[part], files[part], [found.get(i, _Drawn()) for i in ids[part]]


def _show(filepath: str, drawn: _Drawn, folder: Path, name: str, opacity: float) -> str:
    """The file to show: a new copy, or the image itself where there is nothing to draw."""
    heat = None if drawn.packed is None else fou.deserialize_numpy_array(drawn.packed)
    pixels, is_jpeg = _displayed(filepath)
    if (heat is None or not heat.any()) and not drawn.lines and not drawn.outlines:
        return filepath
    target = folder / (name + (".jpg" if is_jpeg else ".png"))
    part = target.with_name(target.name + ".part")
    if drawn.lines:
        pixels = draw_lines(pixels, drawn.lines)
    if heat is not None and heat.any():
        pixels = overlay(pixels, heat, opacity=opacity)
    if drawn.outlines:
        pixels = draw_lines(pixels, drawn.outlines, colour=SCOPE_COLOUR)
    picture = Image.fromarray(pixels)
    if is_jpeg:
        picture.save(part, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(part, format="PNG", compress_level=1)
    part.replace(target)
    return str(target)


def _outline(box: Sequence[float]) -> np.ndarray:
    """Relative [x, y, width, height] -> (5, 2), round and back to the first corner."""
    x, y, w, h = box
    return np.asarray([(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)], dtype=np.float32)


def _name(filepath: str, sample_id: str, names: Names) -> str:
    stem = Path(filepath).stem.encode()[:_STEM_BYTES].decode(errors="ignore")
    return f"{stem}-{sample_id}.{names.overlay}"


def _displayed(filepath: str) -> tuple[np.ndarray, bool]:
    """The pixels as (H, W, 3) uint8, and whether the file is a JPEG."""
    image_size(filepath)  # says what is wrong with the file, if anything
    try:
        with Image.open(filepath) as image:
            if image.mode != "F" and not image.mode.startswith("I"):
                return np.asarray(image.convert("RGB")), image.format in ("JPEG", "MPO")
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(
            f"{filepath}: cannot be read as an image ({error}); replace it or exclude the sample"
        ) from error
    return np.repeat(_stretched(read_image(filepath, channels=1)), 3, axis=2), False


def _stretched(grey: np.ndarray) -> np.ndarray:
    """(H, W, 1) float32 -> uint8 from the image's darkest to its brightest."""
    low, high = (float(v) for v in np.quantile(grey, SHOWN_QUANTILES))
    if low == high:
        low, high = float(grey.min()), float(grey.max())
    spread = (high - low) or 1.0
    return np.asarray(np.rint(np.clip((grey - low) / spread, 0, 1) * 255), dtype=np.uint8)
