"""JSON that is either written as a whole or not at all, also while another process writes it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write or replace a file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(data))
    temporary.replace(path)
