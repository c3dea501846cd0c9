"""The class rectification loss, which pulls rare classes apart.

Dong, Gong & Zhu 2017, "Class Rectification Hard Mining for Imbalanced Deep Learning".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection import FasterRCNN

#: The minority: the rarest classes that together have at most this share of a step's objects.
MINORITY = 0.5
#: Hard examples per class on either side, and how much farther away the other class has to be, of
#: at most 2 between features of length 1.
HARDEST, MARGIN = 3, 0.5


def add_class_rectification(model: FasterRCNN, *, weight: float) -> None:
    """Let a Faster R-CNN return one more loss in training, `loss_rectification`, times `weight`.

    It compares the boxes in the head that hold an object. Weights and predictions do not change.
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
            examples = (seen[name][is_object] for name in ("features", "logits", "labels"))
            outputs[1]["loss_rectification"] = weight * class_rectification_loss(*examples)
        seen.clear()

    heads.select_training_samples = remember_labels
    heads.box_predictor.register_forward_hook(remember_predictions)
    heads.register_forward_hook(add_loss)


def class_rectification_loss(features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Pull hard examples of rare classes together, and away from what is taken for them.

    For each minority class c: hard positives are its HARDEST examples with the lowest probability
    of c, hard negatives the HARDEST examples of other classes with the highest. Over all triplets
    of an example a of c, another one that is a hard positive p, and a hard negative n, the mean of

        max(0, MARGIN + |a - p| - |a - n|)

    with Euclidean distances between features of length 1 (the paper's relative comparison). Takes
    (N, D) features, (N, C) logits and (N,) labels, columns of the logits; gives () float32 in
    [0, MARGIN + 2], 0 without a triplet.
    """
    directions = functional.normalize(features.float(), dim=1)
    # What is hard is a choice, not something to learn through.
    scores = logits.detach().float().softmax(dim=1)
    triplets = [directions.sum()[None] * 0]
    for label in minority_classes(labels):
        own = (labels == label).nonzero()[:, 0]
        others = (labels != label).nonzero()[:, 0]
        positives = own[scores[own, label].argsort(stable=True)[:HARDEST]]
        ranks = scores[others, label].argsort(stable=True, descending=True)
        negatives = others[ranks[:HARDEST]]
        near = _distances(directions[own], directions[positives])  # (A, P)
        far = _distances(directions[own], directions[negatives])  # (A, N)
        loss = (MARGIN + near[:, :, None] - far[:, None, :]).clamp(min=0)  # (A, P, N)
        triplets.append(loss[own[:, None] != positives].flatten())
    count = sum(len(part) for part in triplets[1:])
    return torch.cat(triplets).sum() / max(count, 1)


def minority_classes(labels: Tensor) -> list[int]:
    """The rarest classes that together have at most MINORITY of the (N,) labels, rarest first."""
    # torch has no types for this method.
    classes, counts = labels.unique(return_counts=True)  # type: ignore[no-untyped-call]
    order = counts.argsort(stable=True)
    is_minor = counts[order].cumsum(0) <= MINORITY * len(labels)
    rarest: list[int] = classes[order][is_minor].tolist()
    return rarest


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Exact also for close points, and with gradient 0, not NaN, for equal ones.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
