"""The strategy `mixed` on a dataset: read what decides, choose, and say what each image is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseen.dataset import criteria_history as history
from unseen.dataset.fields import Names
from unseen.science.criteria import is_new_and_rare, new_class_metric
from unseen.science.mixed import CRITERIA, mixed
from unseen.science.selection import Indices


@dataclass(frozen=True)
class Mixture:
    """A batch in rank order, and what goes on record with it.

    Attributes:
        ids: of the samples.
        sources: sample id -> the criterion that it was chosen for.
        class_counts: labelled boxes per class when it was chosen.
        initial_counts: those of them in the initial images.
    """

    ids: list[str]
    sources: dict[str, str]
    class_counts: dict[str, int]
    initial_counts: dict[str, int]


def choose_mixed(
    dataset: Any,
    scored: Any,
    names: Names,
    *,
    budget: int,
    metric: str,
    classes: Sequence[str],
    embed: Callable[[list[str]], np.ndarray],
) -> Mixture:
    """Divide a batch between the criteria.

    Args:
        dataset: the dataset.
        scored: view of the pool that the newest UNet scored.
        names: the loop.
        budget: images wanted, at most as many as the view has.
        metric: field of the image metric that the criterion `pixel` goes by.
        classes: those that the expected counts are of.
        embed: ids -> (M, D) embeddings.
    """
    labelled = history.labelled_boxes(dataset, names)
    counts, initial = labelled.counts, labelled.initial_counts
    present = [counts.get(c, 0) for c in classes]
    at_first = [initial.get(c, 0) for c in classes]
    wanted = np.flatnonzero(is_new_and_rare(present, at_first))
    pool = history.pool_numbers(scored, names, metric, wanted.tolist())
    expected = np.zeros((len(pool.ids), len(classes)))
    expected[:, wanted] = pool.expected
    found, tried = history.found_and_tried(dataset, names, labelled)

    def embeddings(positions: Indices) -> np.ndarray:
        return embed([pool.ids[i] for i in positions])

    batch = mixed(
        pool.metric,
        pool.texture,
        pool.objects,
        new_class_metric(expected, present, at_first),
        budget,
        found=found,
        tried=tried,
        embed=embeddings,
    )
    ids = [pool.ids[i] for i in batch.order]
    sources = {i: CRITERIA[k] for i, k in zip(ids, batch.source, strict=True)}
    return Mixture(ids, sources, counts, initial)
