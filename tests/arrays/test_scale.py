import numpy as np
import pytest

from unseen.arrays.scale import working_scale


def test_without_boxes_or_images_nothing_is_resized():
    assert working_scale([], [4000]) == 1
    assert working_scale([50], []) == 1


@pytest.mark.parametrize(
    ("short", "longest", "scale"),
    [
        (8, 256, 1),  # small defects in small images
        (12, 4096, 1),  # small defects in large images stay visible
        (24, 640, 0.5),
        (96, 4096, 0.125),
        (100, 512, 0.5),  # not below 256 px
        (100, 100, 1),  # never up
        (25, 640, 0.5),  # 0.48, rounded up to a step
    ],
)
def test_the_rule(short, longest, scale):
    assert working_scale([short] * 5, [longest] * 3) == scale


def test_small_boxes_and_the_median_image_decide():
    assert working_scale([24] * 20 + [500] * 80, [640] * 3) == 0.5
    assert working_scale([24] + [96] * 99, [4096]) == 0.125
    assert working_scale([48] * 5, [64, 1024, 1024]) == 0.25


def test_the_scale_is_always_a_usable_step(rng):
    for _ in range(200):
        scale = working_scale(rng.uniform(1, 900, 7), rng.uniform(1, 9000, 4))
        assert 0 < scale <= 1
        assert scale * 16 == np.round(scale * 16)
