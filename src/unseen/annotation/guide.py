"""The task guide: what annotators read in CVAT."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: First line of every guide, by which a later send recognises it as ours.
MARKER = "<!-- unseen guide -->"

#: Classes with fewer labelled boxes are marked as rare.
RARE = 10

_SUGGESTIONS = """\
- Boxes of class `unseen` are suggestions: the model has never seen anything like it there.
  - If it is one of the classes, give the box that class and make it tight. Where the box is poor, \
draw a new one yourself.
  - If it is nothing, delete it or leave it. It never becomes a label by itself.
"""

_OVERLAY = """\
- Colours mark where the model has never seen anything like it. The colours are not part of the \
image: label the object below them, not the coloured area.
"""

_STRUCTURE = """\
- Thin blue lines show known structure, such as the edges of dies. They are not part of the image.
"""

_REGIONS_ONLY = """\
- Yellow rectangles show the parts to look at. They are not part of the image.
"""

_PREDICTIONS = """\
- Some boxes of the classes were drawn by a detector. Check each one: correct its class and its \
edges, or delete it. A box that you leave counts as right.
"""

_NOTHING_MARKED = "- Nothing is marked in these images. Look at the whole image.\n"

_EVERYWHERE = """\
- Label every object of every class, also where nothing is marked.
"""

_INSIDE = """\
- Label every object of every class of which a part lies inside of a yellow rectangle, also where \
nothing else is marked. Draw all of it, also what sticks out.
- Leave out what lies outside of the rectangles. It does not count as empty.
- Label the whole image where there is no yellow rectangle.
"""

_RULES = """\
- Draw rectangles, tight around the object. Polygons, ellipses and masks become rectangles.
- Draw shapes, not tracks. Tags are ignored.
- Is there nothing to label in an image? Leave it empty. It counts as checked once the job is completed.

## When you are done

Save, then set the state of the job to **completed**. That hands it back. A job in any other state \
is unfinished.
"""


def task_guide(
    *,
    dataset: str,
    batch: str,
    images: int | None,
    first_rank: int,
    classes: Mapping[str, int],
    suggestions: bool,
    overlay: bool,
    predictions: bool,
    structure: bool = False,
    regions_only: bool = False,
    instructions: str = "",
) -> str:
    """The guide of one task, as Markdown.

    Args:
        dataset: its name.
        batch: name of the batch that the task belongs to.
        images: how many the task holds; None for a guide that several tasks share.
        first_rank: rank of its first image in the batch, 1 = most novel.
        classes: class -> boxes labelled so far, 0 for none yet.
        suggestions: whether the task holds suggestion boxes (class `unseen`).
        overlay: whether the images are coloured where the model has never seen anything like it.
        predictions: whether the task holds boxes of a detector.
        structure: whether lines of known structure are drawn into the images.
        regions_only: whether rectangles are drawn in, outside of which nothing is to be labelled.
        instructions: Markdown of the user's own, placed first.
    """
    marked = "".join(
        text
        for text, is_there in (
            (_SUGGESTIONS, suggestions),
            (_OVERLAY, overlay),
            (_REGIONS_ONLY, regions_only),
            (_PREDICTIONS, predictions),
        )
        if is_there
    )
    parts = [
        f"{MARKER}\n# {_escape(dataset)}: {_escape(batch)}\n",
        f"{instructions.strip()}\n" if instructions.strip() else "",
        f"{_extent(images, first_rank)}\n" if images is not None else "",
        f"## What is marked\n\n{marked or _NOTHING_MARKED}{_STRUCTURE if structure else ''}",
        f"## What to label\n\n{_INSIDE if regions_only else _EVERYWHERE}{_RULES}",
        _class_table(classes),
    ]
    return "\n".join(part for part in parts if part)


def _extent(images: int, first_rank: int) -> str:
    if images == 1:
        return f"This task holds 1 image, number {first_rank} of the batch."
    return (
        f"This task holds {images} images, numbers {first_rank} to {first_rank + images - 1} of the "
        "batch. The most novel images come first."
    )


def _class_table(classes: Mapping[str, int]) -> str:
    """The classes, those with the fewest boxes first."""
    if not classes:
        return ""
    rows = [
        f"| {_escape(label)} | {count or 'none yet'}{' (**rare**)' if count < RARE else ''} |\n"
        for label, count in sorted(classes.items(), key=lambda c: (c[1], c[0]))
    ]
    return (
        "## Classes\n\nRare classes help most: look out for them.\n\n"
        f"| class | labelled so far |\n|---|---|\n{''.join(rows)}"
    )


def _escape(name: str) -> str:
    """A name as literal text on one line of Markdown, also inside of a table."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!$])", r"\\\1", " ".join(name.split()))
