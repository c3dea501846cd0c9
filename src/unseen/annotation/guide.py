"""The task guide that annotators read in CVAT: Markdown from `guide.md.j2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

#: First line of every guide, by which a later request recognises its own.
MARKER = "<!-- unseen guide -->"

#: Classes with fewer labelled boxes are marked as rare.
RARE = 10


def task_guide(
    *, classes: Mapping[str, int], instructions: str = "", **facts: str | int | bool | None
) -> str:
    """The guide of one task, as Markdown.

    `classes` maps each class to the boxes labelled so far; those with the fewest come first.
    `instructions` are the user's own words, placed at the beginning. The other facts are `dataset`
    and `batch` (names), `images` (how many; None for a guide that the tasks of a project share),
    `first_rank` (of the first image in the batch), and what the images show:
    `suggestions`, `overlay`, `predictions`, `structure`, `regions_only`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = _literal
    return environment.get_template("guide.md.j2").render(
        **facts,
        marker=MARKER,
        rare=RARE,
        instructions=instructions.strip(),
        classes=sorted(classes.items(), key=lambda c: (c[1], c[0])),
    )


def _literal(name: str) -> str:
    """A name as literal text on one line of Markdown, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!$])", r"\\\1", " ".join(name.split()))
