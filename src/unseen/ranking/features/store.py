"""Features of images on disk: one SQLite file per source of features, images known by their content.

A file that is renamed, copied or moved keeps its features, and one that is overwritten loses them. The
source's name, its weights' digest and the version of the recipe are part of the file's name and stand in
the file, so features of different sources never mix.

Vectors are kept as float16. Patches are kept as int8 with one float16 step per channel and image: a
number comes back with an error of at most half a step, 1/254 of the channel's largest in that image.
In the file an image of 200 px takes about 29 kB with EfficientNet-Lite0 and 5 kB with plain statistics,
one of 320 px or more 64 kB and 9 kB.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unseen.errors import ImageError, StoreError
from unseen.ranking.features.image_features import Floats, ImageFeatures

#: Of the tables and of what the blobs hold.
FORMAT = 2
#: Longest wait for another process that writes, seconds.
BUSY_TIMEOUT = 60.0
#: Values in one question to the database; its oldest limit is 999.
CHUNK = 500
_HALF_MAX = float(np.finfo(np.float16).max)
_STEPS = 127

_TABLES = (
    "CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, "
    "mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS features (digest TEXT PRIMARY KEY, rows INTEGER NOT NULL, "
    "columns INTEGER NOT NULL, vector BLOB NOT NULL, patches BLOB NOT NULL, "
    "vector_crc INTEGER NOT NULL, patches_crc INTEGER NOT NULL)",
)


@dataclass(frozen=True)
class FileState:
    """What tells, without reading it, that a file is still the same.

    Attributes:
        size: bytes.
        mtime_ns: time of the last change, nanoseconds.
    """

    size: int
    mtime_ns: int


def file_state(path: str | Path) -> FileState:
    """The state of a file now.

    Raises:
        ImageError: there is no such file.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: no such file; restore it or exclude the sample") from error
    return FileState(found.st_size, found.st_mtime_ns)


def content_digest(path: str | Path) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits.

    Raises:
        ImageError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(path).open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path}: cannot be read ({error}); restore it or exclude the sample"
        ) from error
    return digest.hexdigest()


def packed(patches: Floats) -> bytes:
    """Patches as int8, behind one float16 step per channel.

    Args:
        patches: (rows, columns, D) float32.
    """
    largest = np.abs(patches).max(axis=(0, 1), initial=0.0)
    exact = np.minimum(largest / _STEPS, _HALF_MAX)
    steps = exact.astype(np.float16)
    # Rounded up, so that the largest number still fits.
    steps = np.where(steps < exact, np.nextafter(steps, np.float16(np.inf)), steps)
    wide = steps.astype(np.float32)
    codes = np.rint(patches / np.where(wide > 0, wide, 1)).clip(-_STEPS, _STEPS)
    return bytes(steps.tobytes() + codes.astype(np.int8).tobytes())


def unpacked(data: bytes, shape: tuple[int, int, int]) -> Floats:
    """The inverse of `packed`.

    Args:
        data: from `packed`.
        shape: (rows, columns, D).
    """
    channels = shape[2]
    steps = np.frombuffer(data, np.float16, channels).astype(np.float32)
    codes = np.frombuffer(data, np.int8, offset=2 * channels).reshape(shape)
    return np.asarray(codes * steps, dtype=np.float32)


