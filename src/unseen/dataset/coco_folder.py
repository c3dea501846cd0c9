"""The former name of `import_folder` with `hidden`."""

from __future__ import annotations

from pathlib import Path

from unseen.dataset.import_folder import ImportResult
from unseen.dataset.import_folder.run import HIDDEN_FIELD, import_folder, numbered_name
from unseen.progress import Progress, silent

__all__ = ["HIDDEN_FIELD", "import_coco_folder", "numbered_name"]


def import_coco_folder(
    folder: str | Path, name: str | None = None, *, progress: Progress = silent
) -> ImportResult:
    """Import a folder with complete labels for a simulated annotator; see `import_folder`."""
    return import_folder(folder, name=name, hidden=True, progress=progress)
