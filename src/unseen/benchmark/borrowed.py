"""TypiClust, ProbCover, BADGE and DropQuery as scikit-activeml implements them.

Another library's code, so that no peer is weak because of us. They need the extra `benchmark` and see
one vector and at most one class per image, no boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.benchmark.pools import Pool
from unseen.errors import ConfigError
from unseen.ranking.selection import Indices, check_budget

Vectors = npt.NDArray[np.float64]


def check_installed(name: str) -> None:
    """Raise `ConfigError` if the strategy's library is missing."""
    if find_spec("skactiveml") is None:
        raise ConfigError(
            f"strategy {name!r} needs scikit-activeml, which is not installed; install the extra: "
            "pip install 'unseen[benchmark]', or leave the strategy out"
        )


def image_labels(pool: Pool, labelled: Sequence[int]) -> npt.NDArray[np.float64]:
    """One class per labelled image: of those it shows, the one with the fewest labelled boxes.

    Returns (N,) positions in `pool.classes`, the first of equally rare ones; the number of classes
    for an image without a box, NaN for an unlabelled image.
    """
    counts = pool.counts(labelled)
    classes = np.full(len(pool.files), np.nan)
    for i in labelled:
        shown = [name for name in pool.classes if name in pool.files[i].labels]
        rarest = min(shown, key=counts.__getitem__, default="")
        classes[i] = pool.classes.index(rarest) if rarest else len(pool.classes)
    return classes


def choose(
    name: str, embeddings: Vectors, labels: npt.ArrayLike, budget: int, rng: np.random.Generator
) -> Indices:
    """A batch by one of `config.BORROWED_STRATEGIES`: (budget,) unlabelled images, best first.

    Takes (N, D) embeddings, NaN if never computed, and (N,) class numbers, NaN if unlabelled. The
    order of the images does not matter. If too few distinct images are left, random copies and then
    images with NaN fill the batch. With fewer than two labelled classes, `badge` and `dropquery` have
    no classifier and draw at random. Raises `BudgetError` if the budget exceeds the unlabelled
    images, `ConfigError` without the library.
    """
    check_installed(name)
    vectors = np.asarray(embeddings, dtype=np.float64)
    classes = np.asarray(labels, dtype=np.float64).reshape(-1)
    check_budget(budget, int(np.isnan(classes).sum()))
    # Some strategies break ties by position: sorting by value, then shuffling, leaves none.
    order = np.lexsort(vectors.T) if vectors.size else np.arange(len(vectors))
    order = order[rng.permutation(len(order))]
    order = order[~np.isnan(vectors[order]).any(axis=1)]
    seed = int(rng.integers(2**31))
    wanted = min(budget, _distinct(vectors[order], classes[order]))
    taken = _query(name, vectors[order], classes[order], wanted, seed) if wanted else order[:0]
    # The library may return an image twice if others are copies of each other.
    unknown = np.setdiff1d(np.arange(len(vectors)), order)
    everything = np.concatenate([order[taken], order, rng.permutation(unknown)])
    chosen = dict.fromkeys(everything[np.isnan(classes[everything])].tolist())
    return np.asarray(list(chosen)[:budget], dtype=np.int64)


def _distinct(vectors: Vectors, classes: Vectors) -> int:
    """How many distinct vectors have no labelled copy."""
    _, number = np.unique(vectors, axis=0, return_inverse=True)
    number, is_left = number.reshape(-1), np.isnan(classes)
    return len(np.setdiff1d(number[is_left], number[~is_left]))


def _query(name: str, vectors: Vectors, classes: Vectors, budget: int, seed: int) -> Indices:
    """Query the library: (<= budget) positions, perhaps one of them twice."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge, DropQuery, ProbCover, TypiClust
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    options: dict[str, Any] = {}
    strategy: Any
    if name == "typiclust":
        strategy = TypiClust(random_state=seed)
    elif name == "probcover":
        strategy = ProbCover(deltas=_radii(vectors), random_state=seed)
    elif len(np.unique(classes[~np.isnan(classes)])) < 2:
        return np.flatnonzero(np.isnan(classes))[:budget]  # in random order already
    else:
        head = LogisticRegression(max_iter=1000)
        options["clf"] = SklearnClassifier(head, random_state=seed)
        if name == "badge":
            strategy = Badge(random_state=seed)
        else:  # DropQuery does not pass its seed on to the clustering
            clustering = {"random_state": seed}
            strategy = DropQuery(cluster_algo_dict=clustering, random_state=seed)
    with threadpool_limits(1):  # sums of several threads differ from call to call
        order = strategy.query(vectors, classes, batch_size=budget, **options)
    return np.asarray(order, dtype=np.int64).reshape(-1)


def _radii(vectors: Vectors) -> npt.NDArray[np.float64]:
    """(40,) radii for ProbCover, up to sqrt(2) times the median distance, in any unit.

    The library's own radii are coarser and for unit vectors, whose usual distance is sqrt(2).
    """
    from scipy.spatial.distance import pdist

    unrelated = 2**0.5
    usual = float(np.median(pdist(vectors))) if len(vectors) > 1 else 0.0
    return np.asarray(np.arange(1, 41) * 0.05 * (usual or unrelated) / unrelated)
