"""Pretrained features of many images: computed once, kept on disk, read back as they are needed."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from unseen.arrays.images import read_image
from unseen.errors import ImageError
from unseen.progress import Progress, silent
from unseen.ranking.features.backbones import Backbone
from unseen.ranking.features.image_features import (
    VERSION,
    Floats,
    ImageFeatures,
    fitted,
    image_features,
    patch_size,
    vector_size,
)
from unseen.ranking.features.store import FeatureStore, FileState, content_digest, file_state

#: Images whose features are written, or read back, together.
GROUP = 32
#: Files that are looked at before the features of those that are new are computed.
PART = 256

_T = TypeVar("_T")
_R = TypeVar("_R")


class Features:
    """The features of images by one backbone, and where they are kept.

    Attributes:
        backbone: the source.
        store: the file.
        failures: absolute path -> what was wrong, of images that could not be read the last time.
    """

    def __init__(self, backbone: Backbone, folder: str | Path, *, workers: int = 2) -> None:
        """Open the store; nothing is computed yet.

        Args:
            backbone: on the device on which it is to compute.
            folder: of the stored features; made if missing. Backbones may share it.
            workers: threads that read images.

        Raises:
            StoreError: the file is damaged, holds other features, or cannot be written.
        """
        self.backbone = backbone
        self.store = FeatureStore(
            folder, feature_name(backbone), vector_size(backbone), patch_size(backbone)
        )
        self.failures: dict[str, str] = {}
        self._workers = workers

    def compute(self, paths: Sequence[str], *, progress: Progress = silent) -> None:
        """Compute and store what is missing. Unreadable images are noted in `failures`.

        Args:
            paths: image files; those of the same content are computed once.
            progress: told the images done.

        Raises:
            StoreError: the store is damaged or cannot be written.
        """
        self._digests(paths, progress)

    def vectors(self, paths: Sequence[str], *, progress: Progress = silent) -> Floats:
        """One vector per image; what is missing or damaged is computed.

        Args:
            paths: image files.
            progress: told the images done.

        Returns:
            (N, V) float32; rows of NaN for images that cannot be read.
        """
        found = np.full((len(paths), vector_size(self.backbone)), np.nan, dtype=np.float32)
        for indices, digests in self._groups(paths, progress):
            vectors = self.store.vectors(digests)
            self._mend(paths, indices, digests, vectors.keys())
            vectors |= self.store.vectors([d for d in digests if d not in vectors])
            for index, digest in zip(indices, digests, strict=True):
                found[index] = vectors.get(digest, np.nan)
        return found

    def patches(
        self, paths: Sequence[str], *, progress: Progress = silent
    ) -> Iterator[tuple[int, Floats]]:
        """The patches of each image, a few images in memory at a time.

        Args:
            paths: image files.
            progress: told the images done.

        Yields:
            Position in `paths` and (rows, columns, D) float32, in order; images that cannot be read
            are left out.
        """
        for indices, digests in self._groups(paths, progress):
            patches = self.store.patches(digests)
            self._mend(paths, indices, digests, patches.keys())
            patches |= self.store.patches([d for d in digests if d not in patches])
            for index, digest in zip(indices, digests, strict=True):
                if digest in patches:
                    yield index, patches[digest]

    def _groups(
        self, paths: Sequence[str], progress: Progress
    ) -> Iterator[tuple[list[int], list[str]]]:
        """Positions and digests of the images that can be read, some at a time."""
        digests = self._digests(paths, progress)
        readable = [(i, digest) for i, digest in enumerate(digests) if digest is not None]
        for start in range(0, len(readable), GROUP):
            part = readable[start : start + GROUP]
            yield [i for i, _ in part], [digest for _, digest in part]

    def _mend(
        self, paths: Sequence[str], indices: list[int], digests: list[str], whole: Iterable[str]
    ) -> None:
        """Compute again what is stored, but damaged."""
        places = dict(zip(digests, indices, strict=True))
        lost = {d: _absolute(paths[places[d]]) for d in places.keys() - set(whole)}
        errors = self._fill(lost, lambda: None)
        self.failures |= {lost[digest]: error for digest, error in errors.items()}

    def _digests(self, paths: Sequence[str], progress: Progress) -> list[str | None]:
        """The digest of each file, after its features are stored; None where it cannot be read."""
        absolute = [_absolute(path) for path in paths]
        unique = list(dict.fromkeys(absolute))
        self.failures = {}
        by_path: dict[str, str] = {}
        # Part by part, so that a run that is stopped while it looks at files goes on from there.
        for start in range(0, len(unique), PART):
            part = self._hashed(unique[start : start + PART])
            by_path |= part
            self._complete(part, start + PART, len(unique), progress)
        return [None if path in self.failures else by_path[path] for path in absolute]

    def _complete(self, part: dict[str, str], end: int, total: int, progress: Progress) -> None:
        """Store what is missing of some files, after which `end` of `total` are done."""
        by_digest = {digest: path for path, digest in part.items()}
        known = self.store.known(list(by_digest))
        todo = {digest: path for digest, path in by_digest.items() if digest not in known}
        counter = itertools.count(min(end, total) - len(todo))
        progress(next(counter), total, "features")
        errors = self._fill(todo, lambda: progress(next(counter), total, "features"))
        self.failures |= {path: errors[d] for path, d in part.items() if d in errors}

    def _hashed(self, paths: list[str]) -> dict[str, str]:
        """Path -> digest; files that are as they were remembered are not read again."""
        remembered = self.store.digests(paths)

        def look(path: str) -> tuple[FileState, str] | ImageError:
            try:
                state = file_state(path)
                before = remembered.get(path)
                if before is not None and before[0] == state:
                    return before
                return state, content_digest(path)
            except ImageError as error:
                return error

        found, fresh = {}, {}
        for path, looked in self._in_threads(look, paths):
            if isinstance(looked, ImageError):
                self.failures[path] = str(looked)
                continue
            found[path] = looked[1]
            if remembered.get(path) != looked:
                fresh[path] = looked
        if fresh:
            self.store.remember(fresh)
        return found

    def _fill(self, todo: dict[str, str], on_done: Callable[[], None]) -> dict[str, str]:
        """Compute and store features of files by digest; what went wrong, by digest."""

        def read(item: tuple[str, str]) -> Floats | ImageError:
            try:
                # Made smaller here, so that few large images are in memory as a whole.
                return fitted(read_image(item[1]))
            except ImageError as error:
                return error

        errors: dict[str, str] = {}
        waiting: dict[str, ImageFeatures] = {}
        try:
            for (digest, _), image in self._in_threads(read, list(todo.items())):
                if isinstance(image, ImageError):
                    errors[digest] = str(image)
                else:
                    waiting[digest] = image_features(self.backbone, image)
                if len(waiting) == GROUP:
                    self.store.put(waiting)
                    waiting = {}
                on_done()
        finally:
            # Also where the user stops the run: what is computed is kept.
            if waiting:
                self.store.put(waiting)
        return errors

    def _in_threads(
        self, function: Callable[[_T], _R], items: Sequence[_T]
    ) -> Iterator[tuple[_T, _R]]:
        """Results in order; only a few are computed ahead."""
        todo = iter(items)
        with ThreadPoolExecutor(self._workers) as threads:
            ahead = 2 * self._workers + 2
            queue = deque((i, threads.submit(function, i)) for i in itertools.islice(todo, ahead))
            while queue:
                item, future = queue.popleft()
                yield item, future.result()
                queue.extend((i, threads.submit(function, i)) for i in itertools.islice(todo, 1))


def feature_name(backbone: Backbone) -> str:
    """What stored features are told apart by: the network, its weights and the recipe."""
    return f"{backbone.name}-{backbone.digest}-v{VERSION}"


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - a Path would resolve nothing more and cost ten times as much
