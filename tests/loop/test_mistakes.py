"""What is said about errors and confidences, and where nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_facts import point

from unseen.detector.calibration import ReliabilityBin
from unseen.loop.curves import ErrorKind
from unseen.loop.mistakes import read_mistakes

MEASURED = point("", "mixed", 1, {"scratch": 0.5}, {"scratch": 9})


def read(errors, *bins):
    made = {kind: ErrorKind(cost=cost, counts=counts) for kind, (cost, counts) in errors.items()}
    reliability = [ReliabilityBin(c, right, tried) for c, right, tried in bins]
    return read_mistakes(replace(MEASURED, errors=made, reliability=reliability))


def test_without_a_record_nothing_is_said():
    assert read_mistakes(None) is None
    assert read_mistakes(MEASURED) is None


def test_the_costliest_kind_comes_first_with_what_to_do():
    many = {"class": (0.02, {"stain": 9}), "missed": (0.21, {"stain": 4, "scratch": 10})}
    mistakes = read(many)
    assert [k.kind for k in mistakes.kinds] == ["missed", "class"]
    assert "0.21 higher (14 boxes). Label more images with scratch." in mistakes.sentence


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({"missed": (0.004, {"a": 9})}, "No kind of error costs"),
        ({"place": (-0.01, {})}, "No kind of error costs"),
        ({"missed": (0.4, {"a": 1})}, "With 1 box from the confidence on, that is too few"),
    ],
)
def test_little_is_said_about_little(errors, said):
    assert said in read(errors).sentence


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        ([], "0 predictions are too few"),
        ([(0.9, 44, 49)], "49 predictions are too few"),
        ([(0.9, 90, 100)], "read as probabilities"),
        ([(0.9, 50, 100)], "0.40 off on average, over 100 predictions: higher"),
        ([(0.2, 10, 10), (0.5, 45, 45)], "lower"),
    ],
)
def test_confidences(bins, said):
    mistakes = read({"missed": (0, {})}, *bins)
    assert said in mistakes.confidence_sentence
    for of_range in mistakes.reliability:
        assert of_range.interval.low <= of_range.share <= of_range.interval.high
