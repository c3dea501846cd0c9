"""What a record is made of: versions, and keys that MongoDB keeps as they are."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

#: Packages whose version can change a result.
_PACKAGES = ("unseen", "fiftyone", "torch", "torchvision", "numpy", "scipy")


def scored_mark(entry: Mapping[str, Any]) -> str:
    """What samples are marked with that a run of `score_samples` scored, from its entry."""
    return str(entry.get("mark") or str(entry.get("digest", ""))[:12])


def versions() -> dict[str, str]:
    """Python and package versions."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# MongoDB gives "." and a leading "$" in keys a meaning, and class names may hold both.
_ENCODED = {".": "\uff0e", "$": "\uff04"}


def encode(value: Any) -> Any:
    """JSON data with keys that MongoDB keeps as they are."""
    if isinstance(value, Mapping):
        return {_swap(str(k), _ENCODED): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    return value


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, Mapping):
        back = {v: k for k, v in _ENCODED.items()}
        return {_swap(k, back): decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [decode(v) for v in value]
    return value


def _swap(text: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        text = text.replace(old, new)
    return text
