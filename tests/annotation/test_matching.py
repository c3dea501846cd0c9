"""Boxes are paired as by comparing all with all, without comparing all with all."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unseen.annotation import matching
from unseen.annotation.matching import OVERLAP, Sorted, match
from unseen.annotation.merge import KnownBox
from unseen.annotation.shapes import ServerBox

grid = st.integers(0, 3).map(lambda i: i / 16)
sides = st.integers(1, 4).map(lambda i: i / 16)
boxes = st.tuples(grid, grid, sides, sides)
marks = st.sampled_from(["a", "b", None])
numbers = st.sampled_from([1, 2, 3, None])
classes = st.sampled_from(["cat", "dog"])
kinds = st.sampled_from(["label", "prediction", "suggestion"])
known_boxes = st.lists(st.builds(KnownBox, kinds, st.just("x"), marks, numbers, classes, boxes))
server_boxes = st.lists(st.builds(ServerBox, classes, boxes, numbers, marks, st.just({})))


def iou(a, b):
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def paired_one_by_one(base, server):
    """The rule itself: by each mark, the best pair that is left, until none is."""
    pairs = {}
    rules = [
        (lambda s, b: s.label_id == b.sent_id is not None and s.shape_id == b.shape_id is not None),
        (lambda s, b: s.label_id == b.sent_id is not None),
        (lambda s, b: s.shape_id == b.shape_id is not None),
        (
            lambda s, b: (
                s.label == b.label
                and (b.kind == "label" or b.sent_id is None)
                and iou(s.box, b.box) >= OVERLAP
            )
        ),
    ]
    for rule in rules:
        while left := [
            (-iou(there.box, known.box), s, b)
            for s, there in enumerate(server)
            for b, known in enumerate(base)
            if s not in pairs and b not in pairs.values() and rule(there, known)
        ]:
            _, s, b = min(left)
            pairs[s] = b
    return pairs


@settings(deadline=None)
@given(known_boxes, server_boxes)
def test_the_best_pair_first(base, server):
    assert match(base, server) == paired_one_by_one(base, server)


@settings(deadline=None)
@given(st.lists(boxes), boxes, st.sampled_from([1e-3, 1 / 16]))
@example([(1 / 16, 0, 1 / 16, 1 / 16), (0, 0, 1 / 16, 1 / 16)], (0, 0, 1 / 8, 1 / 16), 1 / 16)
def test_boxes_near_a_place(held, box, tolerance):
    places = Sorted(held)
    like = [i for i, b in enumerate(held) if np.abs(np.subtract(b, box)).max() <= tolerance]
    assert places.like(box, tolerance) == sorted(like, key=lambda i: (-iou(held[i], box), i))
    assert sorted(i for _, i in places.overlapping(box)) == [
        i for i, b in enumerate(held) if iou(b, box) > 0
    ]


@pytest.mark.parametrize("mark", [None, "copied"], ids=["no mark", "copies of one box"])
def test_few_boxes_are_compared(monkeypatch, mark, rng):
    compared = 0

    def counted(box, others, overlaps=matching.overlaps):
        nonlocal compared
        compared += len(others)
        return overlaps(box, others)

    monkeypatch.setattr(matching, "overlaps", counted)
    places = [(*xy, 0.01, 0.01) for xy in rng.uniform(0, 0.99, (500, 2)).tolist()]
    base = [KnownBox("label", f"k{i}", mark, None, "cat", box) for i, box in enumerate(places)]
    server = [ServerBox("cat", box, i, mark, {}) for i, box in enumerate(places)]
    assert match(base, server) == dict(enumerate(range(500)))
    assert compared < 500 * 500 / 20
