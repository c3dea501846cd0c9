"""The parts of a record: versions, and keys that MongoDB keeps as they are."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

#: Packages whose version can change a result.
_PACKAGES = ("unseen", "fiftyone", "torch", "torchvision", "numpy", "scipy")


def scored_mark(entry: Mapping[str, Any]) -> str:
    """The mark of the samples that a run of `score_samples` scored, from its entry."""
    return str(entry.get("mark") or str(entry.get("digest", ""))[:12])


def versions() -> dict[str, str]:
    """Python and package versions."""
    known = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known[name] = importlib.metadata.version(name)
    return known


# MongoDB gives "." and a leading "$" in keys a meaning, and class names may hold both.
_ENCODED = str.maketrans(".$", "\uff0e\uff04")
_DECODED = str.maketrans("\uff0e\uff04", ".$")


def encode(value: Any) -> Any:
    """JSON data with keys that MongoDB keeps as they are."""
    return _with_keys(value, _ENCODED)


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    return _with_keys(value, _DECODED)


def _with_keys(value: Any, table: Mapping[int, int]) -> Any:
    if isinstance(value, Mapping):
        return {str(k).translate(table): _with_keys(v, table) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_keys(v, table) for v in value]
    return value
