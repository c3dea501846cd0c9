"""Random predictions and true boxes [x, y, width, height] of images."""

import numpy as np


def images(seed: int, number: int = 8, ties: bool = False, crowds: bool = False):
    """Predictions near true boxes, some with the wrong class, some twice, some of nothing.

    With `crowds`, every third true box is one.
    """
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for count in rng.integers(0, 9, number):
        true = np.concatenate(
            [rng.uniform(0, 60, (count, 2)), rng.uniform(6, 30, (count, 2))], axis=1
        )
        labels = rng.integers(0, 3, count)
        rows = np.repeat(np.arange(count), rng.integers(0, 3, count))
        near = true[rows] + rng.normal(0, 3, (len(rows), 4))
        near[:, 2:] = np.maximum(near[:, 2:], 1)
        extra = rng.uniform(0, 60, (int(rng.integers(0, 4)), 2))
        boxes = np.concatenate([near, np.pad(extra, ((0, 0), (0, 2)), constant_values=9)])
        guessed = rng.integers(0, 3, len(boxes))
        is_right = rng.random(len(rows)) < 0.8
        guessed[: len(rows)][is_right] = labels[rows][is_right]
        scores = rng.random(len(boxes)).round(1 if ties else 9)
        predictions.append((boxes, guessed, scores))
        is_crowd = np.arange(count) % 3 == 0 if crowds else np.zeros(count, bool)
        truths.append((true, labels, is_crowd))
    return predictions, truths
