import pytest

from unseen.arrays.scale import working_scale


@pytest.mark.parametrize(
    ("short", "longest", "scale"),
    [
        ([], [4000], 1),
        ([50], [], 1),
        ([8] * 5, [256] * 3, 1),  # small defects in small images
        ([12] * 5, [4096] * 3, 1),  # small defects in large images stay visible
        ([24] * 5, [640] * 3, 0.5),
        ([96] * 5, [4096] * 3, 0.125),
        ([100] * 5, [512] * 3, 0.5),  # not below 256 px
        ([100] * 5, [100] * 3, 1),  # never up
        ([25] * 5, [640] * 3, 0.5),  # 0.48, rounded up to a step
        ([24] * 20 + [500] * 80, [640] * 3, 0.5),  # small boxes decide
        ([24] + [96] * 99, [4096], 0.125),  # but not the smallest
        ([48] * 5, [64, 1024, 1024], 0.25),  # the median image decides
    ],
)
def test_the_rule(short, longest, scale):
    assert working_scale(short, longest) == scale
