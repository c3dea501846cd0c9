"""Agreement between two people's boxes in one image."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unseen.annotation import Agreement
from unseen.annotation.agreement import compare

A, B = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2)
NEAR_A = (0.12, 0.1, 0.2, 0.2)  # IoU 0.82
FAR_A = (0.18, 0.1, 0.2, 0.2)  # IoU 0.43


@pytest.mark.parametrize(
    ("reference", "drawn", "counts"),
    [
        ([], [], {}),
        ([("a", A)], [], {"a": (0, 1, 0)}),
        ([], [("a", A)], {"a": (0, 0, 1)}),
        ([("a", A)], [("a", NEAR_A)], {"a": (1, 0, 0)}),
        ([("a", A)], [("a", FAR_A)], {"a": (0, 1, 1)}),
        ([("a", A)], [("b", A)], {"a": (0, 1, 0), "b": (0, 0, 1)}),
        ([("a", A)], [("a", NEAR_A), ("a", A)], {"a": (1, 0, 1)}),  # one object, two boxes
        ([("a", A), ("a", B)], [("a", B), ("a", A)], {"a": (2, 0, 0)}),
    ],
)
def test_what_counts_as_the_same(reference, drawn, counts):
    found = compare(reference, drawn)
    assert {k: (v["agreed"], v["missed"], v["extra"]) for k, v in found.items()} == counts


boxes = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.tuples(*[st.floats(0, 0.7)] * 2, *[st.floats(0.05, 0.3)] * 2),
    ),
    max_size=6,
)


@given(boxes, boxes)
def test_every_box_counts_once_and_the_sides_can_be_swapped(reference, drawn):
    one, other = compare(reference, drawn), compare(drawn, reference)
    for label, counts in one.items():
        known = sum(name == label for name, _ in reference)
        assert counts["agreed"] + counts["missed"] == known
        assert counts["agreed"] + counts["extra"] == sum(name == label for name, _ in drawn)
        swapped = other[label]
        assert (counts["missed"], counts["extra"]) == (swapped["extra"], swapped["missed"])
    same = compare(reference, reference)
    assert not any(c["missed"] or c["extra"] for c in same.values())


def test_the_share_is_that_of_boxes_that_both_have():
    row = dict(annotator="ann", compared_with="golden", label="a", images=2)
    assert Agreement(**row, agreed=3, missed=1, extra=1).share == pytest.approx(0.75)
    assert Agreement(**row, agreed=0, missed=0, extra=2).share == 0
