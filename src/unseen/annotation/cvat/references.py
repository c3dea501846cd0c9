"""Images that the server sees itself, on its share or in a cloud storage: named instead of uploaded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlencode

from unseen.annotation.cvat import answers
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.server import CvatError
from unseen.dataset.coco import some
from unseen.errors import AnnotationError, ConfigError
from unseen.parameters import as_path


@dataclass(frozen=True)
class Reference:
    """Where the server has the files of a folder here."""

    folder: Path
    storage: int | None  #: the id of a cloud storage; None is the share
    prefix: PurePosixPath

    def __str__(self) -> str:
        place = "the share" if self.storage is None else f"cloud storage {self.storage}"
        return f"{place} of CVAT, below {str(self.prefix)!r}"


def parse(text: str) -> Reference:
    """The meaning of `HERE=THERE` or `HERE=ID:THERE`; ConfigError for anything else."""
    folder, sign, there = text.partition("=")
    found = re.fullmatch(r"(?:(\d+):)?([^:]*)", there)
    if not folder.strip() or not sign or found is None or ".." in PurePosixPath(there).parts:
        raise ConfigError(
            f"by_reference={text!r}; expected HERE=THERE, such as /data/images=fab/images, for "
            "CVAT's share, or HERE=ID:THERE for the cloud storage with this id in CVAT"
        )
    prefix = PurePosixPath(found[2].strip().strip("/"))
    return Reference(as_path("by_reference", folder), int(found[1]) if found[1] else None, prefix)


def server_names(
    api: Api, reference: Reference, paths: Mapping[str, str], progress: Callable[[int], None]
) -> dict[str, str]:
    """Sample id -> the name of its file on the server, which lists all of them.

    `progress` is called with the number of files found. Raises AnnotationError for a file outside of
    the folder, one that the server does not list, and a place that the server does not show.
    """
    names: dict[str, str] = {}
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for sample_id, path in paths.items():
        if not Path(path).is_relative_to(reference.folder):
            raise AnnotationError(
                f"{path} is not below {reference.folder}, the folder of by_reference; name one that "
                "holds all images of the request, or leave by_reference out to upload them"
            )
        name = reference.prefix / Path(path).relative_to(reference.folder).as_posix()
        names[sample_id] = str(name)
        folders[name.parent].append(str(name))
    missing, done = [], 0
    for folder, wanted in folders.items():
        listed = {str(folder / name) for name in _list(api, reference, folder)}
        missing += [name for name in wanted if name not in listed]
        progress(done := done + len(wanted))
    if missing:
        raise AnnotationError(
            f"{len(missing)} of {len(names)} images are not on {reference}, among them "
            f"{some(missing)}; correct by_reference, or leave it out to upload "
            "the images"
        )
    return names


def _list(api: Api, reference: Reference, folder: PurePosixPath) -> Iterator[str]:
    """The names of the files in one folder of the server."""
    inside = "" if folder == PurePosixPath() else f"{folder}/"
    token: str | None = ""
    try:
        while token is not None and reference.storage is not None:
            asked = {"prefix": inside, **({"next_token": token} if token else {})}
            path = f"cloudstorages/{reference.storage}/content-v2?{urlencode(asked)}"
            page = api.json("GET", path, {"content": [{"name": str}]})
            yield from (PurePosixPath(item["name"]).name for item in page["content"])
            token = page.get("next") or None
        if reference.storage is None:
            path = f"server/share?{urlencode({'directory': f'/{inside}'})}"
            yield from (item["name"] for item in api.answer("GET", path, [{"name": str}]))
    except CvatError as error:
        if error.status not in (400, 404):
            raise
        raise AnnotationError(
            f"{reference} cannot be listed ({error}); mount the share in CVAT, or check the id of "
            "the cloud storage and the prefix"
        ) from None


def attach(
    api: Api, task_id: int, names: Sequence[str], storage: int | None, image_quality: int
) -> str | None:
    """Give a task these files of the server, in this order; returns what `send_images` does."""
    body = {
        "image_quality": image_quality,
        "use_cache": True,
        "use_zip_chunks": True,
        "sorting_method": "predefined",
        "server_files": list(names),
        **({} if storage is None else {"cloud_storage_id": storage}),
    }
    answer = api.json("POST", f"tasks/{task_id}/data", answers.ANY, json=body)
    return str(answer["rq_id"]) if answer.get("rq_id") else None
