"""Remedies for classes with few examples: seeing their images more often, and a loss for them.

Sampling: Gupta, Dollar & Girshick 2019, "LVIS: A Dataset for Large Vocabulary Instance
Segmentation", section 5.2. Loss: Dong, Gong & Zhu 2017, "Class Rectification Hard Mining for
Imbalanced Deep Learning".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection import FasterRCNN

from unseen.errors import ConfigError, ShapeError

#: Images with a class that fewer than this share of the images hold are repeated. (LVIS has 0.001
#: for a thousand classes; with a handful, half of the images is what an even share would be.)
THRESHOLD = 0.5
#: Classes that together have at most this share of the objects of a step are its minority.
MINORITY = 0.5
#: Hard examples per class on either side, and how much farther the other class is to be, of at most
#: 2 between features of length 1.
HARDEST, MARGIN = 3, 0.5


def repeat_factors(
    labels: Sequence[npt.ArrayLike], *, threshold: float = THRESHOLD
) -> npt.NDArray[np.float64]:
    """How often each image is to be seen per pass.

    With f_c the share of images that hold class c, an image counts max(1, sqrt(threshold / f_c)) of
    its rarest class, and 1 where it holds none.

    Args:
        labels: per image the class indices of its boxes, in any order; may be empty.
        threshold: in (0, 1]; the higher, the more is repeated.

    Returns:
        (N,) at least 1.

    Raises:
        ConfigError: the threshold is out of its range.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: expected a share of images, above 0, up to 1")
    held = [np.unique(np.asarray(of_image, dtype=np.int64).reshape(-1)) for of_image in labels]
    factors = np.ones(len(held))
    classes, images = np.unique(np.concatenate(held or [np.zeros(0, int)]), return_counts=True)
    per_class = np.maximum(1, np.sqrt(threshold * len(held) / images))
    for index, of_image in enumerate(held):
        if len(of_image):
            factors[index] = per_class[np.searchsorted(classes, of_image)].max()
    return factors


def repeated_pass(
    factors: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The order of one pass in which image i appears factors[i] times on average.

    Each image appears the whole part of its factor, and once more with the rest as probability, so
    that the mean over passes is exact.

    Args:
        factors: (N,) at least 0; see `repeat_factors`.
        rng: draws the rest and the order.

    Returns:
        (M,) indices; M is the sum of the factors on average.
    """
    whole = np.floor(factors)
    times = (whole + (rng.random(len(factors)) < factors - whole)).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(len(factors)), times))


def balanced_order(
    labels: Sequence[npt.ArrayLike], rng: np.random.Generator, *, threshold: float = THRESHOLD
) -> Iterator[int]:
    """Passes one after the other, for ever; see `repeat_factors` and `repeated_pass`.

    Raises:
        ConfigError: the threshold is out of its range.
        ShapeError: there are no images.
    """
    factors = repeat_factors(labels, threshold=threshold)
    if not len(factors):
        raise ShapeError("there are no images to put in order; expected at least one")

    def passes() -> Iterator[int]:
        while True:
            yield from repeated_pass(factors, rng).tolist()

    return passes()


def class_rectification_loss(
    features: Tensor,
    logits: Tensor,
    labels: Tensor,
    *,
    hardest: int = HARDEST,
    margin: float = MARGIN,
) -> Tensor:
    """Pull hard examples of rare classes together, and away from what is taken for them.

    For each minority class c (`minority_classes`) with at least two examples: hard positives are
    its `hardest` examples with the lowest probability of c, hard negatives the `hardest` examples
    of other classes with the highest. Over all triplets of an example a of c, another one that is a
    hard positive p, and a hard negative n, of all such classes, the mean of

        max(0, margin + |a - p| - |a - n|)

    with Euclidean distances between features of length 1 (the paper's relative comparison; it mines
    by scores and compares features likewise).

    Args:
        features: (N, D) of the examples, such as what the classifier sees of the boxes.
        logits: (N, C) of the examples.
        labels: (N,) columns of `logits`.
        hardest: examples per class on either side, at least 1.
        margin: at least 0.

    Returns:
        () float32 in [0, margin + 2]; 0 without a triplet.

    Raises:
        ShapeError: the arguments do not belong together.
    """
    if not len(features) == len(logits) == len(labels) or features.ndim != 2 or logits.ndim != 2:
        raise ShapeError(
            f"features of shape {tuple(features.shape)}, logits of shape {tuple(logits.shape)} and "
            f"{len(labels)} labels; expected (N, D), (N, C) and N"
        )
    directions = functional.normalize(features.float(), dim=1)
    # What is hard is a choice, not something to learn through.
    scores = logits.detach().float().softmax(dim=1)
    triplets = [directions.sum()[None] * 0]
    for label in minority_classes(labels):
        own = (labels == label).nonzero()[:, 0]
        others = (labels != label).nonzero()[:, 0]
        positives = own[scores[own, label].argsort(stable=True)[:hardest]]
        ranks = scores[others, label].argsort(stable=True, descending=True)
        negatives = others[ranks[:hardest]]
        near = _distances(directions[own], directions[positives])  # (A, P)
        far = _distances(directions[own], directions[negatives])  # (A, N)
        loss = (margin + near[:, :, None] - far[:, None, :]).clamp(min=0)  # (A, P, N)
        triplets.append(loss[own[:, None] != positives].flatten())
    count = sum(len(part) for part in triplets[1:])
    return torch.cat(triplets).sum() / max(count, 1)


def minority_classes(labels: Tensor) -> list[int]:
    """The rarest classes that together have at most half of the labels, the rarest first.

    Args:
        labels: (N,) int64; classes without a label do not count.
    """
    # torch has no types for this method.
    classes, counts = labels.unique(return_counts=True)  # type: ignore[no-untyped-call]
    order = counts.argsort(stable=True)
    is_minor = counts[order].cumsum(0) <= MINORITY * len(labels)
    rarest: list[int] = classes[order][is_minor].tolist()
    return rarest


def add_class_rectification(model: FasterRCNN, *, weight: float) -> None:
    """Let a Faster R-CNN return one more loss in training, `loss_rectification`.

    It compares the boxes in the head that hold an object. Weights and predictions stay as they are.

    Args:
        model: to change.
        weight: of the loss; such as eta * `class_imbalance` of the boxes to train on.
    """
    heads, seen = model.roi_heads, {}
    select = heads.select_training_samples

    def remember_labels(*args: Any) -> Any:
        selected = select(*args)
        seen["labels"] = torch.cat(selected[2])
        return selected

    def remember_predictions(module: Any, inputs: Any, outputs: Any) -> None:
        seen["features"], seen["logits"] = inputs[0], outputs[0]

    def add_loss(module: Any, inputs: Any, outputs: Any) -> None:
        if module.training:
            is_object = seen["labels"] > 0
            outputs[1]["loss_rectification"] = weight * class_rectification_loss(
                seen["features"][is_object], seen["logits"][is_object], seen["labels"][is_object]
            )
        seen.clear()

    heads.select_training_samples = remember_labels
    heads.box_predictor.register_forward_hook(remember_predictions)
    heads.register_forward_hook(add_loss)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Exact also for close points, and with gradient 0, not NaN, for equal ones.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
