"""Files that are written as a whole or not at all, also while another process writes them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which is made; it replaces `path` at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    yield temporary
    temporary.replace(path)


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write or replace a JSON file."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(data))
