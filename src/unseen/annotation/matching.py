"""Which box on the server is which of those that we know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unseen.annotation.extents import Box
from unseen.annotation.shapes import FoundBox, clip_box

Kind = Literal["label", "suggestion", "prediction"]

#: Boxes whose numbers differ by no more are the same: px pass through decimal text on their way.
SAME = 1e-5

#: A box without any mark is taken for the known one of its class that it overlaps this much (IoU).
OVERLAP = 0.5


@dataclass(frozen=True)
class KnownBox:
    """A box on the server as we knew it: as it was sent, or as the last look found it."""

    kind: Kind
    id: str  #: of the label in FiftyOne
    sent_id: str | None  #: what the shape's `label_id` attribute says on the server
    shape_id: int | None
    label: str
    box: Box  #: relative [x, y, width, height]
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    in_truth: bool = False  #: whether the ground truth held it after that look

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "kind": self.kind,
            "id": self.id,
            "sent_id": self.sent_id,
            "shape_id": self.shape_id,
            "label": self.label,
            "box": list(self.box),
            "attributes": dict(self.attributes),
            "in_truth": self.in_truth,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KnownBox:
        """The inverse of `to_dict`."""
        x, y, width, height = data["box"]
        return cls(**{**data, "box": (x, y, width, height)})


def same_box(a: Sequence[float], b: Sequence[float], tolerance: float = SAME) -> bool:
    """Whether two boxes differ by no more than `tolerance` in each number, once clipped."""
    first, second = clip_box(a) or a, clip_box(b) or b
    return all(abs(u - v) <= tolerance for u, v in zip(first, second, strict=True))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two relative `[x, y, width, height]` boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


def match(base: Sequence[KnownBox], found: Sequence[FoundBox]) -> dict[int, int]:
    """Pair what the server holds with what we knew; each box is used once.

    First by the FiftyOne id that the shape carries. A box copied in CVAT carries the id of its
    original, so that several may claim one: the same shape id goes first, then the highest IoU.
    Then by shape id. Then, among boxes that carry no mark of ours, by class and IoU: CVAT may
    store a box that was drawn there under a new shape id.

    Returns:
        Index in `found` -> index in `base`; what is missing is new or gone.
    """
    pairs: dict[int, int] = {}
    free = set(range(len(base)))

    def take(candidates: Iterable[tuple[float, int, int]]) -> None:
        """Accept (IoU, found, base) greedily, best first."""
        for _, f, b in sorted(candidates, key=lambda c: (-c[0], c[1], c[2])):
            if f not in pairs and b in free:
                pairs[f] = b
                free.remove(b)

    def candidates(
        key_found: Callable[[FoundBox], Any], key_base: Callable[[KnownBox], Any]
    ) -> Iterable[tuple[float, int, int]]:
        """Free pairs that agree in a key which both have."""
        known = defaultdict(list)
        for b in sorted(free):
            known[key_base(base[b])].append(b)
        return [
            (overlap(f.box, base[b].box), i, b)
            for i, f in enumerate(found)
            if i not in pairs and key_found(f) is not None
            for b in known[key_found(f)]
        ]

    by_id = candidates(lambda f: f.label_id, lambda b: b.sent_id)
    take(c for c in by_id if found[c[1]].shape_id == base[c[2]].shape_id is not None)
    take(by_id)
    take(candidates(lambda f: f.shape_id, lambda b: b.shape_id))
    # A suggestion drawn by hand carries no mark of ours either.
    same_class = candidates(
        lambda f: f.label, lambda b: b.label if b.kind == "label" or b.sent_id is None else None
    )
    take(c for c in same_class if c[0] >= OVERLAP)
    return pairs
