"""What the panel says of the people who label."""

from __future__ import annotations

import pytest

from unseen.annotation import Agreement, describe
from unseen.loop.overview_data import Control, ControlBatch, Interval
from unseen.loop.people import hours_saved


def control(ranked, random, interval, images=40):
    batch = ControlBatch(
        batch="batch_01",
        rare_classes=["pit"],
        ranked_images=images,
        ranked_boxes=round(ranked * images),
        random_images=10,
        random_boxes=round(random * 10),
    )
    return Control(
        batches=[batch],
        ranked_per_image=ranked,
        random_per_image=random,
        gain=ranked - random,
        interval=interval,
        sentence="",
    )


def test_hours_saved_are_those_of_the_random_images_that_would_hold_as_much():
    # 40 images with 1.5 rare boxes each: 60, which 120 random images hold; 80 more of 90 s each.
    said = hours_saved(control(1.5, 0.5, Interval(low=0.5, high=1.25)), 90)
    assert said.startswith("2.0 hours saved against random images so far (95 %: 1.0 to 2.5)")
    # A ranking that is worse costs hours, and says so.
    worse = hours_saved(control(0.25, 0.5, Interval(low=-0.5, high=0.0)), 90)
    assert worse.startswith("-0.5 hours saved")


@pytest.mark.parametrize(
    "given",
    [None, control(1.5, 0.5, None), control(1.5, 0.0, Interval(low=1, high=2))],
)
def test_nothing_is_claimed_without_an_interval_or_random_finds(given):
    assert hours_saved(given, 90) is None


def test_each_person_and_comparison_has_a_line():
    counts = {"images": 2, "agreed": 3, "missed": 1, "extra": 0}
    rows = [
        Agreement(annotator=who, compared_with=kind, label=label, **counts)
        for who, kind, label in (
            ("ann", "golden", "pit"),
            ("ann", "golden", "scratch"),
            ("bob", "second", "pit"),
        )
    ]
    assert describe([]) == []
    first, second = describe(rows)
    assert first == (
        "ann, golden images: pit 3 boxes agreed, 1 missed, 0 more; scratch 3 boxes agreed, 1 missed, "
        "0 more"
    )
    assert second.startswith("bob, compared with another person: pit 3")
