"""Pretrained features of many images: computed once, kept on disk, read back when needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from unseen.arrays.images import ValueRange, as_float, read_pixels, resize
from unseen.arrays.read_ahead import read_ahead
from unseen.arrays.threads import networks_at_a_time
from unseen.errors import ImageError
from unseen.progress import Progress, silent
from unseen.ranking.cluster import Cluster, Failed
from unseen.ranking.features.backbones import Backbone
from unseen.ranking.features.image_features import (
    LARGEST,
    VERSION,
    Floats,
    batch_features,
    fitted,
    vector_size,
)
from unseen.ranking.features.store import FeatureStore, FileState, Row, row

T = TypeVar("T")
R = TypeVar("R")

#: Images whose features are written, or whose patches are read back, together; a worker of a cluster
#: gets as many.
GROUP = 32
#: Images of one shape that pass through the network together; with more, maps leave the cache.
BATCH = 4
#: Files that are hashed before the features of the new ones are computed; vectors read back together.
PART = 256


class Features:
    """The features of images by one backbone, and where they are stored.

    `failures` tells by absolute path what was wrong with images of the last call.
    """

    def __init__(
        self,
        backbone: Backbone,
        folder: str | Path,
        *,
        value_range: ValueRange | None = None,
        workers: int = 2,
        cluster: Cluster | None = None,
    ) -> None:
        """Open the store, or raise `StoreError`. Backbones may share a folder.

        `value_range` is that of the data set's deep images. On a cluster files are read and
        features computed on its CPUs; only this process uses the store.
        """
        self.backbone = backbone
        self._value_range = value_range
        self.store = FeatureStore(folder, feature_name(backbone))
        self.failures: dict[str, str] = {}
        self._workers = workers
        self._cluster = cluster

    def compute(self, paths: Sequence[str], *, progress: Progress = silent) -> list[str | None]:
        """Compute and store what is missing; images of the same content are computed once.

        Progress counts images. Returns the digest of each file, None where it is unreadable; the
        reasons are in `failures`. Raises `StoreError` if the store is damaged or cannot be written.
        """
        absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - ten times as quick
        unique = list(dict.fromkeys(absolute))
        self.failures = {}
        digests: dict[str, str] = {}
        # Part by part, so that a run that is stopped while it hashes files resumes there. A cluster
        # takes all at once, as each part would start its workers anew.
        size = PART if self._cluster is None else max(1, len(unique))
        for start in range(0, len(unique), size):
            part = self._hashed(unique[start : start + size])
            if self._value_range is not None:  # the same content then looks different
                low, high = self._value_range
                part = {path: f"{digest}-{low:g}-{high:g}" for path, digest in part.items()}
            self._fill(part, min(start + size, len(unique)), len(unique), progress)
            digests |= part
        return [None if path in self.failures else digests[path] for path in absolute]

    def vectors(self, paths: Sequence[str], *, progress: Progress = silent) -> Floats:
        """(N, V) float32, with NaN rows for unreadable images; missing ones are computed."""
        vectors = np.full((len(paths), vector_size(self.backbone)), np.nan, dtype=np.float32)
        for index, vector in self._stored(self.store.vectors, paths, progress, size=PART):
            vectors[index] = vector
        return vectors

    def patches(self, paths: Sequence[str]) -> Iterator[tuple[int, Floats]]:
        """Position and patches (rows, columns, D) of each readable image, in order.

        Missing ones are computed; only a group of images is in memory at a time.
        """
        return self._stored(self.store.patches, paths, silent, size=GROUP)

    def _stored(
        self,
        read: Callable[[Sequence[str]], dict[str, Floats]],
        paths: Sequence[str],
        progress: Progress,
        *,
        size: int,
    ) -> Iterator[tuple[int, Floats]]:
        """Position of each readable image and what is stored of it, `size` images at a time."""
        digests = self.compute(paths, progress=progress)
        readable = [(i, digest) for i, digest in enumerate(digests) if digest is not None]
        for start in range(0, len(readable), size):
            group = dict(readable[start : start + size])
            stored = read(list(group.values()))
            damaged = {
                os.path.abspath(paths[i]): digest  # noqa: PTH100 - as in `compute`
                for i, digest in group.items()
                if digest not in stored
            }
            if damaged:
                self._fill(damaged, len(damaged), len(damaged), silent)
                stored |= read(list(damaged.values()))
            yield from ((i, stored[digest]) for i, digest in group.items() if digest in stored)

    def _each(
        self,
        work: Callable[[Sequence[tuple[str, T]]], Iterable[R | ImageError]],
        files: Sequence[tuple[str, T]],
    ) -> Iterator[tuple[tuple[str, T], R | ImageError]]:
        """Each file, by its path and more, and what the work makes of it; a cluster keeps no order."""
        if self._cluster is None or len(files) <= GROUP:
            yield from zip(files, work(files), strict=True)
            return
        for file, result in self._cluster.map(partial(_in_worker, work), files, size=GROUP):
            if isinstance(result, Failed):
                yield file, ImageError(f"{file[0]}: {result.reason}; exclude the sample")
            else:
                yield file, result

    def _hashed(self, paths: list[str]) -> dict[str, str]:
        """Path -> digest; files in the remembered state are not read again."""
        remembered = self.store.digests(paths)
        seen: dict[str, str] = {}
        fresh: dict[str, tuple[FileState, str]] = {}
        work = partial(_look, workers=self._workers)
        for (path, before), looked in self._each(work, [(p, remembered.get(p)) for p in paths]):
            if isinstance(looked, ImageError):
                self.failures[path] = str(looked)
                continue
            seen[path] = looked[1]
            if looked != before:
                fresh[path] = looked
            if len(fresh) == PART:
                self.store.remember(fresh)
                fresh = {}
        if fresh:
            self.store.remember(fresh)
        return seen

    def _fill(self, part: dict[str, str], end: int, total: int, progress: Progress) -> None:
        """Store what is missing of some files, after which `end` of `total` are done."""
        by_digest = {digest: path for path, digest in part.items()}
        known = self.store.known(list(by_digest))
        todo = [(path, digest) for digest, path in by_digest.items() if digest not in known]

        progress(end - len(todo), total, "features")
        waiting: dict[str, Row] = {}
        work = partial(
            _describe,
            backbone=self.backbone,
            value_range=self._value_range,
            workers=self._workers,
        )
        try:
            for number, ((_, digest), described) in enumerate(self._each(work, todo), start=1):
                if isinstance(described, ImageError):
                    failed = [path for path, of_path in part.items() if of_path == digest]
                    self.failures |= dict.fromkeys(failed, str(described))
                else:
                    waiting[digest] = described
                if len(waiting) == GROUP:
                    self.store.put(waiting)
                    waiting = {}
                progress(end - len(todo) + number, total, "features")
        finally:
            # What is computed is kept, also when the user stops the run.
            if waiting:
                self.store.put(waiting)


_Looked = tuple[FileState, str]


def _look(
    files: Sequence[tuple[str, _Looked | None]], *, workers: int
) -> Iterator[_Looked | ImageError]:
    """State and digest of files, whose bytes are read unless they are in the state before."""

    def look(path: str) -> _Looked:
        try:
            return _state(path), content_digest(path)
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or error
            raise ImageError(
                f"{path}: cannot be read ({what}); restore it or exclude the sample"
            ) from error

    # Only for bytes to read: a thread costs ten times what a look at the state does.
    known = {path: before for path, before in files if before and _is_unchanged(path, before[0])}
    changed = [path for path, _ in files if path not in known]
    read = read_ahead(look, changed, workers=workers, ahead=PART)
    for path, _ in files:
        yield known[path] if path in known else next(read)[1]


def _state(path: str) -> FileState:
    stat = os.stat(path)  # noqa: PTH116 - three times as quick
    return stat.st_size, stat.st_mtime_ns


def _is_unchanged(path: str, before: FileState) -> bool:
    try:
        return _state(path) == before
    except (OSError, ValueError):
        return False


def _describe(
    files: Sequence[tuple[str, str]],
    *,
    backbone: Backbone,
    value_range: ValueRange | None,
    workers: int,
) -> Iterator[Row | ImageError]:
    """The features of files, as they are stored."""

    def read(file: tuple[str, str]) -> Floats:
        pixels = read_pixels(file[0], value_range=value_range)
        # Half of the way without floats, which would take much memory.
        scale = 2 * LARGEST / max(pixels.shape)
        return fitted(as_float(resize(pixels, scale) if scale < 1 / 2 else pixels))

    def describe(images: Sequence[Floats] | ImageError) -> list[Row | ImageError]:
        if isinstance(images, ImageError):
            return [images]
        return [row(features) for features in batch_features(backbone, images)]

    # Reduced in the thread, so that few large images are in memory as a whole.
    images = (i for _, i in read_ahead(read, files, workers=workers, ahead=2 * workers + BATCH))
    networks = networks_at_a_time(backbone.device)
    for _, rows in read_ahead(describe, _runs(images), workers=networks, ahead=2 * networks):
        assert not isinstance(rows, ImageError)  # those of `read` are results
        yield from rows


def _runs(images: Iterable[Floats | ImageError]) -> Iterator[list[Floats] | ImageError]:
    """Neighbours of one shape together, in order; errors alone."""
    run: list[Floats] = []
    for image in images:
        if isinstance(image, ImageError):
            if run:
                yield run
            yield image
            run = []
            continue
        if run and (len(run) == BATCH or image.shape != run[0].shape):
            yield run
            run = []
        run.append(image)
    if run:
        yield run


def _in_worker(
    work: Callable[[Sequence[T]], Iterable[R | ImageError]],
) -> Callable[[Sequence[T]], list[R | ImageError]]:
    return lambda items: list(work(items))


def feature_name(backbone: Backbone) -> str:
    """What tells stored features apart: the network, its weights and the recipe."""
    return f"{backbone.name}-{backbone.digest}-v{VERSION}"


def content_digest(path: str) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
