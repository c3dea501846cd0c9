"""What the strategy `mixed` reads: which criterion found something, and the pool's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unseen.dataset import iterations, reading
from unseen.dataset.fields import Names
from unseen.science.criteria import is_new_and_rare
from unseen.science.mixed import CRITERIA


@dataclass(frozen=True)
class LabelledBoxes:
    """The classes of all labelled boxes, by image."""

    labels: dict[str, list[str]]  #: sample id -> class of each box
    initial: frozenset[str]  #: ids of the images that were labelled before any batch

    @property
    def counts(self) -> dict[str, int]:
        """Boxes per class."""
        return _counts(self.labels.values())

    @property
    def initial_counts(self) -> dict[str, int]:
        """Those of them in the initial images."""
        return _counts(self.labels[i] for i in self.initial)


def labelled_boxes(dataset: Any, names: Names) -> LabelledBoxes:
    """Read the labels outside the test split.

    Where no labelled image has the initial tag, those in no batch are the initial ones.
    """
    if dataset.get_field(names.label_field) is None:
        return LabelledBoxes({}, frozenset())
    view = reading.labelled(dataset, names)
    ids, tags, labels = view.values(["id", "tags", f"{names.label_field}.detections.label"])
    initial = {i for i, of_sample in zip(ids, tags, strict=True) if names.initial_tag in of_sample}
    if not initial:
        initial = {
            i
            for i, of_sample in zip(ids, tags, strict=True)
            if not any(names.batch_number(tag) for tag in of_sample)
        }
    found = {i: [c for c in of_image or [] if c] for i, of_image in zip(ids, labels, strict=True)}
    return LabelledBoxes(found, frozenset(initial))


def found_and_tried(
    dataset: Any, names: Names, labelled: LabelledBoxes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What the earlier batches' images hold, by what they were chosen for.

    Returns:
        (4,) and (4,) in the order of `CRITERIA`: labelled images with a box of a class that was new
        and rare when their batch was chosen, and all labelled images. Images drawn at random, and
        those that nobody has labelled, are in neither.
    """
    found, tried = np.zeros((2, len(CRITERIA)), dtype=np.int64)
    for record in iterations.read_records(dataset, names).values():
        entry = record["steps"].get("select_batch") or {}
        sources = entry.get("sources") or {}
        wanted = _new_and_rare(
            labelled.counts, entry.get("class_counts", {}), entry.get("initial_counts", {})
        )
        for sample_id in sources.keys() & labelled.labels.keys():
            criterion = CRITERIA.index(sources[sample_id])
            tried[criterion] += 1
            found[criterion] += not wanted.isdisjoint(labelled.labels[sample_id])
    return found, tried


class PoolNumbers(NamedTuple):
    """Columns of the scored pool, NaN where a number is missing."""

    ids: list[str]
    metric: npt.NDArray[np.float64]  #: (N,)
    texture: npt.NDArray[np.float64]  #: (N,)
    objects: npt.NDArray[np.float64]  #: (N,)
    expected: npt.NDArray[np.float64]  #: (N, K) only the asked-for columns


def pool_numbers(view: Any, names: Names, metric: str, positions: Sequence[int]) -> PoolNumbers:
    """Read only what decides, so that 100,000 images take no longer than their numbers need.

    Args:
        view: scored samples.
        names: the loop.
        metric: field of the image metric.
        positions: in the expected counts, of the classes that are asked for.
    """
    counts = {f"n{k}": {"$arrayElemAt": [f"${names.expected_counts}", int(k)]} for k in positions}
    numbers_of = {"metric": metric, "texture": names.texture, "objects": names.objects}
    project = {"_id": 1, **{name: f"${field}" for name, field in numbers_of.items()}, **counts}
    pipeline = [*view._pipeline(), {"$project": project}]
    samples = reading.dataset_of(view)._sample_collection
    columns = (*numbers_of, *counts)
    ids, rows = [], []
    for document in samples.aggregate(pipeline, allowDiskUse=True):
        ids.append(str(document["_id"]))
        rows.append([document.get(name) for name in columns])
    numbers = np.asarray(rows, dtype=np.float64).reshape(len(ids), len(columns))
    return PoolNumbers(ids, numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3:])


def _new_and_rare(now: dict[str, int], then: dict[str, int], initial: dict[str, int]) -> set[str]:
    """Of all classes that are known now, those that were new and rare then."""
    classes = sorted({*now, *then})
    is_wanted = is_new_and_rare(
        [then.get(c, 0) for c in classes], [initial.get(c, 0) for c in classes]
    )
    return {c for c, wanted in zip(classes, is_wanted, strict=True) if wanted}


def _counts(labels: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    for of_image in labels:
        found.update(of_image)
    return {c: found[c] for c in sorted(found)}
