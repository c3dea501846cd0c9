"""How much to shrink images that are too large for their defects."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

#: Short side that the small defects keep, px: a UNet on a space-to-depth x2 input sees them as 6
#: cells at its finest level, and the unseen patches it is trained with start at 5 px radius.
SMALLEST_DEFECT = 12.0
#: "Small": this quantile of the short sides of the labelled boxes.
SMALL_QUANTILE = 0.1
#: Images are not made smaller than this on their longest side, px.
SMALLEST_IMAGE = 256.0
#: Scales are multiples of 1/16, so that a few more labels do not change the scale every iteration.
SCALE_STEPS = 16


def working_scale(short_sides: npt.ArrayLike, longest_sides: npt.ArrayLike) -> float:
    """The factor by which images are resized before the UNet, when none is given.

    The rule: the smallest scale, in steps of 1/16, at which the 10 % quantile of the boxes' short
    sides keeps 12 px and the longest side of the median image keeps 256 px; never above 1.

    Why: the UNet's field of view and the synthetic unseen patches have a fixed size in px. Defects
    much larger than that fill the field of view and cost time as its square; below about 12 px
    their shape is lost. The quantile, not the minimum, so that one sloppy box does not decide.

    Args:
        short_sides: (N,) min(width, height) of the labelled boxes, native px.
        longest_sides: (M,) max(width, height) of the images, native px.

    Returns:
        A multiple of 1/16 in (0, 1]; 1 when there are no boxes or no images.
    """
    boxes = np.asarray(short_sides, dtype=np.float64).reshape(-1)
    images = np.asarray(longest_sides, dtype=np.float64).reshape(-1)
    boxes, images = boxes[boxes > 0], images[images > 0]
    if not boxes.size or not images.size:
        return 1.0
    for_defects = SMALLEST_DEFECT / float(np.quantile(boxes, SMALL_QUANTILE))
    for_images = SMALLEST_IMAGE / float(np.median(images))
    # The tolerance keeps a rounding error from lifting an exact step to the next one.
    steps = math.ceil(max(for_defects, for_images) * SCALE_STEPS - 1e-6)
    return min(1.0, steps / SCALE_STEPS)
