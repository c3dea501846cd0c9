"""Files from elsewhere: what they hold is parsed, and the paths they name are followed, by one rule."""

from __future__ import annotations

import json
from pathlib import Path, PureWindowsPath
from typing import Any


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises `OSError`, or `ValueError` if it is no JSON; the text of neither quotes the file.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def inside(folder: Path, name: str) -> Path:
    r"""The file in `folder` that a list from elsewhere calls `name`; `ValueError` if it leads out.

    Folders may be separated as on Windows, and the path may be absolute. A link counts as the file
    it leads to.

    >>> inside(Path("data"), r"lot1\image.png").as_posix()
    'data/lot1/image.png'
    """
    path = folder / name
    if "\\" in name and not path.exists():
        path = folder / name.replace("\\", "/")
    if "\0" in name or PureWindowsPath(name).drive:
        raise ValueError("is no path below the folder")
    real, root = path.resolve(), folder.resolve()
    if not real.is_relative_to(root):
        raise ValueError(f"leads out of the folder, to {real}")
    if path.is_absolute() and not path.is_relative_to(folder):  # through another name of the folder
        return folder / real.relative_to(root)
    return path
