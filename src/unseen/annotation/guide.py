"""The task guide that annotators read in CVAT: Markdown from `guide.md.j2`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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


#: A batch in the guide of a project, which its tasks show instead of their own.
_SECTION = re.compile(r"<!-- batch (\w+) -->\n(.*?)<!-- end of batch \1 -->\n", re.S)
_INTRO = (
    "This project holds several batches. Yours is the one that the name of your task begins with."
)
_NONE = "No batch of images is open here."


def with_batches(
    guide: str | None, new: Mapping[str, str], ended: Collection[str] = ()
) -> str | None:
    """The guide of a project with a section for each open batch, the newest first.

    `new` maps tokens of sendings to their guides, `ended` are tokens whose sections go; those of
    other datasets stay. None for a guide that somebody else wrote, which is not ours to change,
    and where there is nothing to write.

    >>> print(with_batches(with_batches(None, {"a1": "Cut tight."}), {}, ["a1"]))
    <!-- unseen guide -->
    No batch of images is open here.
    <BLANKLINE>
    """
    if not (new if guide is None else guide.startswith(MARKER)):
        return None
    before = {token: text for token, text in _SECTION.findall(guide or "") if token not in ended}
    sections = {token: text.removeprefix(MARKER).strip() + "\n" for token, text in new.items()}
    sections |= {token: text for token, text in before.items() if token not in new}
    said = {0: [_NONE], 1: []}.get(len(sections), [_INTRO])
    parts = [f"<!-- batch {t} -->\n{text}<!-- end of batch {t} -->" for t, text in sections.items()]
    return "\n\n".join(["\n".join([MARKER, *said]), *parts]) + "\n"


def _literal(name: str) -> str:
    """A name as literal text on one line of Markdown, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!$])", r"\\\1", " ".join(name.split()))
