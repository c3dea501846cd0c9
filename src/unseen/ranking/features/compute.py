"""Pretrained features of many images: computed once, kept on disk, read back when needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from unseen.arrays.images import ValueRange, as_float, read_pixels, resize
from unseen.errors import ImageError
from unseen.progress import Progress, silent
from unseen.ranking.features.backbones import Backbone
from unseen.ranking.features.image_features import (
    LARGEST,
    VERSION,
    Floats,
    ImageFeatures,
    fitted,
    image_features,
    vector_size,
)
from unseen.ranking.features.store import FeatureStore, FileState
from unseen.ranking.read_ahead import read_ahead

#: Images whose features are written, or read back, together.
GROUP = 32
#: Files that are hashed before the features of the new ones are computed.
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
    ) -> None:
        """Open the store, or raise `StoreError`. Backbones may share a folder.

        `value_range` is that of the data set's deep images.
        """
        self.backbone = backbone
        self._value_range = value_range
        self.store = FeatureStore(folder, feature_name(backbone))
        self.failures: dict[str, str] = {}
        self._workers = workers

    def compute(self, paths: Sequence[str], *, progress: Progress = silent) -> list[str | None]:
        """Compute and store what is missing; images of the same content are computed once.

        Progress counts images. Returns the digest of each file, None where it is unreadable; the
        reasons are in `failures`. Raises `StoreError` if the store is damaged or cannot be written.
        """
        absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - ten times as quick
        unique = list(dict.fromkeys(absolute))
        self.failures = {}
        digests: dict[str, str] = {}
        # Part by part, so that a run that is stopped while it hashes files resumes there.
        for start in range(0, len(unique), PART):
            part = self._hashed(unique[start : start + PART])
            if self._value_range is not None:  # the same content then looks different
                low, high = self._value_range
                part = {path: f"{digest}-{low:g}-{high:g}" for path, digest in part.items()}
            self._fill(part, min(start + PART, len(unique)), len(unique), progress)
            digests |= part
        return [None if path in self.failures else digests[path] for path in absolute]

    def vectors(self, paths: Sequence[str], *, progress: Progress = silent) -> Floats:
        """(N, V) float32, with NaN rows for unreadable images; missing ones are computed."""
        vectors = np.full((len(paths), vector_size(self.backbone)), np.nan, dtype=np.float32)
        for index, vector in self._stored(self.store.vectors, paths, progress):
            vectors[index] = vector
        return vectors

    def patches(
        self, paths: Sequence[str], *, progress: Progress = silent
    ) -> Iterator[tuple[int, Floats]]:
        """Position and patches (rows, columns, D) of each readable image, in order.

        Missing ones are computed; only a group of images is in memory at a time.
        """
        return self._stored(self.store.patches, paths, progress)

    def _stored(
        self,
        read: Callable[[Sequence[str]], dict[str, Floats]],
        paths: Sequence[str],
        progress: Progress,
    ) -> Iterator[tuple[int, Floats]]:
        """Position of each readable image and what is stored of it, a group at a time."""
        digests = self.compute(paths, progress=progress)
        readable = [(i, digest) for i, digest in enumerate(digests) if digest is not None]
        for start in range(0, len(readable), GROUP):
            group = dict(readable[start : start + GROUP])
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

    def _hashed(self, paths: list[str]) -> dict[str, str]:
        """Path -> digest; files in the remembered state are not read again."""
        remembered = self.store.digests(paths)

        def look(path: str) -> tuple[FileState, str]:
            try:
                stat = Path(path).stat()
                state = stat.st_size, stat.st_mtime_ns
                before = remembered.get(path)
                return before if before and before[0] == state else (state, content_digest(path))
            except (OSError, ValueError) as error:
                what = getattr(error, "strerror", None) or error
                raise ImageError(
                    f"{path}: cannot be read ({what}); restore it or exclude the sample"
                ) from error

        seen = {}
        for path, looked in read_ahead(look, paths, workers=self._workers, ahead=PART):
            if isinstance(looked, ImageError):
                self.failures[path] = str(looked)
            else:
                seen[path] = looked
        fresh = {path: looked for path, looked in seen.items() if remembered.get(path) != looked}
        if fresh:
            self.store.remember(fresh)
        return {path: digest for path, (_, digest) in seen.items()}

    def _read(self, path: str) -> Floats:
        pixels = read_pixels(path, value_range=self._value_range)
        # Half of the way without floats, which would take much memory.
        scale = 2 * LARGEST / max(pixels.shape)
        return fitted(as_float(resize(pixels, scale) if scale < 1 / 2 else pixels))

    def _fill(self, part: dict[str, str], end: int, total: int, progress: Progress) -> None:
        """Store what is missing of some files, after which `end` of `total` are done."""
        by_digest = {digest: path for path, digest in part.items()}
        known = self.store.known(list(by_digest))
        todo = [digest for digest in by_digest if digest not in known]

        progress(end - len(todo), total, "features")
        waiting: dict[str, ImageFeatures] = {}
        # Reduced in the thread, so that few large images are in memory as a whole.
        images = read_ahead(
            lambda digest: self._read(by_digest[digest]),
            todo,
            workers=self._workers,
            ahead=2 * self._workers + 2,
        )
        try:
            for number, (digest, image) in enumerate(images, start=1):
                if isinstance(image, ImageError):
                    failed = [path for path, of_path in part.items() if of_path == digest]
                    self.failures |= dict.fromkeys(failed, str(image))
                else:
                    waiting[digest] = image_features(self.backbone, image)
                if len(waiting) == GROUP:
                    self.store.put(waiting)
                    waiting = {}
                progress(end - len(todo) + number, total, "features")
        finally:
            # What is computed is kept, also when the user stops the run.
            if waiting:
                self.store.put(waiting)


def feature_name(backbone: Backbone) -> str:
    """What tells stored features apart: the network, its weights and the recipe."""
    return f"{backbone.name}-{backbone.digest}-v{VERSION}"


def content_digest(path: str) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
