"""Known structure of the images: what is stored of it, and what of an image counts in the ranking.

One field of polylines holds the structure of each image, whatever it was made from; the record says
where it came from and which zone counts. An image without structure counts in full.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import fiftyone as fo
import numpy as np
import numpy.typing as npt
from bson import ObjectId
from pymongo import UpdateOne

from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.structure.die_grid import Grid, lines
from unseen.structure.weights import Shapes, zone_weights

STRUCTURE_METHOD = "unseen/structure"
#: Label of the polyline that draws a die grid; its attributes hold the grid itself.
GRID_LABEL = "die grid"
#: Samples read or written in one operation.
CHUNK = 512


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
        """Changes with what counts; None where everything counts in full."""
        if self.weight >= 1 or (self.zone == "everywhere" and not self.margin):
            return None
        text = json.dumps([self.zone, self.margin, self.weight])
        return hashlib.sha256(text.encode()).hexdigest()[:6]


def score_mark(digest: str, record: StructureRecord | None) -> str:
    """What a sample is marked with by a UNet that scored it under these rules."""
    version = record.version if record else None
    return digest[:12] + (f"+{version}" if version else "")


def read_record(loop: Loop) -> StructureRecord | None:
    """What was stored with `write_record`, or None."""
    if not loop.dataset.has_run(loop.names.structure_key):
        return None
    return decode(loop.dataset.get_run_info(loop.names.structure_key).config.serialize())


def decode(config: Mapping[str, Any]) -> StructureRecord:
    """The record from the config of its run."""
    fields = ("structure", "zone", "margin", "weight", "parameters")
    return StructureRecord(**{name: config[name] for name in fields})


def write_record(loop: Loop, record: StructureRecord) -> None:
    """Keep the record; an earlier one is replaced."""
    delete_record(loop)
    config = loop.dataset.init_run(
        method=STRUCTURE_METHOD, prefix=loop.names.prefix, **asdict(record)
    )
    loop.dataset.register_run(loop.names.structure_key, config)


def delete_record(loop: Loop) -> None:
    """Forget the record, where there is one."""
    if loop.dataset.has_run(loop.names.structure_key):
        loop.dataset.delete_run(loop.names.structure_key)


# --- labels ------------------------------------------------------------------------------------------
def grid_label(grid: Grid, fit: float | None, width: int, height: int) -> dict[str, Any]:
    """A die grid as FiftyOne stores polylines: its lines to look at, its numbers to compute with.

    Args:
        grid: of the image.
        fit: how well it fits, in [-1, 1]; None where it was given.
        width: of the image, px.
        height: of the image, px.
    """
    segments = lines(grid, width, height) / np.asarray([width, height], np.float32)
    numbers: dict[str, Any] = {k: [float(v) for v in pair] for k, pair in asdict(grid).items()}
    if fit is not None:
        numbers["fit"] = round(float(fit), 4)
    return _polylines([_polyline(GRID_LABEL, segments.tolist(), closed=False, **numbers)])


def shapes_label(shapes: Shapes, name: str) -> dict[str, Any]:
    """Outlines and lines as FiftyOne stores polylines; one polyline per outline with its holes."""
    closed = [
        _polyline(name, [np.asarray(ring).tolist() for ring in outline], closed=True)
        for outline in shapes.outlines
    ]
    opened = [_polyline(name, [np.asarray(line).tolist()], closed=False) for line in shapes.lines]
    return _polylines(closed + opened)


def to_structure(label: Mapping[str, Any] | None) -> Grid | Shapes | None:
    """What a stored field of polylines says; None where it says nothing."""
    polylines = (label or {}).get("polylines") or []
    for polyline in polylines:
        if polyline.get("label") == GRID_LABEL and polyline.get("pitch"):
            return Grid(
                pitch=_pair(polyline["pitch"]),
                origin=_pair(polyline["origin"]),
                street=_pair(polyline["street"]),
            )
    outlines, opened = [], []
    for polyline in polylines:
        rings = [np.asarray(r, np.float32).reshape(-1, 2) for r in polyline.get("points") or []]
        if polyline.get("closed") or polyline.get("filled"):
            outlines.append([r for r in rings if len(r) >= 3])
        else:
            opened += [r for r in rings if len(r) >= 2]
    outlines = [rings for rings in outlines if rings]
    return Shapes(outlines=outlines, lines=opened) if outlines or opened else None


def to_lines(label: Mapping[str, Any] | None) -> list[npt.NDArray[np.float32]]:
    """What a stored field of polylines draws: (N, 2) relative corners per line, closed ones closed."""
    found = []
    for polyline in (label or {}).get("polylines") or []:
        for points in polyline.get("points") or []:
            line = np.asarray(points, np.float32).reshape(-1, 2)
            if polyline.get("closed") or polyline.get("filled"):
                line = np.concatenate([line, line[:1]])
            found.append(line)
    return found


def read_labels(dataset: Any, field: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Sample id -> stored polylines, of those samples that have some."""
    found = {}
    stored = dataset.get_field(field)
    name = (stored.db_field or field) if stored is not None else field
    for start in range(0, len(ids), CHUNK):
        wanted = {"_id": {"$in": [ObjectId(i) for i in ids[start : start + CHUNK]]}}
        for document in dataset._sample_collection.find(wanted, {name: 1}):
            if (document.get(name) or {}).get("polylines"):
                found[str(document["_id"])] = document[name]
    return found


