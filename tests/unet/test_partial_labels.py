"""The UNet on partially labelled images: outside of the scope nothing counts but boxes."""

from dataclasses import replace

import numpy as np
import pytest

from unseen.arrays.scope import scope_mask
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE, PatchSource
from unseen.unet.training import fit_unet

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


def test_outside_of_the_scope_background_is_ignored_and_boxes_are_not():
    whole, part = labelled(None).targets[0], labelled(SCOPE).targets[0]
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
    assert fit([nowhere], boxes=BOXES[:0]).losses == [0.0] * QUICK.steps
