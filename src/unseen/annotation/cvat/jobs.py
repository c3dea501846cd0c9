"""When a CVAT job is finished, and when it has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.annotation import STAGES
from unseen.annotation.sendings import SentTask


def is_finished(job: Mapping[str, Any], stage: str) -> bool:
    """Whether a job has completed this stage; a later stage means that it has."""
    if job.get("stage") not in STAGES:
        return False  # nothing that we know of: rather wait than take an empty image for checked
    reached, wanted = STAGES.index(job["stage"]), STAGES.index(stage)
    return reached > wanted or (reached == wanted and job["state"] == "completed")


def is_changed(job: Mapping[str, Any], task: SentTask) -> bool:
    """Whether the server has touched a job since it was loaded (or it never was)."""
    loaded = task.loaded.get(str(job["id"]))
    return loaded is None or loaded["updated"] != job.get("updated_date")
