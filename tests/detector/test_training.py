from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from unseen.arrays.boxes import iou
from unseen.detector.data import Labelled, TrainingSet, augment, resize, tile, zoom
from unseen.detector.models import detector_spec
from unseen.detector.training import detect, fit_detector
from unseen.errors import LabelError, TrainingError
from unseen.progress import silent
from unseen.steps.train_detector import TrainDetectorConfig

CLASSES = ("dark", "absent", "bright")
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


def scene(height=120, width=160, seed=0):
    """Grey noise with one dark and one bright square: pixels, boxes, labels."""
    pixels = 0.5 + 0.02 * np.random.default_rng(seed).standard_normal((height, width, 3))
    boxes = np.array([[20, 30, 50, 60], [90, 60, 130, 100]], dtype=np.float32)
    for (x1, y1, x2, y2), value in zip(boxes.astype(int), (0.1, 0.9), strict=True):
        pixels[y1:y2, x1:x2] = value
    return pixels.astype(np.float32), boxes, np.array([0, 2])


def fit(images, boxes, labels, *, classes=CLASSES, progress=silent, snapshots=None, **settings):
    settings = {"precision": "fp32", "batch_size": 2, "steps": 3, **settings}
    config = TrainDetectorConfig(**settings)
    spec = detector_spec("small", classes, 96, detector=config.detector)
    setting = {"spec": spec, "config": config, "device": torch.device("cpu")}
    return fit_detector(images, boxes, labels, **setting, progress=progress, snapshots=snapshots)


@pytest.fixture(scope="module")
def learned():
    image, boxes, labels = scene()
    images = [image, image[:, :80] * 0 + 0.5]
    return fit(images, [boxes, NO_BOXES], [labels, np.zeros(0, dtype=int)], steps=110)


def test_no_images_and_no_boxes_are_errors(learned):
    assert detect(learned.model, [], learned.spec) == []
    image, boxes, labels = scene()
    with pytest.raises(TrainingError, match="no labelled images"):
        fit([], [], [])
    with pytest.raises(LabelError, match="none of the 1 labelled images has a box"):
        fit([image], [NO_BOXES], [[]])
    with pytest.raises(LabelError, match="image 0: class indices from 0 to 2; expected 0 to 1"):
        fit([image], [boxes], [labels], classes=("one", "two"))


def test_what_was_learned_is_found_at_native_scale_with_its_class(learned):
    image, boxes, labels = scene(seed=1)
    (one,) = detect(learned.model, [image], learned.spec)
    is_sure = one.scores > 0.5
    overlap = iou(boxes, one.xyxy[is_sure])
    assert (overlap.max(1) > 0.5).all()
    assert one.labels[is_sure][overlap.argmax(1)].tolist() == labels.tolist()
    assert not (one.labels[one.scores > 0.3] == CLASSES.index("absent")).any()
    assert one.xyxy.dtype == np.float32
    assert (np.diff(one.scores) <= 0).all()


def test_the_schedule_says_epochs_and_steps():
    image, boxes, labels = scene(64, 64)
    three = ([image] * 3, [boxes * 0.4] * 3, [labels] * 3)
    trained = fit(*three, epochs=2, steps=None)
    assert (trained.steps, trained.schedule) == (3, "2 epochs (3 steps)")
    trained = fit(*three, steps=3)
    assert (trained.steps, trained.schedule) == (3, "3 steps (2 epochs)")
    assert len(trained.losses) == 3


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_the_seed_decides_and_the_global_state_is_untouched(detector):
    image, boxes, labels = scene()
    before = torch.get_rng_state()

    def run(**settings):
        return fit([image], [boxes], [labels], detector=detector, **settings)

    first, second = run(), run()
    assert first.losses == second.losses
    states = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert run(seed=2).losses != first.losses
    assert torch.equal(before, torch.get_rng_state())


def test_rectification_and_balance_change_the_training():
    image, boxes, labels = scene()
    two = ([image] * 2, [boxes, boxes[:1]], [labels, labels[:1]])
    plain = fit(*two, steps=2).losses
    assert fit(*two, steps=2, rectification=5.0).losses[0] > plain[0]
    assert fit(*two, steps=2, balance=1.0).losses != plain


def test_a_loss_that_is_not_finite_stops_the_training():
    image, boxes, labels = scene(64, 64)
    with pytest.raises(TrainingError, match="at step 1 of 2"):
        fit([image * np.nan], [boxes * 0.4], [labels], steps=2)


def test_progress_counts_steps_and_may_cancel():
    image, boxes, labels = scene(64, 64)

    def listen(done, total, label=""):
        assert total == 5
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit([image], [boxes * 0.4], [labels], steps=5, progress=listen)


