"""How much to reduce images that are too large for their defects."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

#: Short side that small defects keep, px: a UNet on a space-to-depth x2 input sees them as 6 cells at
#: its finest level, and the unseen patches it is trained with start at a radius of 5 px.
SMALLEST_DEFECT = 12.0
#: "Small": this quantile of the short sides of the labelled boxes, so that one sloppy box does not decide.
SMALL_QUANTILE = 0.1
#: The longest side of the median image keeps at least this, px.
SMALLEST_IMAGE = 256.0
#: Scales are multiples of 1/16, so that a few more labels rarely change the scale.
SCALE_STEPS = 16


def working_scale(
    short_sides: npt.ArrayLike,
    longest_sides: npt.ArrayLike,
    *,
    smallest_defect: float = SMALLEST_DEFECT,
    smallest_image: float = SMALLEST_IMAGE,
) -> float:
    """The factor by which images are resized before the UNet, unless one is given.

    The smallest multiple of 1/16 that keeps small defects and the median image large enough, at
    most 1. The UNet's receptive field and the synthetic unseen patches have a fixed size in px:
    defects much larger fill the field and cost time by its square; smaller ones lose their shape.

    Takes the (N,) short sides of the labelled boxes and the (M,) longest sides of the images, native
    px. Returns 1 without boxes or images.
    """
    boxes = np.asarray(short_sides, dtype=np.float64).reshape(-1)
    images = np.asarray(longest_sides, dtype=np.float64).reshape(-1)
    boxes, images = boxes[boxes > 0], images[images > 0]
    if not boxes.size or not images.size:
        return 1.0
    for_defects = smallest_defect / float(np.quantile(boxes, SMALL_QUANTILE))
    for_images = smallest_image / float(np.median(images))
    # The tolerance keeps rounding from lifting an exact step to the next one.
    steps = math.ceil(max(for_defects, for_images) * SCALE_STEPS - 1e-6)
    return min(1.0, steps / SCALE_STEPS)
