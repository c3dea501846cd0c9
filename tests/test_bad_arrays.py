"""Arrays that do not fit each other and numbers out of range are refused with what they are."""

import numpy as np
import pytest
import torch

from unseen.arrays.boxes import as_boxes, check_labelled, clean_boxes
from unseen.arrays.image_statistics import image_statistics
from unseen.arrays.scope import check_scopes
from unseen.detector.confidence_thresholds import confidence_threshold
from unseen.detector.metrics import detection_metrics
from unseen.errors import UnseenError
from unseen.ranking.features.image_features import fitted
from unseen.ranking.image_metrics import alpha_metric
from unseen.unet.crops import LabelledImages
from unseen.unet.inference import tiles
from unseen.unet.losses import generalised_dice_loss
from unseen.unet.network import UNet, UNetSpec
from unseen.unet.unseen_score import probability_maps

BOX = [[0, 0, 4, 4]]
SPEC = UNetSpec(channels=(4, 8), classes=("a",))
NETWORK = UNet(SPEC)
zeros = torch.zeros


def labelled(image):
    return LabelledImages.of(
        [image], [BOX], [[0]], class_count=1, scale=1.0, margin=1.0, channels=1
    )


@pytest.mark.parametrize(
    ("named", "call"),
    [
        (r"shape \(2, 3\); expected \(N, 4\)", lambda: as_boxes(np.ones((2, 3)))),
        ("1 boxes have 2 labels", lambda: clean_boxes(BOX, ["a", "b"], 9, 9)),
        ("2 images have 1 lists of boxes", lambda: check_labelled(2, [BOX], [[0]], 1)),
        ("image 1: 0 boxes have 1 labels", lambda: check_labelled(2, [BOX, []], [[0], [0]], 1)),
        ("indices from 1 to 1; expected 0 to 0", lambda: check_labelled(1, [BOX], [[1]], 1)),
        ("indices from -1 to -1", lambda: check_labelled(1, [BOX], [[-1]], 1)),
        ("2 images have 1 scopes", lambda: check_scopes([BOX], 2)),
        ("image 1 has a scope without rectangles", lambda: check_scopes([None, []], 2)),
        (r"\(1, 5, 1\); .*2 x 2 px", lambda: image_statistics(np.zeros((1, 5, 1), np.float32))),
        (r"\(5, 5\); expected \(H, W, 1\)", lambda: fitted(np.zeros((5, 5), np.float32))),
        (r"\(0, 5, 1\); .*not empty", lambda: fitted(np.zeros((0, 5, 1), np.float32))),
        (r"\(4, 4, 3\); expected \(h, w, 1\)", lambda: labelled(np.zeros((4, 4, 3), np.float32))),
        (r"\(0, 4, 1\); .*h and w > 0", lambda: labelled(np.zeros((0, 4, 1), np.float32))),
        (r"\(1, 1, 3, 4\); .* multiples of 4", lambda: NETWORK(zeros(1, 1, 3, 4))),
        (
            r"\(1, 3, 4, 4\); .*\(B, 1, H, W\)",
            lambda: next(tiles(NETWORK, zeros(1, 3, 4, 4))),
        ),
        ("maps background, a, unseen", lambda: probability_maps(zeros(1, 2, 4, 4), SPEC)),
        (
            r"\(1, 3, 4, 4\) and a target of shape \(1, 4, 5\)",
            lambda: generalised_dice_loss(zeros(1, 3, 4, 4), zeros(1, 4, 5).long()),
        ),
        ("alpha=0; expected a positive number", lambda: alpha_metric(zeros(1, 2, 2), 0)),
        ("alpha=nan", lambda: alpha_metric(zeros(1, 2, 2), float("nan"))),
        (
            "2 confidences and 1 answers",
            lambda: confidence_threshold([0.1, 0.2], [True], 3, wanted=0.9),
        ),
        ("wanted precision 1", lambda: confidence_threshold([0.1], [True], 3, wanted=1)),
        (
            "image 0: 1 predicted boxes have 2 labels and 1 confidences",
            lambda: detection_metrics([(BOX, [0, 0], [0.5])], [(BOX, [0])], 1),
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(named, call):
    with pytest.raises(UnseenError, match=named):
        call()
