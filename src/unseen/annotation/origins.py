"""Every label with who made it, when, and from what, as the rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseen.dataset import indexes
from unseen.dataset.loop import Loop
from unseen.errors import FileError

#: What is known of a label that came from annotators; see `Names.sources`.
SOURCE = ("by", "at", "batch", "from", "suggestion", "score", "model")
COLUMNS = (
    "filepath",
    "label_id",
    "class",
    "x",
    "y",
    "width",
    "height",
    *SOURCE,
    "step",
    "iteration",
)


def rows(loop: Loop) -> Iterator[dict[str, Any]]:
    """One row per label of the dataset, by path; boxes are relative to their image.

    Where no annotator is known, `by`, `at`, `step` and `iteration` tell which step first saw the
    labels of the image.
    """
    names = loop.names
    fields = ("filepath", names.label_field, names.sources, names.labelled)
    labelled = indexes.labels_set(names)
    samples = loop.dataset._sample_collection.find(labelled, dict.fromkeys(fields, 1))
    # By two fields, because the index of the first alone would lead through every sample.
    for sample in samples.sort([("filepath", 1), ("_id", 1)]).allow_disk_use(True):
        sources, seen = sample.get(names.sources) or {}, sample.get(names.labelled) or {}
        for box in (sample.get(names.label_field) or {}).get("detections") or []:
            source = sources.get(str(box["_id"])) or {}
            place = dict(
                zip(("x", "y", "width", "height"), box["bounding_box"] or (), strict=False)
            )
            about = {"filepath": sample["filepath"], "label_id": str(box["_id"])}
            yield {**about, "class": box.get("label"), **place, **seen, **source}


def write_table(loop: Loop, path: Path) -> None:
    """Write the rows as CSV in UTF-8, with the names of the columns first; FileError if it fails."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            table.writeheader()
            table.writerows(rows(loop))
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error}); free some space, or choose another folder"
        ) from error
