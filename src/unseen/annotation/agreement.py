"""How well annotators agree with labels that are known, and with each other.

Some images of a request are shown for that alone: golden ones, from the labelled test split, and those
that a second annotator labels too. What is drawn there is kept with the record of the request and
never becomes a label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unseen.annotation import Agreement, sendings, truth
from unseen.annotation.matching import Sorted
from unseen.annotation.shapes import Box
from unseen.dataset.loop import Loop

GOLDEN, SECOND = "golden", "second"

#: Boxes of one class that overlap at least this much (IoU) mark the same object.
SAME_OBJECT = 0.5

Labelled = tuple[str, Box]


def compare(reference: Sequence[Labelled], drawn: Sequence[Labelled]) -> dict[str, Counter[str]]:
    """Class -> numbers of boxes that are `agreed`, `missed` and `extra`; the best overlaps count.

    >>> a, b = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2)
    >>> compare([("pit", a), ("pit", b)], [("pit", a), ("scratch", b)])["pit"]
    Counter({'agreed': 1, 'missed': 1, 'extra': 0})
    """
    counts = {}
    for label in sorted({label for label, _ in (*reference, *drawn)}):
        known = [box for name, box in reference if name == label]
        boxes = [box for name, box in drawn if name == label]
        places = Sorted(known)
        pairs = sorted(
            ((-iou, i, j) for i, box in enumerate(boxes) for iou, j in places.overlapping(box)),
        )
        ours: set[int] = set()
        theirs: set[int] = set()
        for negative, i, j in pairs:
            if -negative >= SAME_OBJECT and i not in ours and j not in theirs:
                ours.add(i)
                theirs.add(j)
        agreed = len(ours)
        missed, extra = len(known) - agreed, len(boxes) - agreed
        counts[label] = Counter(agreed=agreed, missed=missed, extra=extra)
    return counts


def read_agreement(
    loop: Loop, records: Sequence[sendings.Sending] | None = None
) -> list[Agreement]:
    """By annotator, kind of comparison and class, of the loop's `records` by default.

    An open comparison has no row yet.
    """
    answers = list(_answers(sendings.read_sendings(loop) if records is None else records))
    if not answers:
        return []
    held = truth.labels_of(loop, {sample_id for sample_id, _ in answers})
    sums: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for sample_id, answer in answers:
        reference = held.get(sample_id)
        if reference is None:
            continue  # deleted, or the first annotator is not done
        drawn = [(label, tuple(box)) for label, *box in answer["boxes"]]
        for label, counts in compare(reference, drawn).items():
            key = (answer.get("by") or "nobody", answer["kind"], label)
            sums[key] += counts + Counter(images=1)
    return [
        Agreement(
            annotator=by,
            compared_with=kind,
            label=label,
            **{n: found[n] for n in ("images", "agreed", "missed", "extra")},
        )
        for (by, kind, label), found in sorted(sums.items())
    ]


def _answers(
    records: Iterable[sendings.Sending],
) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """(sample id, what was drawn) of every image that was shown for comparison and is done."""
    for record in records:
        for task in record.tasks:
            for frame, answer in task.repeats.items():
                if "boxes" in answer:
                    yield task.sample_ids[int(frame)], answer