def declare_field(loop: Loop) -> None:
    """Add the field of the structure.

    Raises:
        DatasetError: a field of that name exists and is not ours.
    """
    writing.declare(
        loop,
        loop.names.structure,
        fo.EmbeddedDocumentField,
        "Known structure of the image: die grid, mask or lines",
        embedded_doc_type=fo.Polylines,
    )


def save_labels(loop: Loop, labels: Mapping[str, Mapping[str, Any] | None]) -> int:
    """Write the structure of samples; those for which it is another now lose their score's mark.

    Args:
        loop: the loop.
        labels: sample id -> document; None removes it.

    Returns:
        How many samples changed.
    """
    before = read_labels(loop.dataset, loop.names.structure, list(labels))
    changed = [i for i, label in labels.items() if _content(label) != _content(before.get(i))]
    now = datetime.now(timezone.utc)
    # Scores of every loop on these images were made under other rules.
    marks = {
        Names(prefix=loop.names.prefix, series=series).model: None
        for series in {
            "",
            loop.names.series,
            *[one.names.series for one in loop.all_series()],
        }
    }
    marks = {name: None for name in marks if loop.dataset.get_field(name) is not None}
    ops = [
        UpdateOne(
            {"_id": ObjectId(i)},
            {"$set": {loop.names.structure: labels[i], "last_modified_at": now, **marks}},
        )
        for i in changed
    ]
    if ops:
        loop.dataset._bulk_write(ops, ids=changed)
    return len(changed)


# --- what counts -------------------------------------------------------------------------------------
class ZoneReader:
    """What each pixel of an image counts in the ranking, read as it is needed."""

    def __init__(
        self,
        loop: Loop,
        record: StructureRecord,
        ids: Sequence[str],
        size_of: Callable[[int], tuple[int, int]],
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            loop: the loop.
            record: what counts.
            ids: of the samples, in the order in which they are asked for by position.
            size_of: position -> (width, height) px of the image.
        """
        self._record, self._size_of = record, size_of

        # Neighbours are asked for together; the structure of 100,000 images is not kept.
        @lru_cache(maxsize=8)
        def chunk(number: int) -> dict[int, Grid | Shapes]:
            start = number * CHUNK
            part = ids[start : start + CHUNK]
            labels = read_labels(loop.dataset, loop.names.structure, part)
            found = {}
            for position, sample_id in enumerate(part, start=start):
                structure = to_structure(labels.get(sample_id))
                if structure is not None:
                    found[position] = structure
            return found

        self._chunk = chunk

    def __call__(self, position: int, shape: tuple[int, int]) -> npt.NDArray[np.float32] | None:
        """(h, w) float32 in [0, 1], or None where everything counts in full."""
        structure = self._chunk(position // CHUNK).get(position)
        if structure is None:
            return None
        record = self._record
        width, height = self._size_of(position)
        return zone_weights(
            structure,
            width,
            height,
            shape,
            zone=record.zone,
            margin=record.margin,
            weight=record.weight,
        )


def _content(label: Mapping[str, Any] | None) -> Any:
    """What a label says, without the ids that FiftyOne gives it."""
    return [
        {k: v for k, v in polyline.items() if k not in ("_id", "tags")}
        for polyline in (label or {}).get("polylines") or []
    ]


def _polylines(polylines: list[dict[str, Any]]) -> dict[str, Any]:
    return {"_cls": "Polylines", "polylines": polylines}


def _polyline(label: str, points: Any, *, closed: bool, **attributes: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(),
        "_cls": "Polyline",
        "attributes": {},
        "tags": [],
        "label": label,
        "points": points,
        "closed": closed,
        "filled": False,
        **attributes,
    }


def _pair(values: Sequence[float]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
