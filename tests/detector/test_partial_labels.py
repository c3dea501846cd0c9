"""Detectors on partially labelled images: outside of the scope nothing counts but boxes."""

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from unseen.arrays.scope import MOST_UNKNOWN, centre_in_scope, scope_mask
from unseen.detector.data import Labelled, augment, zoom
from unseen.detector.faster_rcnn.partial_labels import UNKNOWN, ScopedSampler
from unseen.detector.models import build_detector, detector_spec, load_detector
from unseen.detector.training import fit_detector
from unseen.steps.train_detector import TrainDetectorConfig

CPU = torch.device("cpu")
SIZE = 64
BOXES = np.asarray([[8, 8, 20, 20], [40, 36, 56, 50]], dtype=np.float32)
SCOPE = np.asarray([[0, 0, 34, 30]], dtype=np.float32)  # holds the first box
WHOLE = np.asarray([[0, 0, SIZE, SIZE]], dtype=np.float32)


def make_images(count):
    noise = np.random.default_rng(0).normal(0.5, 0.03, (count, SIZE, SIZE, 3)).astype(np.float32)
    for x1, y1, x2, y2 in BOXES.astype(int):
        noise[:, y1:y2, x1:x2] += 0.3
    return list(noise.clip(0, 1))


def fit(scopes, *, detector="faster_rcnn"):
    spec = detector_spec("small", ("a", "b"), SIZE, detector=detector)
    config = TrainDetectorConfig(detector=detector, steps=3, batch_size=2, precision="fp32")
    of = {"spec": spec, "config": config, "device": CPU, "scopes": scopes}
    return fit_detector(make_images(2), [BOXES[:1]] * 2, [np.zeros(1, dtype=int)] * 2, **of)


def build(architecture="small", detector="faster_rcnn"):
    torch.manual_seed(0)
    spec = detector_spec(architecture, ("a", "b"), SIZE, image_size=SIZE, detector=detector)
    return build_detector(spec, weights="none")[0].train()


def labelled(boxes, scope=SCOPE):
    return Labelled(
        torch.from_numpy(make_images(1)[0]).permute(2, 0, 1),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.ones(len(boxes), dtype=torch.int64),
        None if scope is None else torch.from_numpy(scope),
    )


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_the_whole_image_as_scope_trains_bit_by_bit_as_no_scope(detector):
    losses = fit(None, detector=detector).losses
    assert fit([None, None], detector=detector).losses == losses
    assert fit([WHOLE, np.vstack([WHOLE, SCOPE])], detector=detector).losses == losses
    assert fit([SCOPE, None], detector=detector).losses != losses


@pytest.mark.parametrize("architecture", ["small", "resnet50"])
def test_anchors_and_proposals_that_nobody_looked_at_are_no_background(architecture):
    model = build(architecture)
    rng = np.random.default_rng(1)
    corner = torch.from_numpy(rng.uniform(-10, SIZE, (500, 2))).float()
    boxes = torch.cat([corner, corner + torch.from_numpy(rng.uniform(3, 30, (500, 2)))], 1).float()
    target = labelled(BOXES[:1]).target(CPU)
    plain = {k: target[k] for k in ("boxes", "labels")}

    (before,), met = model.rpn.assign_targets_to_anchors([boxes], [plain])
    (after,), met_now = model.rpn.assign_targets_to_anchors([boxes], [target])
    assert torch.equal(met[0], met_now[0])
    assert_only_hidden_background_changed(boxes, before, after)

    heads = model.roi_heads
    _, (before,) = heads.assign_targets_to_proposals([boxes], [plain["boxes"]], [plain["labels"]])
    heads._targets = [target]
    _, (after,) = heads.assign_targets_to_proposals([boxes], [plain["boxes"]], [plain["labels"]])
    assert_only_hidden_background_changed(boxes, before, after)


