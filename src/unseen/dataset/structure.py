"""Known structure of the images: what is stored of it, and what of an image counts in the ranking.

One field of polylines holds the structure of each image, whatever it was made from; the record says
where it came from and which zone counts. An image without structure counts in full.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from bson import ObjectId

from unseen.dataset import writing
from unseen.dataset.loop import Loop
from unseen.dataset.runs import save_run
from unseen.structure.die_grid import Grid, lines
from unseen.structure.weights import Shapes, zone_weights

STRUCTURE_METHOD = "unseen/structure"
#: Label of the polyline that draws a die grid; its attributes hold the grid itself.
GRID_LABEL = "die grid"
#: Samples read or written in one operation.
CHUNK = 512

#: Polylines as FiftyOne stores them.
Label = Mapping[str, Any]


@dataclass(frozen=True)
class StructureRecord:
    """Where the structure came from, and which part of an image counts."""

    structure: str  #: grid, mask, polylines or field
    zone: str
    margin: float
    weight: float
    parameters: Mapping[str, Any]

    @property
    def version(self) -> str | None:
        """Changes with what counts; None if everything counts in full."""
        if self.weight >= 1 or (self.zone == "everywhere" and not self.margin):
            return None
        text = json.dumps([self.zone, self.margin, self.weight])
        return hashlib.sha256(text.encode()).hexdigest()[:6]


def score_mark(digest: str, record: StructureRecord | None) -> str:
    """The mark of the samples that a UNet scored under these rules."""
    version = record.version if record else None
    return digest[:12] + (f"+{version}" if version else "")


def scored_mark(entry: Mapping[str, Any]) -> str:
    """The mark of the samples that a run of `score_samples` scored, from its entry."""
    return str(entry.get("mark") or str(entry.get("digest", ""))[:12])


def read_record(loop: Loop) -> StructureRecord | None:
    """What `write_record` stored, or None."""
    if not loop.dataset.has_run(loop.names.structure_key):
        return None
    return decode(loop.dataset.get_run_info(loop.names.structure_key).config.serialize())


def decode(config: Mapping[str, Any]) -> StructureRecord:
    """The record from the config of its run."""
    fields = ("structure", "zone", "margin", "weight", "parameters")
    return StructureRecord(**{name: config[name] for name in fields})


def write_record(loop: Loop, record: StructureRecord | None) -> None:
    """Store the record in place of an earlier one; None only deletes that."""
    if record is not None:
        content = {"prefix": loop.names.prefix, **asdict(record)}
        save_run(loop.dataset, loop.names.structure_key, STRUCTURE_METHOD, **content)
    elif loop.dataset.has_run(loop.names.structure_key):
        loop.dataset.delete_run(loop.names.structure_key)


# --- labels ------------------------------------------------------------------------------------------
def grid_label(grid: Grid, fit: float | None, width: int, height: int) -> Label:
    """A die grid on an image of `width` x `height` px: lines to look at, numbers to compute with.

    `fit` is how well it fits, in [-1, 1], or None for a given grid.
    """
    segments = lines(grid, width, height) / np.asarray([width, height], np.float32)
    numbers: dict[str, Any] = {k: [float(v) for v in pair] for k, pair in asdict(grid).items()}
    if fit is not None:
        numbers["fit"] = round(float(fit), 4)
    drawn = _polyline(GRID_LABEL, segments.tolist(), closed=False, **numbers)
    return {"_cls": "Polylines", "polylines": [drawn]}


def shapes_label(shapes: Shapes, name: str) -> Label:
    """Outlines, each with its holes, and lines; one polyline per outline or line."""
    closed = [
        _polyline(name, [np.asarray(ring).tolist() for ring in outline], closed=True)
        for outline in shapes.outlines
    ]
    opened = [_polyline(name, [np.asarray(line).tolist()], closed=False) for line in shapes.lines]
    return {"_cls": "Polylines", "polylines": closed + opened}


def to_structure(label: Label | None) -> Grid | Shapes | None:
    """The structure that stored polylines describe; None if they describe nothing."""
    polylines = (label or {}).get("polylines") or []
    outlines, opened = [], []
    for polyline in polylines:
        if polyline.get("label") == GRID_LABEL and polyline.get("pitch"):
            pairs = (polyline[name] for name in ("pitch", "origin", "street"))
            pitch, origin, street = ((float(x), float(y)) for x, y in pairs)
            return Grid(pitch, origin, street)
        rings = [np.asarray(r, np.float32).reshape(-1, 2) for r in polyline.get("points") or []]
        if _is_closed(polyline):
            outlines.append([r for r in rings if len(r) >= 3])
        else:
            opened += [r for r in rings if len(r) >= 2]
    outlines = [rings for rings in outlines if rings]
    return Shapes(outlines=outlines, lines=opened) if outlines or opened else None


def to_lines(label: Label | None) -> list[npt.NDArray[np.float32]]:
    """The lines to draw, each (N, 2) relative corners; closed ones end where they begin."""
    drawn = []
    for polyline in (label or {}).get("polylines") or []:
        for points in polyline.get("points") or []:
            line = np.asarray(points, np.float32).reshape(-1, 2)
            drawn.append(np.concatenate([line, line[:1]]) if _is_closed(polyline) else line)
    return drawn


def read_labels(dataset: Any, field: str, ids: Sequence[str]) -> dict[str, Label]:
    """Sample id -> stored polylines, of the samples that have some."""
    labels = {}
    stored = dataset.get_field(field)
    name = (stored.db_field or field) if stored is not None else field
    for start in range(0, len(ids), CHUNK):
        wanted = {"_id": {"$in": [ObjectId(i) for i in ids[start : start + CHUNK]]}}
        for document in dataset._sample_collection.find(wanted, {name: 1}):
            if (document.get(name) or {}).get("polylines"):
                labels[str(document["_id"])] = document[name]
    return labels


def save_labels(loop: Loop, labels: Mapping[str, Label | None]) -> int:
    """Write the structure of samples (id -> label, None removes it); returns how many changed.

    A changed sample counts as not scored, in every loop, because other rules hold for it now.
    """
    before = read_labels(loop.dataset, loop.names.structure, list(labels))
    changed = [i for i, label in labels.items() if _content(label) != _content(before.get(i))]
    series = {"", loop.names.series, *(one.names.series for one in loop.all_series())}
    models = [replace(loop.names, series=name).model for name in series]
    marks = {name: None for name in models if loop.dataset.get_field(name) is not None}
    values = {i: {loop.names.structure: labels[i], **marks} for i in changed}
    writing.set_raw(loop.dataset, values)
    return len(changed)


#: From a shape (h, w) to (h, w) float32 in [0, 1].
Zone = Callable[[tuple[int, int]], npt.NDArray[np.float32]]


# --- what counts -------------------------------------------------------------------------------------
def zone_reader(
    loop: Loop,
    record: StructureRecord,
    ids: Sequence[str],
    size_of: Callable[[int], tuple[int, int]],
) -> Callable[[int], Zone | None]:
    """How much each pixel of an image counts in the ranking, read when it is needed.

    `size_of` gives (width, height) px of the image at a position in `ids`. The reader takes such a
    position. It returns None if everything counts in full, else the zone, which needs no database
    and can be sent to another process.
    """
    rules = {name: getattr(record, name) for name in ("zone", "margin", "weight")}

    # Neighbours are asked for together; the structure of 100,000 images is not kept.
    @lru_cache(maxsize=8)
    def chunk(number: int) -> list[Grid | Shapes | None]:
        part = ids[number * CHUNK : (number + 1) * CHUNK]
        labels = read_labels(loop.dataset, loop.names.structure, part)
        return [to_structure(labels.get(sample_id)) for sample_id in part]

    def read(position: int) -> Zone | None:
        structure = chunk(position // CHUNK)[position % CHUNK]
        if structure is None:
            return None
        return partial(zone_weights, structure, *size_of(position), **rules)

    return read


def _content(label: Label | None) -> Any:
    """What a label says, without the ids that FiftyOne gives it."""
    return [
        {k: v for k, v in polyline.items() if k not in ("_id", "tags")}
        for polyline in (label or {}).get("polylines") or []
    ]


def _is_closed(polyline: Label) -> bool:
    return bool(polyline.get("closed") or polyline.get("filled"))


def _polyline(name: str, points: Any, *, closed: bool, **attributes: Any) -> dict[str, Any]:
    shape = {"label": name, "points": points, "closed": closed, "filled": False}
    return writing.label("Polyline", attributes={}, **shape, **attributes)
