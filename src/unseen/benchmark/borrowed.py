"""Published strategies from the library scikit-activeml: TypiClust, ProbCover, BADGE and DropQuery.

They are not our code, so that no peer is weak because of us. They need the extra `benchmark`, and see
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

#: Radii that ProbCover tries, if unrelated images lie sqrt(2) apart as unit vectors do. The library's
#: own radii end there too, but are coarser and for unit vectors only.
_RADII = np.arange(1, 41) * 0.05


def check_installed(name: str) -> None:
    """Refuse a strategy of the library if the library is missing.

    Raises:
        ConfigError: it is not installed.
    """
    if find_spec("skactiveml") is None:
        raise ConfigError(
            f"strategy {name!r} needs scikit-activeml, which is not installed; install the extra: "
            "pip install 'unseen[benchmark]', or leave the strategy out"
        )


def image_labels(pool: Pool, labelled: Sequence[int]) -> npt.NDArray[np.float64]:
    """One class per labelled image: of those it shows, the one with the fewest labelled boxes.

    Returns (N,) positions in `pool.classes`: the first of equally rare ones, their number for an
    image without a box (background), NaN for an unlabelled image.
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

    Embeddings are (N, D), NaN if never computed, and labels (N,) class numbers, NaN if unlabelled.
    The result depends on them and the generator, not on the order of the images. If fewer different
    images are left than wanted, the rest are copies, drawn at random, and then images with NaN. With
    fewer than two labelled classes, `badge` and `dropquery` have no classifier and draw at random.

    Raises:
        BudgetError: the budget exceeds the unlabelled images.
        ConfigError: the library is not installed.
    """
    check_installed(name)
    vectors = np.asarray(embeddings, dtype=np.float64)
    classes = np.asarray(labels, dtype=np.float64).reshape(-1)
    check_budget(budget, int(np.isnan(classes).sum()))
    # Some of the strategies break ties by position: sorted by value, then shuffled, there is none.
    order = np.lexsort(vectors.T) if vectors.size else np.arange(len(vectors))
    order = order[rng.permutation(len(order))]
    order = order[~np.isnan(vectors[order]).any(axis=1)]
    seed = int(rng.integers(2**31))
    wanted = min(budget, _different(vectors[order], classes[order]))
    taken = _query(name, vectors[order], classes[order], wanted, seed) if wanted else order[:0]
    # The library may name an image twice if others are copies of each other.
    unknown = np.setdiff1d(np.arange(len(vectors)), order)
    everything = np.concatenate([order[taken], order, rng.permutation(unknown)])
    chosen = dict.fromkeys(everything[np.isnan(classes[everything])].tolist())
    return np.asarray(list(chosen)[:budget], dtype=np.int64)


def _different(vectors: Vectors, classes: Vectors) -> int:
    """How many different vectors there are of which none is labelled."""
    _, number = np.unique(vectors, axis=0, return_inverse=True)
    number = number.reshape(-1)
    is_left = np.isnan(classes)
    return len(np.setdiff1d(number[is_left], number[~is_left]))


def _query(name: str, vectors: Vectors, classes: Vectors, budget: int, seed: int) -> Indices:
    """Ask the library: (<= budget) positions, perhaps one of them twice."""
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
        return np.flatnonzero(np.isnan(classes))[:budget]  # they come in random order
    else:
        head = LogisticRegression(max_iter=1000)
        options["clf"] = SklearnClassifier(head, random_state=seed)
        if name == "badge":
            strategy = Badge(random_state=seed)
        else:  # DropQuery does not pass its seed on to the clustering
            clustering = {"random_state": seed}
            strategy = DropQuery(cluster_algo_dict=clustering, random_state=seed)
    with threadpool_limits(1):  # sums of several threads come out differently each time
        order = strategy.query(vectors, classes, batch_size=budget, **options)
    return np.asarray(order, dtype=np.int64).reshape(-1)


def _radii(vectors: Vectors) -> npt.NDArray[np.float64]:
    """(40,) radii for ProbCover to choose from, in the units of the vectors."""
    from scipy.spatial.distance import pdist

    unrelated = 2**0.5
    usual = float(np.median(pdist(vectors))) if len(vectors) > 1 else 0.0
    return np.asarray(_RADII * (usual or unrelated) / unrelated)
