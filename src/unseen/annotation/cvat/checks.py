"""Checks of classes, images, users and projects, made before anything is sent."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unseen.annotation.cvat.api import Api
from unseen.arrays.images import read_pixels
from unseen.errors import AnnotationError, ImageError, LabelError

#: CVAT's limits, in characters: of a label's name, and of a task's or project's.
LONGEST_LABEL = 64
LONGEST_NAME = 256
_SHOWN = 5


def check_classes(classes: Sequence[str], used: Iterable[str]) -> None:
    """Raise LabelError for class lists that CVAT or the merge could not work with.

    That is a blank, overlong or duplicate class, or a class in `used` (those of the boxes to be
    sent) that is not listed.
    """
    for name in classes:
        if not name.strip() or name != name.strip():
            raise LabelError(f"class {name!r} is blank or has blanks around it; rename it")
        if len(name) > LONGEST_LABEL:
            raise LabelError(
                f"class {name!r} has {len(name)} characters; CVAT takes {LONGEST_LABEL}. Shorten it"
            )
    if len(set(classes)) != len(classes):
        raise LabelError(f"a class is named twice: {', '.join(classes)}")
    missing = sorted(set(used) - set(classes))
    if "" in missing:
        raise LabelError("some boxes to be sent have no class; give them one, or delete them")
    if missing:
        raise LabelError(
            f"images to be sent have labels of class {', '.join(missing)}, which is not among the "
            f"classes ({', '.join(classes)}); add it to classes="
        )


def check_images(
    paths: Mapping[str, str], *, progress: Callable[[int], None]
) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Read every image (sample id -> file) as the server will.

    Returns sample id -> (width, height) px, and the samples whose pixels are floats. `progress` is called with the number of images read. Raises AnnotationError if an image cannot
    be read.
    """
    sizes: dict[str, tuple[int, int]] = {}
    floats: set[str] = set()
    problems: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        checked = zip(paths, pool.map(_check_image, paths.values()), strict=True)
        for done, (sample_id, found) in enumerate(checked, start=1):
            if isinstance(found, str):
                problems.append(found)
            else:
                sizes[sample_id] = found[:2]
                floats |= {sample_id} if found[2] else set()
            progress(done)
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise AnnotationError(
            f"{len(problems)} of {len(paths)} images cannot be sent: "
            f"{'; '.join(problems[:_SHOWN])}{more}. Replace them, or leave them out with "
            "screen_images or the excluded tag"
        )
    return sizes, floats


def _check_image(path: str) -> tuple[int, int, bool] | str:
    """Width and height in px and whether the pixels are floats, or what is wrong."""
    kind = mimetypes.guess_type(path, strict=False)[0] or ""
    if not kind.startswith("image/") or kind == "image/svg+xml":
        return f"{path}: CVAT knows images by their extension, and not {Path(path).suffix!r}"
    try:
        pixels = read_pixels(path)  # upright, as CVAT shows it
    except ImageError as error:
        return str(error)
    return pixels.shape[1], pixels.shape[0], pixels.dtype.kind == "f"


def find_users(api: Api, names: Iterable[str], organization: str | None) -> dict[str, int]:
    """User name -> id; AnnotationError names all users that the server does not know."""
    ids = {name: api.find_user(name) for name in dict.fromkeys(names)}
    missing = [name for name, number in ids.items() if number is None]
    if missing:
        where, way_out = f" in organization {organization!r}", ""
        if not organization:
            where = ""
            way_out = (
                ". Outside of an organization CVAT shows other users to administrators alone: pass "
                "organization=, with its short name, where all of you are members"
            )
        raise AnnotationError(
            f"CVAT at {api.base_url} shows {api.username!r} no user "
            f"{', '.join(map(repr, missing))}{where}; expected their exact user names{way_out}"
        )
    return {name: number for name, number in ids.items() if number is not None}


def check_project(
    api: Api,
    name: str,
    labels: Sequence[dict[str, Any]],
    *,
    extend: bool,
    project_id: int | None,
) -> tuple[int | None, list[dict[str, Any]]]:
    """The id of a project (None if it does not exist yet) and the labels that it lacks.

    `project_id` finds a project that was renamed since. Raises AnnotationError if the name is
    unusable, a label takes no rectangles, or labels are missing and `extend` does not allow to add
    them.
    """
    if not name.strip() or name != name.strip():
        raise AnnotationError(
            f"project {name!r} is blank or has blanks around it, which CVAT removes; rename it"
        )
    if len(name) > LONGEST_NAME:
        raise AnnotationError(
            f"project name of {len(name)} characters; CVAT takes {LONGEST_NAME}. Shorten it"
        )
    project_id = project_id or api.find_project(name)
    if project_id is None:
        return None, []
    there = {label["name"]: label for label in api.labels("project", project_id)}
    missing = [label for label in labels if label["name"] not in there]
    if missing and not extend:
        names = ", ".join(label["name"] for label in missing)
        raise AnnotationError(
            f"CVAT project {name!r} lacks the labels {names}; add them there, pass "
            "extend_project=True, or name another project"
        )
    for label in labels:
        kind = there.get(label["name"], {}).get("type", "any")
        if kind not in ("any", "rectangle"):
            raise AnnotationError(
                f"label {label['name']!r} of CVAT project {name!r} is for {kind} shapes only; set it "
                "to any shape there, or name another project"
            )
    return project_id, missing
