"""What the UNet trains on: pasted patches, and images that are labelled in part."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_cdt

from unseen.arrays.image_store import ImageStore
from unseen.arrays.masks import covered_pixels, largest_first, painted
from unseen.arrays.scope import scope_mask
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE, PatchSource
from unseen.unet.training import fit_unet

UNSEEN = 3


def _crop(rng, channels):
    image = np.clip(rng.normal(0.5, 0.1, (96, 96, channels)), 0, 1).astype(np.float32)
    target = np.zeros((96, 96), dtype=np.int64)
    target[20:45, 30:60] = 1
    target[70:80, 5:15] = 2
    target[:, 90:] = IGNORE
    return image, target


class Donors:
    def __init__(self, images):
        self._images, self.sizes = images, [image.shape[:2] for image in images]

    def image(self, i, rows, columns):
        return self._images[i][rows[:, None], columns]


def _source(rng, channels, ring):
    donors = [rng.uniform(0, 1, (40, 50, channels)).astype(np.float32) for _ in range(3)]
    return PatchSource(Donors(donors), np.full(channels, 0.1, np.float32), unseen=UNSEEN, ring=ring)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ring", [0, 5])
def test_patches_keep_their_promises(rng, channels, ring):
    source = _source(rng, channels, ring)
    sizes = []
    for _ in range(60):
        image, target = _crop(rng, channels)
        before, truth = image.copy(), target.copy()
        source.paste(image, target, max_radius=20, rng=rng)
        patch = target == UNSEEN
        sizes.append(patch.sum())
        changed = (image != before).any(axis=2)
        ringed = (target == IGNORE) & (truth != IGNORE)
        kept = ~patch & ~ringed
        # What is neither unseen nor ring keeps its label; only background becomes ring.
        np.testing.assert_array_equal(target[kept], truth[kept])
        assert (truth[ringed] == 0).all()
        assert not (patch & (truth == IGNORE)).any()
        # The image changes only in the patch and within the ring's width around it.
        near = patch.any() & (distance_transform_cdt(~patch, "chessboard") <= ring)
        assert not (changed & ~near).any()
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
    assert np.mean(np.asarray(sizes) > 0) > 0.9
    assert max(sizes) < 96 * 96


def test_what_would_hardly_change_the_image_is_not_pasted(rng):
    # Against a standard deviation of 100 no change within [0, 1] is worth a patch.
    image, target = _crop(rng, 1)
    before, truth = image.copy(), target.copy()
    source = PatchSource(Donors([image.copy()]), np.full(1, 100, np.float32), unseen=UNSEEN, ring=2)
    for _ in range(20):
        source.paste(image, target, max_radius=10, rng=rng)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(target, truth)


def test_tiny_crops_and_tiny_donors_are_no_problem(rng):
    for size in (1, 3, 9):
        image = rng.uniform(0, 1, (size, size, 1)).astype(np.float32)
        target = np.zeros((size, size), np.int64)
        donors = [rng.uniform(0, 1, (1, 1, 1)).astype(np.float32)]
        source = PatchSource(Donors(donors), np.full(1, 0.2, np.float32), unseen=1, ring=3)
        for _ in range(20):
            source.paste(image, target, max_radius=1, rng=rng)
        assert np.isfinite(image).all()


SIZE = 64
BOXES = np.asarray([[8, 8, 20, 20], [40, 36, 56, 50]], dtype=np.float32)
SCOPE = np.asarray([[0, 0, 34, 30]], dtype=np.float32)  # holds the first box
WHOLE = np.asarray([[0, 0, SIZE, SIZE]], dtype=np.float32)
QUICK = TrainUnetConfig(
    steps=4, batch_size=2, crop_size=48, channels=(6, 8, 10), box_margin=3, precision="fp32"
)


def make_images(count):
    noise = np.random.default_rng(0).normal(0.5, 0.03, (count, SIZE, SIZE, 1)).astype(np.float32)
    for x1, y1, x2, y2 in BOXES.astype(int):
        noise[:, y1:y2, x1:x2] += 0.3
    return list(noise.clip(0, 1))


def fit(scopes, boxes=BOXES[:1], mode="recommended"):
    count = len(scopes or [None, None])
    data = make_images(count), [boxes] * count, [np.zeros(len(boxes), int)] * count
    spec = UNetSpec(mode, "mse", (6, 8, 10), ("dot",))
    return fit_unet(*data, spec=spec, config=replace(QUICK, mode=mode), scopes=scopes)


def labelled(scope, boxes=BOXES):
    data = make_images(1), [boxes], [np.zeros(len(boxes), int)]
    return LabelledImages.of(*data, class_count=1, scale=1.0, margin=3.0, scopes=[scope])


def test_a_window_of_the_target_is_cut_from_the_mask_of_the_whole_image(rng):
    for _ in range(20):
        boxes = np.sort(rng.uniform(0, SIZE, (6, 2, 2)), axis=1).reshape(-1, 4)
        labels = rng.integers(0, 2, 6)
        data = LabelledImages.of(
            make_images(1), [boxes], [labels], class_count=2, scale=1.0, margin=2.0
        )
        covered = covered_pixels(boxes, height=SIZE, width=SIZE, scale=1.0, margin=2.0)
        order = largest_first(boxes)
        whole = painted(covered[order], labels[order], (0, 0, SIZE, SIZE))
        rows, columns = (np.sort(rng.integers(0, SIZE, n)) for n in (9, 14))
        np.testing.assert_array_equal(data.target(0, rows, columns), whole[rows[:, None], columns])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_trained_on_from_the_bytes_that_are_kept(tmp_path, rng, channels):
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (SIZE, SIZE), dtype=np.uint8)).save(path)
    store = ImageStore(paths, channels=channels)
    spec = UNetSpec(channels=(6, 8, 10), classes=("dot",), in_channels=channels)
    data = [BOXES[:1]] * 2, [[0]] * 2
    kept, floats = (
        fit_unet(images, *data, spec=spec, config=QUICK) for images in (store, list(store))
    )
    assert kept.losses == floats.losses
    assert store.pixels(0).nbytes == SIZE * SIZE


def test_outside_of_the_scope_background_is_ignored_and_boxes_are_not():
    every = np.arange(SIZE)
    whole, part = (labelled(scope).target(0, every, every) for scope in (None, SCOPE))
    is_in = scope_mask(SCOPE, height=SIZE, width=SIZE)
    np.testing.assert_array_equal(part[is_in], whole[is_in])
    np.testing.assert_array_equal(part[~is_in & (whole > 0)], whole[~is_in & (whole > 0)])
    assert (part[~is_in & (whole == 0)] == IGNORE).all()


@pytest.mark.parametrize("mode", ["recommended", "paper"])
def test_the_whole_image_as_scope_trains_bit_by_bit_as_no_scope(mode):
    losses = fit(None, mode=mode).losses
    assert fit([None, None], mode=mode).losses == fit([WHOLE, WHOLE], mode=mode).losses == losses
    assert fit([SCOPE, None], mode=mode).losses != losses


def test_every_crop_shows_something_that_is_known(rng):
    small = np.asarray([[50, 3, 56, 9], [2, 58, 5, 61]], dtype=np.float32)
    data = labelled(small, BOXES[:0])
    patches = PatchSource(data, data.std, unseen=2, ring=3)
    for source in (None, patches):
        sampler = CropSampler(data, size=16, patches=source, patch_share=1.0, rng=rng)
        _, targets = sampler.batch(60)
        known = (targets != IGNORE).flatten(1).sum(1)
        if source is None:  # a patch's ring may hide the little that is known
            assert (known > 0).all()
        assert (known <= 45).all()  # no patch lies where nobody looked


def test_a_scope_smaller_than_a_pixel_trains_without_an_error():
    nowhere = np.asarray([[10.6, 10.6, 10.9, 10.9]])
    assert fit([nowhere], boxes=BOXES[:0]).losses == [0.0] * QUICK.steps