def test_training_images_are_read_once_and_scaled_with_their_boxes_and_scope():
    class Lazy(list):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    lazy = Lazy([np.full((100, 200, 3), 0.25, dtype=np.float32)])
    boxes = [np.array([[20, 10, 60, 50], [0, 0, 0, 9], [150, 50, 900, 80]], dtype=np.float32)]
    scopes = [np.array([[20, 10, 60, 50], [-9, -9, 0, 9]], dtype=np.float32)]
    spec = detector_spec("small", CLASSES, 200, image_size=64)
    data = TrainingSet(lazy, boxes, [np.array([0, 1, 2])], spec, scopes)
    scaled = torch.tensor([[6.4, 3.2, 19.2, 16.0], [48.0, 16.0, 64.0, 25.6]])
    for _ in range(2):
        pixels, xyxy, labels, scope = data[0]
        torch.testing.assert_close(pixels, torch.full((3, 32, 64), 0.25))
        torch.testing.assert_close(xyxy, scaled)
        torch.testing.assert_close(scope, scaled[:1])
        assert labels.tolist() == [1, 3]
    assert lazy.reads == 1


@pytest.mark.parametrize("size", [(100, 50), (640, 640), (33, 500), (120, 1000)])
@pytest.mark.parametrize("architecture", ["small", "resnet50"])
def test_images_are_scaled_as_torchvision_scales_them(size, architecture):
    spec = detector_spec(architecture, CLASSES, max(size))
    reference = GeneralizedRCNNTransform(*spec.sides, [0.0] * 3, [1.0] * 3).eval()
    image = torch.rand(3, *size)
    expected, _ = reference([image])
    pixels = resize(image, spec)
    height, width = pixels.shape[-2:]
    if min(size) == 33 and architecture == "small":  # a strip keeps more of its height
        assert (height, width) == (32, 484)
        return
    assert (height, width) == expected.image_sizes[0]
    torch.testing.assert_close(expected.tensors[0, :, :height, :width], pixels)


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_a_strip_is_learned_and_looked_at_beside_ordinary_images(detector):
    image, boxes, labels = scene()
    strip = np.full((12, 1500, 3), 0.5, np.float32)
    strip[3:9, 600:700] = 0.9
    on_strip = np.array([[600, 3, 700, 9]], np.float32)
    trained = fit([image, strip], [boxes, on_strip], [labels, labels[1:]], detector=detector)
    none, one = detect(trained.model, [image[:1, :1], strip], trained.spec)
    for found, (height, width) in ((none, (1, 1)), (one, strip.shape[:2])):
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= np.array([width, height] * 2) + 1e-3).all()


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
@pytest.mark.parametrize("side", [12, 0.4])
def test_bf16_learns_finite_losses_from_boxes_of_any_size(detector, side):
    image, boxes, labels = scene()
    thin = np.concatenate([boxes[:1], [[120, 30, 120 + side, 30 + side]]]).astype(np.float32)
    settings = {"detector": detector, "steps": 6, "precision": "bf16"}
    trained = fit([image], [thin], [labels], **settings)
    assert np.isfinite(trained.losses).all()
    (one,) = detect(trained.model, [image], trained.spec, precision="bf16")
    assert one.scores.dtype == one.xyxy.dtype == np.float32


def test_boxes_and_scope_follow_the_augmented_pixels(rng):
    image = torch.zeros(3, 40, 60)
    image[:, 5:12, 20:50] = 1
    shapes = set()
    for _ in range(40):
        box = torch.tensor([[20.0, 5.0, 50.0, 12.0]])
        pixels, xyxy, labels, scope = augment(Labelled(image, box, torch.tensor([2]), box), rng)
        assert torch.equal(scope, xyxy)
        x1, y1, x2, y2 = xyxy[0].int().tolist()
        is_object = pixels[0] > (pixels.min() + pixels.max()) / 2
        assert is_object[y1:y2, x1:x2].all()
        assert is_object.sum() == 7 * 30
        assert labels.tolist() == [2]
        shapes.add(tuple(pixels.shape[-2:]))
    assert shapes == {(40, 60), (60, 40)}


