"""Training on images that are labelled in part: outside of the scope nothing counts but boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from unseen.arrays.scope import MOST_UNKNOWN, centre_in_scope, scope_mask
from unseen.detector.data import Labelled, TrainingSet, augment, zoom
from unseen.detector.faster_rcnn import build_detector, detector_spec, load_detector
from unseen.detector.scoped_faster_rcnn import UNKNOWN, ScopedSampler
from unseen.detector.training import fit_detector
from unseen.errors import ShapeError
from unseen.steps.train_detector import TrainDetectorConfig
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE, PatchSource
from unseen.unet.training import fit_unet, unet_loss

CPU = torch.device("cpu")
SIZE = 64
BOXES = np.asarray([[8, 8, 20, 20], [40, 36, 56, 50]], dtype=np.float32)
SCOPE = np.asarray([[0, 0, 34, 30]], dtype=np.float32)  # holds the first box
WHOLE = np.asarray([[0, 0, SIZE, SIZE]], dtype=np.float32)
UNET = TrainUnetConfig(
    steps=4, batch_size=2, crop_size=48, channels=(6, 8, 10), box_margin=3, precision="fp32"
)
DETECTORS = ["faster_rcnn", "centernet"]


def _images(count=2):
    noise = np.random.default_rng(0).normal(0.5, 0.03, (count, SIZE, SIZE, 3)).astype(np.float32)
    for x1, y1, x2, y2 in BOXES.astype(int):
        noise[:, y1:y2, x1:x2] += 0.3
    return list(noise.clip(0, 1))


def _of(scopes, *, boxes=BOXES[:1], scale=1.0):
    images = [image[:, :, :1] for image in _images(len(scopes))]
    return LabelledImages.of(
        images,
        [boxes] * len(images),
        [np.zeros(len(boxes), dtype=int)] * len(images),
        class_count=1,
        scale=scale,
        margin=3.0,
        scopes=scopes,
    )


# --- UNet --------------------------------------------------------------------------------------
def test_outside_of_the_scope_background_is_ignored_and_boxes_are_not():
    whole, part = _of([None], boxes=BOXES).targets[0], _of([SCOPE], boxes=BOXES).targets[0]
    is_in = scope_mask(SCOPE, height=SIZE, width=SIZE)
    np.testing.assert_array_equal(part[is_in], whole[is_in])
    np.testing.assert_array_equal(part[~is_in & (whole > 0)], whole[~is_in & (whole > 0)])
    assert (part[~is_in & (whole == 0)] == IGNORE).all()


@pytest.mark.parametrize(
    ("mode", "loss", "dice"),
    [
        ("recommended", "mse", 0.0),
        ("recommended", "mse", 1.0),
        ("paper", "mse", 0.0),
        ("paper", "bce", 0.0),
    ],
)
def test_what_the_network_says_outside_of_the_scope_does_not_change_the_loss(mode, loss, dice):
    spec = UNetSpec(mode, loss, (6, 8, 10), ("dot",))
    target = torch.from_numpy(_of([SCOPE]).targets[0])[None]
    maps = len(spec.classes) + 2 if mode == "recommended" else 2
    logits = torch.randn(1, maps, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    counts = target != IGNORE
    other = torch.where(counts[:, None], logits, 50 * torch.rand_like(logits))
    assert unet_loss(logits, target, spec, dice=dice) == unet_loss(other, target, spec, dice=dice)
    changed = torch.where(counts[:, None], other, logits).flip(1)
    assert unet_loss(logits, target, spec, dice=dice) != unet_loss(changed, target, spec, dice=dice)


@pytest.mark.parametrize("mode", ["recommended", "paper"])
def test_the_whole_image_as_scope_trains_the_unet_bit_by_bit_as_no_scope(mode):
    images = _images()
    labels = [np.asarray([0])] * 2
    spec = UNetSpec(mode, "mse", (6, 8, 10), ("dot",), in_channels=3)

    def losses(scopes, **changes):
        config = replace(UNET, **changes)
        return fit_unet(
            images, [BOXES[:1]] * 2, labels, spec=spec, config=config, scopes=scopes
        ).losses

    assert losses(None) == losses([None, None]) == losses([WHOLE, WHOLE])
    assert losses(None) != losses([SCOPE, None])


def test_every_crop_shows_something_that_is_known(rng):
    small = np.asarray([[50, 3, 56, 9], [2, 58, 5, 61]], dtype=np.float32)
    data = _of([small], boxes=BOXES[:0])
    patches = PatchSource(data.images, data.std, unseen=2, ring=3)
    for source in (None, patches):
        sampler = CropSampler(data, size=16, patches=source, patch_share=1.0, rng=rng)
        _, targets = sampler.batch(60)
        known = (targets != IGNORE).flatten(1).sum(1)
        if source is None:  # a patch's ring may hide the little that is known
            assert (known > 0).all()
        assert (known <= 45).all()  # no patch lies where nobody looked


def test_a_scope_smaller_than_a_pixel_trains_without_an_error():
    nowhere = np.asarray([[10.6, 10.6, 10.9, 10.9]])
    images = [image[:, :, :1] for image in _images(1)]
    trained = fit_unet(
        images,
        [[]],
        [[]],
        spec=UNetSpec("recommended", "mse", (6, 8, 10), ("dot",)),
        config=UNET,
        scopes=[nowhere],
    )
    assert trained.losses == [0.0] * UNET.steps


def test_as_many_scopes_as_images_are_expected():
    images, labels = _images(), [np.asarray([0])] * 2
    with pytest.raises(ShapeError, match="2 images have 1 scopes"):
        fit_unet(
            images,
            [BOXES[:1]] * 2,
            labels,
            spec=UNetSpec("recommended", "mse", (6, 8, 10), ("dot",), in_channels=3),
            config=UNET,
            scopes=[None],
        )
    with pytest.raises(ShapeError, match="2 images have 3 scopes"):
        _fit(images, [None] * 3)
    with pytest.raises(ShapeError, match="image 1 has a scope without a rectangle"):
        _fit(images, [None, np.zeros((0, 4))])


# --- detectors ---------------------------------------------------------------------------------
def _fit(images, scopes, *, detector="faster_rcnn", boxes=BOXES[:1], **settings):
    return fit_detector(
        images,
        [boxes] * len(images),
        [np.zeros(len(boxes), dtype=int)] * len(images),
        spec=detector_spec("small", ("a", "b"), SIZE, detector=detector),
        config=TrainDetectorConfig(
            **{"steps": 3, "batch_size": 2, "precision": "fp32", "detector": detector, **settings}
        ),
        device=CPU,
        scopes=scopes,
    )


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_whole_image_as_scope_trains_a_detector_bit_by_bit_as_no_scope(detector):
    images = _images()
    losses = _fit(images, None, detector=detector).losses
    assert _fit(images, [None, None], detector=detector).losses == losses
    assert _fit(images, [WHOLE, np.vstack([WHOLE, SCOPE])], detector=detector).losses == losses
    assert _fit(images, [SCOPE, None], detector=detector).losses != losses


@pytest.mark.parametrize("detector", DETECTORS)
def test_an_empty_remainder_is_no_remainder_also_for_the_model_itself(detector):
    one = Labelled(torch.from_numpy(_images(1)[0]).permute(2, 0, 1), *_truth())
    plain = one.target(CPU)
    whole = {**plain, "unknown": torch.zeros(0, 4)}
    assert _losses(detector, one.pixels, plain) == _losses(detector, one.pixels, whole)


def _truth():
    return torch.from_numpy(BOXES[:1]), torch.ones(1, dtype=torch.int64)


def _losses(detector, pixels, target):
    torch.manual_seed(0)
    model, _, _ = build_detector(detector_spec("small", ("a",), SIZE, detector=detector))
    return {k: float(v.detach()) for k, v in model.train()([pixels], [target]).items()}


@pytest.mark.parametrize("architecture", ["small", "resnet50"])
def test_anchors_and_proposals_that_nobody_looked_at_are_no_background(architecture):
    spec = detector_spec(architecture, ("a",), SIZE, image_size=SIZE)
    model, _, _ = build_detector(spec, weights="none")
    rng = np.random.default_rng(1)
    corner = rng.uniform(-10, SIZE, (500, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(3, 30, (500, 2))], axis=1)
    boxes = torch.from_numpy(boxes).float()
    one = Labelled(torch.zeros(3, SIZE, SIZE), *_truth(), torch.from_numpy(SCOPE))
    target = one.target(CPU)
    plain = {k: target[k] for k in ("boxes", "labels")}

    (before,), met = model.rpn.assign_targets_to_anchors([boxes], [plain])
    (after,), met_now = model.rpn.assign_targets_to_anchors([boxes], [target])
    assert torch.equal(met[0], met_now[0])
    _assert_only_hidden_background_changed(boxes, before, after)

    heads = model.roi_heads
    _, (before,) = heads.assign_targets_to_proposals([boxes], [plain["boxes"]], [plain["labels"]])
    heads._targets = [target]
    _, (after,) = heads.assign_targets_to_proposals([boxes], [plain["boxes"]], [plain["labels"]])
    _assert_only_hidden_background_changed(boxes, before, after)


def _assert_only_hidden_background_changed(boxes, before, after):
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
    model, _, _ = build_detector(detector_spec("small", ("a",), SIZE))
    n = 40  # fewer than are drawn, so that all are
    objectness, deltas = torch.randn(n, 1), torch.randn(n, 4)
    labels = torch.tensor([1.0, 0, UNKNOWN, -1] * 10)
    boxes = torch.randn(n, 4)
    found = model.rpn.compute_loss(objectness, deltas, [labels], [boxes])
    terms = torch.nn.functional.binary_cross_entropy_with_logits(
        objectness[:, 0], (labels == 1).float(), reduction="none"
    )
    torch.testing.assert_close(found[0], terms[labels >= 0].sum() / 30)
    far = torch.nn.functional.smooth_l1_loss(
        deltas[labels == 1], boxes[labels == 1], beta=1 / 9, reduction="sum"
    )
    torch.testing.assert_close(found[1], far / 30)


def test_a_batch_of_which_nothing_is_known_costs_nothing():
    model, _, _ = build_detector(detector_spec("small", ("a",), SIZE))
    objectness = torch.randn(6, 1, requires_grad=True)
    deltas = torch.randn(6, 4, requires_grad=True)
    none = [torch.full((3,), float(UNKNOWN))] * 2
    losses = model.rpn.compute_loss(objectness, deltas, none, [torch.zeros(3, 4)] * 2)
    assert [loss.item() for loss in losses] == [0.0, 0.0]
    sum(losses).backward()
    assert objectness.grad.abs().sum() == 0


def test_images_with_a_tiny_scope_and_no_object_keep_every_loss_finite():
    tiny = np.asarray([[30, 30, 32, 32]], dtype=np.float32)
    images = _images(3)
    trained = fit_detector(
        images,
        [BOXES[:1], BOXES[:0], BOXES[:0]],
        [np.asarray([0]), [], []],
        spec=detector_spec("small", ("a",), SIZE),
        config=TrainDetectorConfig(steps=6, batch_size=1, precision="fp32"),
        device=CPU,
        scopes=[tiny, tiny, tiny],
    )
    assert np.isfinite(trained.losses).all()


def test_the_names_of_the_weights_are_torchvisions_and_checkpoints_load():
    from torchvision.models.detection.roi_heads import RoIHeads
    from torchvision.models.detection.rpn import RegionProposalNetwork

    spec = detector_spec("small", ("a", "b"), SIZE)
    trained = _fit(_images(), [SCOPE, None]).model
    trained.eval()
    state = trained.state_dict()
    assert {k.split(".")[0] for k in state} == {"backbone", "rpn", "roi_heads"}
    plain = load_detector(spec, state)
    image = torch.from_numpy(_images(1)[0]).permute(2, 0, 1)
    plain.rpn.__class__, plain.roi_heads.__class__ = RegionProposalNetwork, RoIHeads
    for found, expected in zip(
        trained([image])[0].values(), plain([image])[0].values(), strict=True
    ):
        assert torch.equal(found, expected)


def test_centernets_heat_counts_in_the_scope_and_in_boxes_only():
    one = Labelled(torch.rand(3, SIZE, SIZE), *_truth(), torch.from_numpy(SCOPE))
    both = one._replace(xyxy=torch.from_numpy(BOXES), labels=torch.tensor([1, 1]))
    for labelled, known in ((one, SCOPE), (both, np.concatenate([SCOPE, BOXES[1:]]))):
        torch.manual_seed(0)
        model, _, _ = build_detector(detector_spec("small", ("a", "b"), SIZE, detector="centernet"))
        heat = []
        model.heads.register_forward_hook(lambda m, i, out, heat=heat: heat.append(out[0]))
        loss = model.train()([labelled.pixels], [labelled.target(CPU)])["loss_heat"]
        (slope,) = torch.autograd.grad(loss, heat)
        counts = (slope[0] != 0).any(0).numpy()
        cells = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1).reshape(-1, 2) * 4
        expected = centre_in_scope(np.concatenate([cells, cells + 4], axis=1), known)
        np.testing.assert_array_equal(counts, expected.reshape(16, 16))


def test_the_centre_of_a_box_that_is_smaller_than_a_cell_counts():
    dot = Labelled(
        torch.rand(3, SIZE, SIZE),
        torch.tensor([[48.2, 48.2, 49.2, 49.2]]),
        torch.tensor([1]),
        torch.from_numpy(SCOPE),
    )
    torch.manual_seed(0)
    model, _, _ = build_detector(detector_spec("small", ("a",), SIZE, detector="centernet"))
    heat = []
    model.heads.register_forward_hook(lambda m, i, out: heat.append(out[0]))
    loss = model.train()([dot.pixels], [dot.target(CPU)])["loss_heat"]
    assert torch.autograd.grad(loss, heat)[0][0, 0, 12, 12] < 0


def test_a_piece_of_an_object_that_sticks_out_of_the_scope_is_known_to_be_no_object():
    long = torch.tensor([[4.0, 10.0, 60.0, 20.0]])
    one = Labelled(torch.rand(3, SIZE, SIZE), long, torch.tensor([1]), torch.from_numpy(SCOPE))
    model, _, _ = build_detector(detector_spec("small", ("a",), SIZE))
    piece, beside = torch.tensor([[40.0, 10.0, 56.0, 20.0], [40.0, 30.0, 56.0, 40.0]]).split(1)
    anchors = [torch.cat([long, piece, beside])]
    (labels,), _ = model.rpn.assign_targets_to_anchors(anchors, [one.target(CPU)])
    assert labels.tolist() == [1, 0, UNKNOWN]


# --- augmentation ------------------------------------------------------------------------------
def test_the_scope_moves_as_the_boxes_do(rng):
    pixels = torch.rand(3, 40, 60)
    boxes = torch.tensor([[5.0, 3.0, 25.0, 19.0], [30.0, 20.0, 50.0, 36.0]])
    one = Labelled(pixels, boxes, torch.tensor([1, 2]), boxes.clone())
    sizes = set()
    for _ in range(40):
        moved = augment(zoom(one, rng), rng)
        sizes.add(tuple(moved.pixels.shape[-2:]))
        # Boxes that are mostly cut off leave, the scope stays as far as it is seen.
        for box in moved.xyxy:
            assert (moved.scope == box).all(1).any()
        assert (moved.scope[:, 2:] > moved.scope[:, :2]).all()
        height, width = moved.pixels.shape[-2:]
        assert (moved.scope >= 0).all()
        assert (moved.scope <= torch.tensor([width, height, width, height])).all()
    assert len(sizes) > 10


def test_a_scope_changes_neither_pixels_nor_boxes_of_the_variation():
    plain = Labelled(
        torch.rand(3, 40, 60), torch.tensor([[5.0, 3.0, 25.0, 19.0]]), torch.tensor([1])
    )
    part = plain._replace(scope=torch.tensor([[0.0, 0.0, 60.0, 30.0]]))
    for seed in range(20):
        rngs = np.random.default_rng(seed), np.random.default_rng(seed)
        first, second = (
            augment(zoom(one, rng), rng) for one, rng in zip((plain, part), rngs, strict=True)
        )
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.xyxy, second.xyxy)


def test_zooming_never_loses_the_whole_scope(rng):
    one = Labelled(
        torch.rand(3, 40, 40),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor([[0.0, 0.0, 2.0, 2.0]]),
    )
    kept = [len(zoom(one, rng).scope) for _ in range(50)]
    assert kept == [1] * 50


def test_the_scope_is_scaled_with_the_image_and_kept(rng):
    images = [rng.random((100, 200, 3), np.float32)]
    scope = np.asarray([[20, 10, 60, 50], [-9, -9, 0, 9]], dtype=np.float32)
    spec = detector_spec("small", ("a",), 200, image_size=64)
    data = TrainingSet(images, [BOXES[:1]], [np.asarray([0])], spec, [scope])
    for _ in range(2):
        torch.testing.assert_close(data[0].scope, torch.tensor([[6.4, 3.2, 19.2, 16.0]]))
