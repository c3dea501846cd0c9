"""The CVAT project that holds the tasks of a sending."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from unseen.annotation import sendings
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.session import LIMITS, is_passing
from unseen.annotation.sendings import Sending
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError

logger = logging.getLogger(__name__)


def prepare_project(
    loop: Loop,
    api: Api,
    sending: Sending,
    labels: Sequence[Mapping[str, Any]],
    missing: Sequence[Mapping[str, Any]],
) -> None:
    """Make the project that the sending asks for, or give it the labels that it lacks.

    Args:
        loop: the loop.
        api: signed in.
        sending: tells the name; its project is set.
        labels: of a new project.
        missing: labels that an existing one lacks.

    Raises:
        ServerError: the server failed.
    """
    name = sending.parameters.get("project")
    if name is None:
        return
    if sending.project_id is None:
        sending.project_id = _make(api, name, [dict(label) for label in labels])
        sending.own_project = True
        sendings.write_sending(loop, sending)
    elif missing:
        api.add_labels(sending.project_id, [dict(label) for label in missing])


def delete_if_empty(api: Api, sending: Sending) -> None:
    """Delete the project where this sending made it and nothing is in it."""
    if not sending.own_project or sending.project_id is None:
        return
    try:
        if api.is_empty_project(sending.project_id):
            api.delete_project(sending.project_id)
    except AnnotationError as error:
        logger.warning("the empty CVAT project %s stays: %s", sending.project_id, error)


def _make(api: Api, name: str, labels: Sequence[dict[str, Any]]) -> int:
    try:
        return api.make_project(name, labels)
    except ServerError as error:
        if not is_passing(error):
            raise
        logger.warning("%s; trying the project again", error)
    time.sleep(LIMITS.backoff)
    # The answer may have been lost, and not the request.
    found = api.find_project(name)
    return api.make_project(name, labels) if found is None else int(found["id"])
