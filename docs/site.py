"""MkDocs: the pages of the site that lie beside docs/, with their links bent to where they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=bend(text)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """The links of a page in docs/ to pages beside docs/."""
    return bend(markdown.replace("](../", "]("))


def bend(text: str) -> str:
    """Links to files of the root, as links to their pages."""
    names = "|".join(map(re.escape, OUTSIDE))
    return re.sub(rf"\]\(({names})", lambda m: f"]({OUTSIDE[m[1]]}", text)