def test_boxes_and_scope_follow_the_zoomed_pixels_and_leave_with_them():
    image = torch.zeros(1, 60, 90).expand(3, -1, -1).clone()
    image[:, 20:32, 30:70] = 1
    image[:, :4, :4] = 0.5  # in a corner: often cut off
    boxes = torch.tensor([[30.0, 20.0, 70.0, 32.0], [0.0, 0.0, 4.0, 4.0]])
    rng = np.random.default_rng(0)
    counts, sides = set(), set()
    for _ in range(60):
        pixels, xyxy, labels, scope = zoom(Labelled(image, boxes, torch.tensor([1, 2]), boxes), rng)
        # A box that is mostly cut off leaves; the scope stays as far as it is seen.
        assert {tuple(box) for box in xyxy.tolist()} <= {tuple(part) for part in scope.tolist()}
        height, width = pixels.shape[1:]
        assert max(height / 60, width / 90) <= 1
        counts.add(len(xyxy))
        for (x1, y1, x2, y2), label in zip(xyxy.tolist(), labels.tolist(), strict=True):
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            if label == 1:
                rows, columns = torch.where(pixels[0] > 0.75)
                edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert np.abs(np.subtract([x1, y1, x2, y2], edges)).max() <= 1
                sides.add((round(x2 - x1), round(y2 - y1)))
    assert counts == {1, 2}
    assert len(sides) > 20


def test_a_tile_shows_objects_as_they_are_and_what_is_too_thin_is_no_background():
    image = np.full((900, 1200, 3), 0.5, np.float32)
    boxes = np.array([[1000, 700, 1004, 704], [50, 50, 54, 58], [600, 300, 600.4, 340]], np.float32)
    for (x1, y1, x2, y2), value in zip(boxes.astype(int), (0.9, 0.1, 0.5), strict=True):
        image[y1:y2, x1:x2] = value
    spec = detector_spec("small", CLASSES, 1200, boxes=[boxes[:2]])
    assert (spec.scale, spec.image_size) == (1.0, 320)  # 4 px would be 1.07 px of 320
    data = TrainingSet([image], [boxes], [np.array([2, 0, 1])], spec)
    thin = torch.from_numpy(boxes[2])
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):
        one = tile(data[0], spec.image_size, rng)
        assert one.pixels.shape == (3, 320, 320)
        for (x1, y1, x2, y2), label in zip(one.xyxy.int().tolist(), one.labels, strict=True):
            assert one.pixels[0, y1:y2, x1:x2].mean() == pytest.approx(
                0.9 if label == 3 else 0.1, rel=1e-3
            )
            seen.add(int(label))
    assert seen == {1, 3}
    (unknown,) = data[0].target(torch.device("cpu"))["unknown"]
    torch.testing.assert_close(unknown, thin)


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_small_objects_of_a_large_image_are_found_once_each_in_its_own_pixels(detector):
    """Squares of 8 px on 900 x 700 px: scaled to fit into 96 px they would have less than one."""
    rng = np.random.default_rng(0)
    image = (0.5 + 0.02 * rng.standard_normal((700, 900, 3))).astype(np.float32)
    # Also where tiles overlap, and at the edges.
    corners = [(x, y) for x in (0, 60, 310, 500, 892) for y in (0, 90, 330, 692)]
    boxes = np.array([[x, y, x + 8, y + 8] for x, y in corners], np.float32)
    for x, y in corners:
        image[y : y + 8, x : x + 8] = 0.95
    spec = replace(detector_spec("small", CLASSES, 96, detector=detector), scale=1.0)
    config = TrainDetectorConfig(steps=90, batch_size=4, precision="fp32", detector=detector)
    of_all = [image], [boxes], [np.zeros(len(boxes), int)]
    trained = fit_detector(*of_all, spec=spec, config=config, device=torch.device("cpu"))
    (one,) = detect(trained.model, [image], spec)
    is_sure = one.scores > 0.5
    found = iou(boxes, one.xyxy[is_sure]) > 0.5
    assert found.any(1).sum() >= 0.75 * len(boxes)
    assert (found.sum(1) <= 1).all()


def test_an_interrupted_training_goes_on_from_its_snapshot_as_undisturbed():
    image, boxes, labels = scene()
    images = ([image, image[:, ::-1]], [boxes, NO_BOXES], [labels, []])

    class Kept:
        def __init__(self, snapshot=None):
            self.snapshots = [snapshot]

        def load(self):
            return self.snapshots[-1]

        def save(self, make):
            self.snapshots.append(make())

    kept = Kept()
    one = fit(*images, steps=5, detector="centernet", snapshots=kept)
    told = []
    again = fit(
        *images,
        steps=5,
        detector="centernet",
        snapshots=Kept(kept.snapshots[3]),
        progress=lambda done, total, label="": told.append(done),
    )
    assert told == [3, 4, 5]
    assert again.losses == one.losses
    other = again.model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.model.state_dict().items())
