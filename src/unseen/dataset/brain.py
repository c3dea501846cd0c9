"""FiftyOne Brain's image-level scores, on a dataset of the moment that leaves nothing behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import fiftyone as fo
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]


def uniqueness(paths: Sequence[str], embeddings: Vectors) -> npt.NDArray[np.float64]:
    """(N,) `fiftyone.brain.compute_uniqueness` of N images with (N, D) embeddings; higher = more unique."""
    import fiftyone.brain as fob

    with _dataset(paths) as dataset:
        fob.compute_uniqueness(dataset, embeddings=embeddings, progress=False)
        return np.asarray(dataset.values("uniqueness"), dtype=np.float64)


def representativeness(paths: Sequence[str], embeddings: Vectors) -> npt.NDArray[np.float64]:
    """(N,) `fiftyone.brain.compute_representativeness`; NaN for the only image of a cluster."""
    import fiftyone.brain as fob

    with _dataset(paths) as dataset:
        fob.compute_representativeness(dataset, embeddings=embeddings, progress=False)
        return np.asarray(dataset.values("representativeness"), dtype=np.float64)


@contextlib.contextmanager
def _dataset(paths: Sequence[str]) -> Iterator[fo.Dataset]:
    """Not persistent, named by FiftyOne, and deleted at the end."""
    dataset = fo.Dataset()
    try:
        samples = [fo.Sample(filepath=str(Path(path).absolute())) for path in paths]
        dataset.add_samples(samples, progress=False)
        with quiet():
            yield dataset
    finally:
        dataset.delete()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Brain announces each computation; whoever asked says it better."""
    log = logging.getLogger("fiftyone.brain")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        with np.errstate(all="ignore"):  # a cluster of one image divides 0 by 0
            yield
    finally:
        log.setLevel(before)