def assert_only_hidden_background_changed(boxes, before, after):
    fine = scope_mask(SCOPE * 8, height=8 * SIZE, width=8 * SIZE)
    for xyxy, was, now in zip(boxes.numpy(), before.tolist(), after.tolist(), strict=True):
        x1, y1, x2, y2 = (8 * xyxy).astype(int)
        rest = ~fine[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        hidden = rest.sum() / ((x2 - x1) * (y2 - y1))
        if was != 0:
            assert now == was
        elif abs(hidden - MOST_UNKNOWN) > 0.05:  # an eighth of a pixel is as fine as it gets
            assert now == (UNKNOWN if hidden > MOST_UNKNOWN else 0)
    assert (after == UNKNOWN).any()
    assert (after == 0).any()


def test_the_sample_is_that_of_a_whole_image_without_what_is_unknown():
    labels = torch.tensor([1.0, 0, 0, -1, 0, 0, 1, 0, 0, 0] * 20)
    part = torch.where((labels == 0) & (torch.arange(200) % 3 > 0), UNKNOWN, labels)
    sampler, whole = ScopedSampler(64, 0.25), BalancedPositiveNegativeSampler(64, 0.25)
    torch.manual_seed(0)
    (objects,), (background,) = whole([labels])
    torch.manual_seed(0)
    (objects_now,), (background_now,) = sampler([part])
    assert torch.equal(objects, objects_now)
    assert torch.equal(background_now.bool(), background.bool() & (part == 0))
    assert sampler.known == (16 + int(background_now.sum())) / 64
    assert 0.3 < sampler.known < 0.9
    torch.manual_seed(0)
    assert torch.equal(sampler([labels])[1][0], background)
    assert sampler.known == 1


def test_what_is_unknown_adds_nothing_to_the_loss_and_leaves_the_rest_as_it_is():
    """The proposals' loss is a mean over all that was drawn: brute force, term by term."""
    n = 40  # fewer than are drawn, so that all are
    objectness, deltas = torch.randn(n, 1), torch.randn(n, 4)
    labels = torch.tensor([1.0, 0, UNKNOWN, -1] * 10)
    boxes = torch.randn(n, 4)
    losses = build().rpn.compute_loss(objectness, deltas, [labels], [boxes])
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        objectness[:, 0], (labels == 1).float(), reduction="none"
    )
    torch.testing.assert_close(losses[0], terms[labels >= 0].sum() / 30)
    far = torch.nn.functional.smooth_l1_loss(
        deltas[labels == 1], boxes[labels == 1], beta=1 / 9, reduction="sum"
    )
    torch.testing.assert_close(losses[1], far / 30)


def test_the_names_of_the_weights_are_torchvisions_and_so_are_the_detections():
    trained = fit([SCOPE, None]).model
    state = trained.state_dict()
    assert {k.split(".")[0] for k in state} == {"backbone", "rpn", "roi_heads"}
    plain = load_detector(detector_spec("small", ("a", "b"), SIZE), state)
    image = labelled(BOXES).pixels
    plain.rpn.__class__, plain.roi_heads.__class__ = RegionProposalNetwork, RoIHeads
    for ours, theirs in zip(trained([image])[0].values(), plain([image])[0].values(), strict=True):
        assert torch.equal(ours, theirs)


def heat_slopes(one):
    """Gradient of CenterNet's heat loss, (K, H, W)."""
    model, heat = build(detector="centernet"), []
    model.heads.register_forward_hook(lambda module, given, out: heat.append(out[0]))
    loss = model([one.pixels], [one.target(CPU)])["loss_heat"]
    return torch.autograd.grad(loss, heat)[0][0]


def test_centernets_heat_counts_in_the_scope_and_in_boxes_only():
    cells = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1).reshape(-1, 2) * 4
    for boxes, known in ((BOXES[:1], SCOPE), (BOXES, np.concatenate([SCOPE, BOXES[1:]]))):
        counts = (heat_slopes(labelled(boxes)) != 0).any(0).numpy()
        expected = centre_in_scope(np.concatenate([cells, cells + 4], axis=1), known)
        np.testing.assert_array_equal(counts, expected.reshape(16, 16))
    # Also the centre of a box that is smaller than a cell.
    assert heat_slopes(labelled([[48.2, 48.2, 49.2, 49.2]]))[0, 12, 12] < 0


@pytest.mark.parametrize("seed", range(5))
def test_a_scope_changes_neither_pixels_nor_boxes_of_the_variation(seed):
    first, second = (
        augment(zoom(labelled(BOXES, scope), rng), rng)
        for scope, rng in ((s, np.random.default_rng(seed)) for s in (None, SCOPE))
    )
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.xyxy, second.xyxy)
