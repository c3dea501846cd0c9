"""Balanced sampling and the class rectification loss."""

import itertools

import numpy as np
import pytest
import torch

from unseen.detector.data import repeat_factors, repeated_pass
from unseen.detector.faster_rcnn.rectification import (
    MARGIN,
    add_class_rectification,
    class_rectification_loss,
)
from unseen.detector.models import build_detector, detector_spec
from unseen.errors import ConfigError
from unseen.steps.train_detector import TrainDetectorConfig

# Class 0 in all of ten images, class 1 in three, class 2 in one; images 8 and 9 hold nothing else.
LABELS = [[0, 0, 0]] * 5 + [[0, 1], [1, 0, 1], [1, 2, 0]] + [[0]] * 2


@pytest.mark.parametrize(
    ("labels", "threshold", "expected"),
    [
        ([], 0.5, []),
        (LABELS, 0.5, [1] * 5 + [(0.5 / 0.3) ** 0.5] * 2 + [(0.5 / 0.1) ** 0.5] + [1] * 2),
        (LABELS, 0.1, [1] * 10),  # no class is rarer
        ([[3] * 50, [], [], []], 1, [2, 1, 1, 1]),  # boxes of one class in one image count once
    ],
)
def test_repeat_factors_are_those_of_lvis(labels, threshold, expected):
    np.testing.assert_allclose(repeat_factors(labels, threshold), expected)


def test_images_appear_as_often_as_their_factors_say(rng):
    factors = np.array([1.0, 2.25, 3.0, 0.5])
    orders = [repeated_pass(factors, rng) for _ in range(2000)]
    passes = [np.bincount(order, minlength=4) for order in orders]
    assert set(map(tuple, np.stack(passes).tolist())) == set(
        itertools.product([1], [2, 3], [3], [0, 1])
    )
    # Four standard errors of a share of 0.5 in 2000 passes are 0.045.
    np.testing.assert_allclose(np.mean(passes, axis=0), factors, atol=0.045)
    assert any(order.tolist() != sorted(order.tolist()) for order in orders)


def by_loops(features, logits, labels, minority, *, hardest):
    """Dong et al. 2017, triplet by triplet."""
    p = logits.double().softmax(1)
    f = features.double() / features.double().norm(dim=1, keepdim=True)
    losses = []
    for c in minority:
        own = [i for i, label in enumerate(labels.tolist()) if label == c]
        others = [i for i, label in enumerate(labels.tolist()) if label != c]
        positives = sorted(own, key=lambda i: p[i, c])[:hardest]
        negatives = sorted(others, key=lambda i: -p[i, c])[:hardest]
        for a, b, n in itertools.product(own, positives, negatives):
            if a != b:
                losses.append(max(0.0, MARGIN + (f[a] - f[b]).norm() - (f[a] - f[n]).norm()))
    return float(sum(losses) / max(len(losses), 1))


@pytest.mark.parametrize("seed", range(4))
def test_the_rectification_loss_is_its_formula_in_any_order_and_at_any_length(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(40, 6, generator=generator)
    logits = torch.randn(40, 4, generator=generator)
    labels = torch.tensor([0] * 22 + [1] * 9 + [2] * 6 + [3] * 3)
    expected = by_loops(features, logits, labels, [3, 2, 1], hardest=3)
    assert expected > 0
    order = torch.randperm(40, generator=generator)
    loss = class_rectification_loss(7 * features[order], logits[order], labels[order])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [0, 0, 1]])
def test_without_a_pair_of_a_rare_class_there_is_nothing_to_rectify(labels):
    features = torch.randn(len(labels), 4, requires_grad=True)
    logits = torch.randn(len(labels), 2)
    loss = class_rectification_loss(features, logits, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert loss == 0
    assert features.grad.abs().sum() == 0


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(6, 4, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    loss = class_rectification_loss(features, torch.zeros(6, 2), labels)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert torch.isfinite(features.grad).all()


def test_a_detector_without_a_box_head_cannot_rectify():
    with pytest.raises(ConfigError, match="head of Faster R-CNN"):
        TrainDetectorConfig(detector="centernet", rectification=0.1)


def test_a_faster_rcnn_gets_the_loss_in_training_and_finds_what_it_found_before():
    torch.manual_seed(0)
    model, *_ = build_detector(detector_spec("small", ("a", "b"), 64))
    image = torch.rand(3, 64, 64)
    boxes = torch.tensor([[4.0, 4, 14, 14], [30, 30, 42, 42], [40, 4, 60, 12]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 1, 2])}
    names, before = set(model.state_dict()), model.eval()([image])
    add_class_rectification(model, weight=2.0)
    after = model([image])
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert set(model.state_dict()) == names
    # Each box counts with its shifted copies: class 2 has several, and is the minority.
    loss = model.train()([image], [target])["loss_rectification"]
    assert 0 < loss <= 2 * 2.5
    loss.backward()
    assert model.roi_heads.box_head.fc6.weight.grad.abs().sum() > 0
    empty = {name: value[:0] for name, value in target.items()}
    assert model([image], [empty])["loss_rectification"] == 0
