"""Which files, folders and servers a request from the App may name.

Whoever reaches the App's port can send requests, so that paths in them stay in folders that belong
to the dataset, or that the administrator of the machine allows. The SDK and the command line are
used by people who have the machine's files anyway. Servers are never named in a request.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from unseen.dataset.loop import files_root
from unseen.parameters import Config, as_path, parameters

#: Folders that requests may read and write, separated as in PATH.
ALLOWED = "UNSEEN_ALLOWED_FOLDERS"


def is_from_app(ctx: Any) -> bool:
    """Whether a request came over the App's port, also if a worker runs it: it names its operator."""
    return "operator_uri" in ctx.request_params  # 1.22 refuses a request without


def refused(ctx: Any, config: type[Config]) -> dict[str | None, str]:
    """What a request from the App may not set so: a message by parameter."""
    wrong: dict[str | None, str] = {}
    if not is_from_app(ctx):
        return wrong
    own = os.environ.get(ALLOWED, "").split(os.pathsep)
    allowed = [files_root(), *(as_path(ALLOWED, folder) for folder in own if folder)]
    for parameter in parameters(config):
        value = ctx.params.get(parameter.name)
        if value and not parameter.in_app:
            wrong[parameter.name] = (
                f"{parameter.name}={value!r} cannot be set in the App, which everybody at its port "
                "can use; use Python or the command line"
            )
        if not parameter.path or not value or value in parameter.not_paths:
            continue
        # Links are followed: where a name leads is what counts.
        path = as_path(parameter.name, value).resolve()
        is_inside = any(path.is_relative_to(folder.resolve()) for folder in allowed)
        reads = parameter.path == "read"
        if not is_inside and not (reads and _has_images_of(ctx.dataset, path.parent)):
            more = " and the folders of the dataset's images" if reads else ""
            wrong[parameter.name] = (
                f"{parameter.name}={value!r} is outside of what the App may use: "
                f"{', '.join(map(str, allowed))}{more}. Give a path there, use Python or the "
                f"command line, or start the App with {ALLOWED}, a list of further folders"
            )
    return wrong


def _has_images_of(dataset: Any, folder: Path) -> bool:
    """Whether a sample's file lies directly in the folder; an index serves the question."""
    inside = f"^{re.escape(os.path.join(folder, ''))}[^{re.escape(os.sep)}]+$"  # noqa: PTH118 - adds the separator
    one = {"filepath": {"$regex": inside}}
    return dataset is not None and dataset._sample_collection.find_one(one, {"_id": 1}) is not None
