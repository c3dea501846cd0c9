"""Files that appear whole or not at all, even while another process writes them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseen import __version__


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` at the end; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    yield temporary
    temporary.replace(path)


def kept_as(about: Any) -> str:
    """A file name for what was computed from `about`, plain JSON data, by this version."""
    text = json.dumps([__version__, about], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write or replace a JSON file."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(data))
