"""Everything that can be known to fail before anything is sent."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from unseen.annotation.cvat.api import Api
from unseen.errors import AnnotationError, LabelError

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig

#: What CVAT takes: characters in the name of a label, in that of a task or project.
LONGEST_LABEL = 64
LONGEST_NAME = 256
_ORIENTATION = 0x0112  # EXIF
_SHOWN = 5


@dataclass(frozen=True)
class Users:
    """Ids of the people who get something to do."""

    jobs: list[int]
    task: int | None


def check_classes(classes: Sequence[str], used: Iterable[str]) -> None:
    """Refuse class lists that CVAT or the merge could not work with.

    Raises:
        LabelError: no class, a blank, too long or doubled one, or labels of a class not listed.
    """
    if not classes:
        raise LabelError(
            "there is no class yet; pass classes=, with all that annotators shall choose from"
        )
    for name in classes:
        if not name.strip() or name != name.strip():
            raise LabelError(f"class {name!r} is blank or has blanks around it; rename it")
        if len(name) > LONGEST_LABEL:
            raise LabelError(
                f"class {name!r} has {len(name)} characters; CVAT takes {LONGEST_LABEL}. Shorten it"
            )
    if len(set(classes)) != len(classes):
        raise LabelError(f"a class is named twice: {', '.join(classes)}")
    used = set(used)
    if "" in used:
        raise LabelError(
            "images to be sent have boxes without a class; give them one, or delete them"
        )
    missing = sorted(used - set(classes))
    if missing:
        raise LabelError(
            f"images to be sent have labels of class {', '.join(missing)}, which is not among the "
            f"classes ({', '.join(classes)}); add it to classes="
        )


def check_images(
    paths: Mapping[str, str], *, progress: Callable[[int], None], workers: int = 4
) -> dict[str, tuple[int, int]]:
    """Read every image as the server will, and return their sizes.

    Args:
        paths: sample id -> file.
        progress: called with the number of images read.
        workers: threads.

    Returns:
        sample id -> (width, height) px.

    Raises:
        AnnotationError: one or more cannot be read or would come back turned.
    """
    sizes: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, (sample_id, found) in enumerate(
            zip(paths, pool.map(_check_image, paths.values()), strict=True), start=1
        ):
            if isinstance(found, str):
                problems.append(found)
            else:
                sizes[sample_id] = found
            progress(done)
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise AnnotationError(
            f"{len(problems)} of {len(paths)} images cannot be sent: "
            f"{'; '.join(problems[:_SHOWN])}{more}. Replace them, or leave them out with "
            "screen_images or the excluded tag"
        )
    return sizes


def _check_image(path: str) -> tuple[int, int] | str:
    kind = mimetypes.guess_type(path, strict=False)[0] or ""
    if not kind.startswith("image/") or kind == "image/svg+xml":
        return f"{path}: CVAT knows images by their extension, and not {Path(path).suffix!r}"
    try:
        with Image.open(path) as image:
            if image.getexif().get(_ORIENTATION, 1) not in (0, 1):
                return (
                    f"{path}: has an EXIF orientation, which CVAT applies and the stored boxes do "
                    "not; save it upright without the tag"
                )
            width, height = image.size
            image.load()
            return int(width), int(height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        return f"{path}: cannot be read as an image ({reason})"


def check_users(api: Api, config: RequestConfig) -> Users:
    """Ids of the assignees.

    Raises:
        AnnotationError: the server knows one of them not.
    """
    wanted = dict.fromkeys([*config.assignees, *filter(None, [config.task_assignee])])
    found = {name: api.find_user(name) for name in wanted}
    missing = [name for name, number in found.items() if number is None]
    if missing:
        where = f" in organization {config.organization!r}" if config.organization else ""
        raise AnnotationError(
            f"CVAT at {api.base_url} knows no user {', '.join(map(repr, missing))}{where}; expected "
            "their exact user names"
        )
    return Users(
        jobs=[number for name in config.assignees if (number := found[name]) is not None],
        task=found[config.task_assignee] if config.task_assignee else None,
    )


def check_project(
    api: Api,
    name: str,
    labels: Sequence[Mapping[str, Any]],
    *,
    extend: bool,
    project_id: int | None = None,
) -> tuple[int | None, list[Mapping[str, Any]]]:
    """The project that is asked for, and the labels that it lacks.

    Args:
        api: signed in.
        name: of the project.
        labels: that it needs.
        extend: it may be given what it lacks.
        project_id: where it is known, whatever its name is by now.

    Returns:
        (id or None where there is none yet, missing labels).

    Raises:
        AnnotationError: the name cannot be one, or the project lacks labels and must not be
            extended, or has one that takes no rectangles.
    """
    if not name.strip() or name != name.strip():
        raise AnnotationError(
            f"project {name!r} is blank or has blanks around it, which CVAT removes; rename it"
        )
    if len(name) > LONGEST_NAME:
        raise AnnotationError(
            f"project name of {len(name)} characters; CVAT takes {LONGEST_NAME}. Shorten it"
        )
    if project_id is None:
        found = api.find_project(name)
        if found is None:
            return None, []
        project_id = int(found["id"])
    there = {label["name"]: label for label in api.labels(project_id=project_id)}
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
