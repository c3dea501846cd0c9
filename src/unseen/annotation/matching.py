"""Which box on the server is which known one, and which boxes lie near a place.

An image may hold thousands of boxes, so that no box is compared with all others one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unseen.annotation.shapes import Box, ServerBox

if TYPE_CHECKING:
    from unseen.annotation.merge import KnownBox

#: A box without any mark of ours is the known box of its class that it overlaps this much (IoU).
OVERLAP = 0.5
#: More than rounding adds to a number of a box.
_SLACK = 1e-9


def match(base: Sequence[KnownBox], server: Sequence[ServerBox]) -> dict[int, int]:
    """Pair the server's boxes with the known ones: index in `server` -> index in `base`.

    Each box is used once; boxes without a partner are new or gone. Boxes match by the FiftyOne id
    that the shape carries. A copy made in CVAT carries the id of its original; of several, the one
    with the known shape id wins, then the highest IoU. Boxes left over match by shape id. Boxes
    without any mark of ours match by class and IoU, because CVAT may give shapes new ids.
    """
    pairs: dict[int, int] = {}
    free = set(range(len(base)))

    def pair(s: int, b: int) -> None:
        if s not in pairs and b in free:
            pairs[s] = b
            free.remove(b)

    def take(
        server_key: Callable[[ServerBox], Any],
        base_key: Callable[[KnownBox], Any],
        least: float = 0.0,
    ) -> None:
        """Pair free boxes that agree in a key which both have and in IoU >= `least`, best first."""
        groups: dict[Any, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for s, box in enumerate(server):
            if s not in pairs and (key := server_key(box)) is not None:
                groups[key][0].append(s)
        for b in sorted(free):
            if (key := base_key(base[b])) in groups:
                groups[key][1].append(b)
        for there, known in groups.values():
            places = Sorted([base[b].box for b in known])
            found = [
                (-share, s, known[j])
                for s in there
                for share, j in places.overlapping(server[s].box)
                if share >= least
            ]
            for _, s, b in sorted(found):
                pair(s, b)
            if not least:  # of what is left, nothing overlaps
                apart = [s for s in there if s not in pairs], [b for b in known if b in free]
                for s, b in zip(*apart, strict=False):
                    pair(s, b)

    def both(*marks: Any) -> Any:
        return None if None in marks else marks

    take(lambda s: both(s.label_id, s.shape_id), lambda b: both(b.sent_id, b.shape_id))
    take(lambda s: s.label_id, lambda b: b.sent_id)
    take(lambda s: s.shape_id, lambda b: b.shape_id)
    # A suggestion drawn by hand carries no mark of ours either.
    take(
        lambda s: s.label,
        lambda b: b.label if b.kind == "label" or b.sent_id is None else None,
        OVERLAP,
    )
    return pairs


class Sorted:
    """`[x, y, width, height]` boxes, sorted by their left sides to look at few of them."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        numbers = np.array(boxes, float).reshape(-1, 4)
        self._order = numbers[:, 0].argsort(kind="stable")
        self._boxes = numbers[self._order]
        self._widest = self._boxes[:, 2].max(initial=0.0)

    def overlapping(self, box: Box) -> list[tuple[float, int]]:
        """(IoU, index) of every box that overlaps this one."""
        near = self._between(box[0] - self._widest, box[0] + box[2])
        shares = overlaps(box, self._boxes[near])
        (hits,) = shares.nonzero()
        return list(zip(shares[hits].tolist(), self._order[near][hits].tolist(), strict=True))

    def like(self, box: Box, tolerance: float) -> list[int]:
        """The indices of the boxes that differ by at most `tolerance` in each number, nearest first.

        Of equally near ones, the one that was given first.
        """
        near = self._between(box[0] - tolerance, box[0] + tolerance)
        (hits,) = (np.abs(self._boxes[near] - box).max(axis=1) <= tolerance).nonzero()
        shares = overlaps(box, self._boxes[near][hits])
        places = self._order[near][hits]
        ordered: list[int] = places[np.lexsort((places, -shares))].tolist()
        return ordered

    def _between(self, low: float, high: float) -> slice:
        """The boxes whose left side is from `low` to `high`."""
        return slice(*np.searchsorted(self._boxes[:, 0], (low - _SLACK, high + _SLACK)))


def overlaps(box: Box, others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) intersection over union of a `[x, y, width, height]` box with each of (N, 4)."""
    start, size = others[:, :2], others[:, 2:]
    ends = np.minimum(np.add(box[:2], box[2:]), start + size)
    shared = np.clip(ends - np.maximum(box[:2], start), 0, None).prod(axis=1)
    union = box[2] * box[3] + size.prod(axis=1) - shared
    shares = np.zeros(len(others))
    np.divide(shared, union, out=shares, where=union > 0)
    return shares
