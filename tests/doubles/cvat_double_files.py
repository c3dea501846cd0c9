"""The files that a server sees itself: its share and its cloud storages, folders of the test."""

from __future__ import annotations

from pathlib import Path

from cvat_double_projects import ProjectRoutes
from cvat_double_routes import Answer, Call
from cvat_double_things import Frame, Rejected
from PIL import Image, ImageOps

#: Files that a cloud storage lists at a time; the real number is larger.
CLOUD_PAGE = 2


class FileRoutes(ProjectRoutes):
    """Lists `double.share` and `double.clouds`, and makes frames of named files."""

    def __init__(self, *how) -> None:
        super().__init__(*how)
        self.add("/api/server/share", GET=self.share)
        self.add("/api/cloudstorages/N/content-v2", GET=self.cloud)

    def share(self, call: Call) -> Answer:
        inside = call.query.get("directory", "/").lstrip("/")
        root = self.double.share
        if root is None or not (root / inside).is_dir():
            raise Rejected(f"{inside} is an invalid directory")
        return Answer(json=_listed(root / inside))

    def cloud(self, call: Call, number: int) -> Answer:
        if number not in self.double.clouds:
            raise self.not_found("CloudStorage")
        folder = self.double.clouds[number] / call.query.get("prefix", "")
        files = _listed(folder) if folder.is_dir() else []
        start = int(call.query.get("next_token", 0))
        end = start + CLOUD_PAGE
        token = str(end) if end < len(files) else None
        return Answer(json={"next": token, "content": files[start:end]})

    def named_frames(self, body: dict) -> list[Frame]:
        """The frames of `server_files`, with the folder in their names."""
        root = self.double.clouds.get(body.get("cloud_storage_id"), self.double.share)
        frames = []
        for name in body.get("server_files", ()):
            with Image.open(root / name) as image:
                frames.append(Frame(name, 0, *ImageOps.exif_transpose(image).size))
        return frames


def _listed(folder: Path) -> list[dict]:
    kinds = {True: ("DIR", "DIR"), False: ("REG", "image")}
    files = sorted(folder.iterdir())
    return [
        {"name": f.name, "type": kinds[f.is_dir()][0], "mime_type": kinds[f.is_dir()][1]}
        for f in files
    ]
