"""FiftyOne Brain's runs over pretrained features: the App's Embeddings panel and Sort by similarity."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.dataset.brain import quiet
from unseen.dataset.loop import Loop

logger = logging.getLogger(__name__)

#: Fewer images have no plane to lie in; of more, distances take too long and too much memory.
FEWEST, MOST = 3, 50_000
#: Seed of the randomized PCA.
SEED = 51


def register(loop: Loop, ids: Sequence[str], vectors: npt.NDArray[Any], source: str) -> list[str]:
    """Make the similarity and the visualization of images; older ones of ours are replaced.

    A run under one of these keys that no record names is somebody's, and is left as it is.

    Args:
        loop: the loop.
        ids: sample ids.
        vectors: (N, D) features, in the order of the ids; images with NaN are left out.
        source: where the features come from; kept with the runs.

    Returns:
        The brain keys that were made, for the record of the step.
    """
    usable = np.isfinite(vectors).all(axis=1)
    ids = [i for i, is_usable in zip(ids, usable, strict=True) if is_usable]
    if not FEWEST <= len(ids) <= MOST:
        logger.info(
            "no similarity and no visualization: %d images have features, not %d to %d",
            len(ids),
            FEWEST,
            MOST,
        )
        return []
    import fiftyone.brain as fob

    view = loop.dataset.select(ids, ordered=True)
    # What FiftyOne does not know in a run's configuration, it keeps as it is.
    shared = {"embeddings": vectors[usable], "progress": False, "unseen_source": source}
    makers: dict[str, Callable[[str], object]] = {
        loop.names.similarity_run: lambda key: fob.compute_similarity(
            view, brain_key=key, backend="sklearn", **shared
        ),
        loop.names.visualization_run: lambda key: fob.compute_visualization(
            view, brain_key=key, method="pca", seed=SEED, **shared
        ),
    }
    ours = own(loop)
    made: list[str] = []
    for key, make in makers.items():
        if key in ours:
            loop.dataset.delete_brain_run(key)
        elif loop.dataset.has_brain_run(key):
            logger.warning(
                "brain run %r of dataset %r is not ours and stays as it is; rename it to get ours",
                key,
                loop.dataset.name,
            )
            continue
        try:
            with quiet():
                make(key)
        except BaseException:  # also Ctrl-C: what no record will name must not stay
            for one in (*made, key):
                if loop.dataset.has_brain_run(one):
                    loop.dataset.delete_brain_run(one)
            raise
        made.append(key)
    return made


def own(loop: Loop) -> list[str]:
    """The brain runs that a record names and that were made here: the main loop makes them."""
    main = dataclasses.replace(loop.names, series="")
    named = {
        key
        for record in Loop(loop.dataset, main).records().values()
        for key in record["steps"].get("score_samples", {}).get("brain_runs", [])
    }
    # Somebody may have deleted ours and made another under its key.
    return [
        key
        for key in loop.dataset.list_brain_runs()
        if key in named and hasattr(loop.dataset.get_brain_info(key).config, "unseen_source")
    ]