class FeatureStore:
    """The stored features of one source. Any number of processes may read and write it.

    Every call opens the file for itself, so a store may be shared by threads and survives a fork.

    Attributes:
        path: the file.
    """

    def __init__(self, folder: str | Path, name: str, vector_size: int, patch_size: int) -> None:
        """Open the file, or make it.

        Args:
            folder: where it lies; made if missing.
            name: of the source of features, fit for a file name.
            vector_size: V, numbers per image.
            patch_size: D, numbers per patch.

        Raises:
            StoreError: the file is damaged, holds other features, or cannot be written.
        """
        self.path = Path(folder).expanduser() / f"features-{name}-f{FORMAT}.sqlite"
        self._vector_size = vector_size
        self._patch_size = patch_size
        about = {
            "format": str(FORMAT),
            "name": name,
            "vector_size": str(vector_size),
            "patch_size": str(patch_size),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: cannot be made ({error.strerror or error}); free some disk "
                "space, or name another folder for the features"
            ) from error
        with self._connection() as database:
            _use_write_ahead_log(database)
            with _transaction(database):
                for table in _TABLES:
                    database.execute(table)
                database.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())
            found = dict(database.execute("SELECT key, value FROM about"))
        if found != about:
            raise StoreError(
                f"{self.path}: holds {_listed(found)}; expected {_listed(about)}. Delete the file to "
                "have the features computed again"
            )

    def digests(self, paths: Sequence[str]) -> dict[str, tuple[FileState, str]]:
        """What is remembered of files: the state in which they were read, and their digest then.

        Args:
            paths: absolute.
        """
        rows = self._select("SELECT path, size, mtime_ns, digest FROM files WHERE path IN", paths)
        return {path: (FileState(size, mtime), digest) for path, size, mtime, digest in rows}

    def remember(self, files: Mapping[str, tuple[FileState, str]]) -> None:
        """Note the digests of files.

        Args:
            files: absolute path -> state and digest.
        """
        rows = [(p, s.size, s.mtime_ns, digest) for p, (s, digest) in files.items()]
        with self._connection() as database, _transaction(database):
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of the digests that there are features for."""
        return {
            row[0] for row in self._select("SELECT digest FROM features WHERE digest IN", digests)
        }

    def put(self, features: Mapping[str, ImageFeatures]) -> None:
        """Store features, all of them or none; what is there already is replaced.

        Numbers beyond what float16 holds are stored as the largest it does.

        Args:
            features: by digest.
        """
        rows = []
        for digest, found in features.items():
            vector = found.vector.clip(-_HALF_MAX, _HALF_MAX).astype(np.float16).tobytes()
            patches = packed(found.patches)
            shape = found.patches.shape[:2]
            sums = zlib.crc32(vector), zlib.crc32(patches)
            rows.append((digest, *shape, vector, patches, *sums))
        with self._connection() as database, _transaction(database):
            database.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )

    def vectors(self, digests: Sequence[str]) -> dict[str, Floats]:
        """(V,) float32 by digest; one that is missing or damaged is left out."""
        # Without the patches, which are twenty times as large.
        question = "SELECT digest, vector, vector_crc FROM features WHERE digest IN"
        return {
            digest: np.frombuffer(vector, np.float16).astype(np.float32)
            for digest, vector, crc in self._select(question, digests)
            if _is_whole(vector, 2 * self._vector_size, crc)
        }

    def patches(self, digests: Sequence[str]) -> dict[str, Floats]:
        """(rows, columns, D) float32 by digest; one that is missing or damaged is left out."""
        found = {}
        question = (
            "SELECT digest, rows, columns, patches, patches_crc FROM features WHERE digest IN"
        )
        for digest, rows, columns, patches, crc in self._select(question, digests):
            if not (isinstance(rows, int) and isinstance(columns, int)):
                continue
            if _is_whole(patches, (2 + rows * columns) * self._patch_size, crc):
                found[digest] = unpacked(patches, (rows, columns, self._patch_size))
        return found

    def _select(self, question: str, values: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows for many values, asked for in parts."""
        for start in range(0, len(values), CHUNK):
            part = values[start : start + CHUNK]
            with self._connection() as database:
                marks = ", ".join("?" * len(part))
                rows = database.execute(f"{question} ({marks})", part).fetchall()
            yield from rows

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            # Transactions are begun and ended below, not by the module's own rules.
            database = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
            with contextlib.closing(database):
                # A power failure may cost the newest features, never the file.
                database.execute("PRAGMA synchronous = NORMAL")
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


def _is_whole(data: object, size: int, crc: object) -> bool:
    """Whether a blob is what `put` wrote; SQLite itself does not notice a flipped bit."""
    return isinstance(data, bytes) and len(data) == size and crc == zlib.crc32(data)


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the right to write is taken at once, so that two writers never block each other."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.commit()


def _use_write_ahead_log(database: sqlite3.Connection) -> None:
    """Readers go on while another process writes.

    Two processes that switch at the same moment do not wait for each other, unlike elsewhere, so
    whoever loses asks again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _listed(about: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(about.items())) or "nothing"
