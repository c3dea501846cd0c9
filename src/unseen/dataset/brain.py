"""FiftyOne Brain: image-level scores, and the runs behind Embeddings and Sort by similarity."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import numpy.typing as npt

from unseen.dataset.loop import Loop

logger = logging.getLogger(__name__)

#: Fewer images have no plane to lie in; of more, distances take too long and too much memory.
FEWEST, MOST = 3, 50_000
#: FiftyOne stores vectors as text, number by number: longer ones take seconds per thousand images, and
#: as long again when the App opens them. On steel, concrete and circuit boards the 20 nearest of 944
#: numbers are to 91 to 95 % those of these many.
LONGEST = 128
#: Seed of the randomized PCA and of what makes vectors shorter.
SEED = 51


def image_scores(
    name: str, paths: Sequence[str], embeddings: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(N,) `fiftyone.brain.compute_{name}` of N images with (N, D) embeddings.

    `name` is "uniqueness" or "representativeness", which is NaN for the only image of a cluster.
    The dataset that Brain needs for this is deleted again.
    """
    import fiftyone.brain as fob

    dataset = fo.Dataset()
    try:
        samples = [fo.Sample(filepath=str(Path(path).absolute())) for path in paths]
        dataset.add_samples(samples, progress=False)
        with _quiet():
            getattr(fob, f"compute_{name}")(dataset, embeddings=embeddings, progress=False)
        return np.asarray(dataset.values(name), dtype=np.float64)
    finally:
        dataset.delete()


def register_runs(
    loop: Loop, ids: Sequence[str], vectors: npt.NDArray[Any], source: str
) -> list[str]:
    """Make the similarity and the visualization of images, in place of our older ones.

    `vectors` are (N, D) features in the order of the sample ids; images with NaN are left out, and of
    more than `LONGEST` numbers their strongest directions are kept. `source` says where they come from
    and is stored. Another run under one of our keys stays as it is. Returns the brain keys that were
    made, for the record of the step.
    """
    usable = np.isfinite(vectors).all(axis=1)
    ids = [i for i, is_usable in zip(ids, usable, strict=True) if is_usable]
    if not FEWEST <= len(ids) <= MOST:
        text = "no similarity and no visualization: %d images have features, expected %d to %d"
        logger.info(text, len(ids), FEWEST, MOST)
        return []
    import fiftyone.brain as fob

    view = loop.dataset.select(ids, ordered=True)
    with _quiet():
        vectors = _short(vectors[usable])
    # FiftyOne stores what it does not know in the configuration of the run.
    shared = {"embeddings": vectors, "progress": False, "unseen_source": source}
    runs: dict[str, tuple[Any, dict[str, Any]]] = {
        loop.names.similarity_run: (fob.compute_similarity, {"backend": "sklearn"}),
        loop.names.visualization_run: (fob.compute_visualization, {"method": "pca", "seed": SEED}),
    }
    ours = own_runs(loop)
    made: list[str] = []
    try:
        for key, (compute, settings) in runs.items():
            if loop.dataset.has_brain_run(key) and key not in ours:
                text = "brain run %r of dataset %r is not ours and stays; rename it to get ours"
                logger.warning(text, key, loop.dataset.name)
                continue
            _delete_run(loop, key)
            made.append(key)
            with _quiet():
                compute(view, brain_key=key, **settings, **shared)
    except BaseException:  # also Ctrl-C: no run may stay that no record will name
        for key in made:
            _delete_run(loop, key)
        raise
    return made


def _short(vectors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, D) -> (N, at most `LONGEST`), with inner products as near as they can be."""
    if min(vectors.shape) <= LONGEST:
        return vectors
    from sklearn.decomposition import TruncatedSVD

    return np.asarray(TruncatedSVD(LONGEST, random_state=SEED).fit_transform(vectors))


def _delete_run(loop: Loop, key: str) -> None:
    if loop.dataset.has_brain_run(key):
        loop.dataset.delete_brain_run(key)


def own_runs(loop: Loop) -> list[str]:
    """The brain runs of the main loop that were made here: they say where their features come from.

    Somebody may have deleted ours and made another under its key.
    """
    main = dataclasses.replace(loop.names, series="")
    keys = {main.similarity_run, main.visualization_run}
    return [
        key
        for key in loop.dataset.list_brain_runs()
        if key in keys and hasattr(loop.dataset.get_brain_info(key).config, "unseen_source")
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Brain announces each computation, and divides 0 by 0 where a cluster is one image.

    Its sums are too short for several threads, which wait for each other on a busy machine.
    """
    from threadpoolctl import threadpool_limits

    log = logging.getLogger("fiftyone.brain")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        with np.errstate(all="ignore"), threadpool_limits(limits=1):
            yield
    finally:
        log.setLevel(before)
