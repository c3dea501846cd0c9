"""The task guide that annotators read in CVAT."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: First line of every guide, by which a later request recognises its own.
MARKER = "<!-- unseen guide -->"

#: Classes with fewer labelled boxes are marked as rare.
RARE = 10

_SUGGESTIONS = """\
- Boxes of class `unseen` are suggestions: the model has never seen anything like it there.
  - If it is an object of a class, give the box that class and make it tight. If the box is poor, \
draw a new one.
  - If it is nothing, delete it or leave it. It never becomes a label by itself.
"""

_OVERLAY = """\
- Colours mark what the model has never seen. They are not part of the image: label the object \
below them, not the coloured area.
"""

_STRUCTURE = """\
- Thin blue lines show known structure, such as the edges of dies. They are not part of the image.
"""

_REGIONS_ONLY = """\
- Yellow rectangles show the parts to look at. They are not part of the image.
"""

_PREDICTIONS = """\
- Some boxes of the classes were drawn by a detector. Check each one: correct its class and its \
edges, or delete it. A box that you leave counts as correct.
"""

_NOTHING_MARKED = "- Nothing is marked in these images. Look at the whole image.\n"

_EVERYWHERE = """\
- Label every object of every class, also where nothing is marked.
"""

_INSIDE = """\
- Label every object of every class that lies at least partly inside a yellow rectangle, also where \
nothing else is marked. Draw all of it, including what sticks out.
- Leave out objects outside the rectangles. The area there does not count as empty.
- Label the whole image where there is no yellow rectangle.
"""

_RULES = """\
- Draw rectangles, tight around the object. Polygons, ellipses and masks become rectangles.
- Draw shapes, not tracks. Tags are ignored.
- If there is nothing to label in an image, leave it empty. It counts as checked once the job is \
completed.

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
    structure: bool,
    regions_only: bool,
    instructions: str = "",
) -> str:
    """The guide of one task, or of a whole project where `images` is None, as Markdown.

    `first_rank` is the rank of the task's first image in the batch (1 = most novel), `classes` maps
    each class to the boxes labelled so far, and `instructions` are the user's own words, placed
    first. The flags say what the images show.
    """
    marks = (
        (_SUGGESTIONS, suggestions),
        (_OVERLAY, overlay),
        (_REGIONS_ONLY, regions_only),
        (_PREDICTIONS, predictions),
    )
    marked = "".join(text for text, is_shown in marks if is_shown) or _NOTHING_MARKED
    parts = [
        f"{MARKER}\n# {_escape(dataset)}: {_escape(batch)}\n",
        f"{instructions.strip()}\n" if instructions.strip() else "",
        f"{_extent(images, first_rank)}\n" if images is not None else "",
        f"## What is marked\n\n{marked}{_STRUCTURE if structure else ''}",
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
    """A name as literal text on one line of Markdown, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~&!$])", r"\\\1", " ".join(name.split()))
