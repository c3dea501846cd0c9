"""Features of images on disk: one SQLite file per source of features, images known by content.

A file that is renamed, copied or moved keeps its features, and one that is overwritten loses them.
The file name carries the source, the digest of its weights and the version of the recipe, so that
features of different sources never mix.

Vectors are stored as float16, patches as int8 with one float16 step per channel and image: a number
comes back with an error of at most half a step, 1/254 of the channel's largest in that image. An
image of 200 px takes about 29 kB with EfficientNet-Lite0 and 5 kB with plain statistics, one of
320 px or more 64 kB and 9 kB. A damaged row is removed when it is read, and computed again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.errors import StoreError
from unseen.ranking.features.image_features import Floats, ImageFeatures

#: Of the tables and of what the blobs hold.
FORMAT = 4
#: Longest wait for another process that writes, seconds.
BUSY_TIMEOUT = 60.0
#: Values in one query; SQLite's oldest limit is 999.
CHUNK = 500
_HALF_MAX = float(np.finfo(np.float16).max)
_STEPS = 127

_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    digest TEXT PRIMARY KEY, vector BLOB NOT NULL, patches BLOB NOT NULL);
"""


FileState = tuple[int, int]  #: bytes, and time of the last change in nanoseconds
Row = tuple[bytes, bytes]  #: vector and patches of an image


def packed(patches: Floats) -> bytes:
    """Patches (rows, columns, D) as int8, behind their shape and one float16 step per channel."""
    largest = np.abs(patches).max(axis=(0, 1), initial=0.0)
    exact = np.minimum(largest / _STEPS, _HALF_MAX)
    steps = exact.astype(np.float16)
    # Rounded up, so that the largest number still fits.
    steps = np.where(steps < exact, np.nextafter(steps, np.float16(np.inf)), steps)
    wide = steps.astype(np.float32)
    codes = np.rint(patches / np.where(wide > 0, wide, 1)).clip(-_STEPS, _STEPS)
    shape = np.asarray(patches.shape, np.int32)
    return bytes(shape.tobytes() + steps.tobytes() + codes.astype(np.int8).tobytes())


def unpacked(data: bytes) -> Floats:
    """(rows, columns, D) float32, the inverse of `packed`."""
    shape = np.frombuffer(data, np.int32, 3)
    steps = np.frombuffer(data, np.float16, shape[2], offset=12).astype(np.float32)
    codes = np.frombuffer(data, np.int8, offset=12 + 2 * int(shape[2])).reshape(shape)
    return np.asarray(codes * steps, dtype=np.float32)


def sealed(data: bytes) -> bytes:
    """Data behind their checksum; SQLite itself does not notice a flipped bit."""
    return zlib.crc32(data).to_bytes(4, "little") + data


def row(image: ImageFeatures) -> Row:
    """What is stored of an image; what float16 cannot hold becomes its largest."""
    vector = image.vector.clip(-_HALF_MAX, _HALF_MAX).astype(np.float16).tobytes()
    return sealed(vector), sealed(packed(image.patches))


class FeatureStore:
    """The stored features of one source; threads and processes may share the file `path`."""

    def __init__(self, folder: str | Path, name: str) -> None:
        """Open or make the file of the source `name` in a folder; raises `StoreError`."""
        self.path = Path(folder).expanduser() / f"features-{name}-f{FORMAT}.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: cannot be made ({error.strerror or error}); free some disk "
                "space, or name another folder for the features"
            ) from error
        with self._transaction() as database:
            database.executescript(_TABLES)

    def digests(self, paths: Sequence[str]) -> dict[str, tuple[FileState, str]]:
        """By absolute path, the state in which a file was read last and its digest then."""
        rows = self._select("SELECT path, size, mtime_ns, digest FROM files WHERE path IN", paths)
        return {path: ((size, mtime_ns), digest) for path, size, mtime_ns, digest in rows}

    def remember(self, files: Mapping[str, tuple[FileState, str]]) -> None:
        """Store the state and digest of files by absolute path."""
        rows = [(path, *state, digest) for path, (state, digest) in files.items()]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of the digests that have features."""
        rows = self._select("SELECT digest FROM features WHERE digest IN", digests)
        return {digest for (digest,) in rows}

    def put(self, rows: Mapping[str, Row]) -> None:
        """Store rows by digest, all or none."""
        values = [(digest, *of_image) for digest, of_image in rows.items()]
        with self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", values)

    def vectors(self, digests: Sequence[str]) -> dict[str, Floats]:
        """(V,) float32 by digest; the patches, twenty times as large, are not read."""
        return {
            digest: np.frombuffer(vector, np.float16).astype(np.float32)
            for digest, vector in self._intact("vector", digests)
        }

    def patches(self, digests: Sequence[str]) -> dict[str, Floats]:
        """(rows, columns, D) float32 by digest."""
        return {digest: unpacked(data) for digest, data in self._intact("patches", digests)}

    def _intact(self, column: str, digests: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Digest and data; damaged rows are left out and removed, so that they are not `known`."""
        damaged = []
        query = f"SELECT digest, {column} FROM features WHERE digest IN"
        for digest, data in self._select(query, digests):
            if isinstance(data, bytes) and data == sealed(data[4:]):
                yield digest, data[4:]
            else:
                damaged.append((digest,))
        if damaged:
            with self._transaction() as database:
                database.executemany("DELETE FROM features WHERE digest = ?", damaged)

    def _select(self, query: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows for many values, queried in chunks."""
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            marks = ", ".join("?" * len(chunk))
            with self._transaction() as database:
                rows = database.execute(f"{query} ({marks})", chunk).fetchall()
            yield from rows

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own per call, so that threads and forks may share the store."""
        try:
            with (
                contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT)) as database,
                database,
            ):
                yield database
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"{self.path}: cannot be used ({error}); free some disk space, end other runs that "
                "write it, or name another folder. If it goes on, delete the file: the features are "
                "then computed again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.path}: damaged ({error}); delete the file, and the features are computed again"
            ) from error
