"""The form that carries images to the server, read from disk while it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor


def form(
    files: Sequence[tuple[str, Path]], image_quality: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    """`requests` keywords for an upload; good for one try.

    Args:
        files: (name on the server, file), in the order that the server shall keep.
        image_quality: JPEG quality in which the server shows them, 0 to 100.
        progress: called with the share of the bytes that are sent.
    """
    fields: list[tuple[str, Any]] = [
        ("image_quality", str(image_quality)),
        ("use_cache", "true"),
        ("use_zip_chunks", "true"),
        ("sorting_method", "predefined"),
    ]
    for i, (name, path) in enumerate(files):
        fields.append((f"client_files[{i}]", (name, _LazyFile(path), "application/octet-stream")))
    encoder = MultipartEncoder(fields)
    monitor = MultipartEncoderMonitor(encoder, lambda m: progress(m.bytes_read / max(1, m.len)))
    return {"data": monitor, "headers": {"Content-Type": monitor.content_type}}


class _LazyFile:
    """A file that is open only while it is read, so that a task may hold thousands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = path.stat().st_size
        self._file: Any = None

    @property
    def len(self) -> int:
        """Bytes that are left; the name is requests-toolbelt's."""
        return self._left

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        if self._left <= 0:
            return b""
        if self._file is None:
            self._file = self._path.open("rb")
        data: bytes = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left = self._left - len(data) if data else 0
        if self._left <= 0:
            self._file.close()
        return data
