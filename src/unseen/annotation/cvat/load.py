"""Which annotation runs are loaded, over which connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import find
from unseen.annotation.cvat.receiving import Receiver
from unseen.annotation.cvat.tally import Tally
from unseen.annotation.sendings import Sending
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError
from unseen.progress import Progress

if TYPE_CHECKING:
    from unseen.steps.load_annotations import LoadConfig


def load(
    loop: Loop,
    config: LoadConfig,
    found: Sequence[Sending],
    tally: Tally,
    progress: Progress,
) -> None:
    """Load these annotation runs; each server is asked over one connection.

    Args:
        loop: the loop.
        config: what to load.
        found: the annotation runs, open ones and closed ones.
        tally: is added to.
        progress: told in tasks of each run.

    Raises:
        AnnotationError: a server failed. What was loaded until then stays, and so does what came
            from the other annotation runs: each was tried.
    """
    connections = Connections()
    problems = {}
    for sending in found:
        try:
            api = connections.of(sending)
            Receiver(loop, api, sending, config, tally).receive(progress)
        except AnnotationError as error:
            if sending.closed:
                # Nothing is expected from it any more: old servers may be gone.
                tally.note(f"{sending.anno_key} was not looked at again: {error}")
            else:
                problems[sending.anno_key] = error
    if problems:
        raise _error(problems, len(found), 0 if config.dry_run else tally.jobs_loaded)


def _error(problems: dict[str, AnnotationError], runs: int, loaded: int) -> AnnotationError:
    """All that went wrong in one message."""
    text = "; ".join(f"{k}: {e}" if runs > 1 else str(e) for k, e in problems.items())
    if loaded:
        text += f". {loaded} jobs were loaded and stay; run this again to load the rest"
    if runs > len(problems):
        text += ". Pass anno_key= to load one annotation run by itself"
    is_server = all(isinstance(e, ServerError) for e in problems.values())
    error = ServerError(text) if is_server else AnnotationError(text)
    error.__cause__ = next(iter(problems.values()))
    return error


class Connections:
    """One signed-in client per server and organization."""

    def __init__(self) -> None:
        self._apis: dict[tuple[str | None, str | None], Api | AnnotationError] = {}

    def of(self, sending: Sending) -> Api:
        """The client for an annotation run.

        Raises:
            AnnotationError: no connection; asked again, the same error at once.
        """
        key = (sending.url, sending.organization)
        if key not in self._apis:
            try:
                self._apis[key] = Api(find(sending.url), sending.organization)
            except AnnotationError as error:
                self._apis[key] = error
        found = self._apis[key]
        if isinstance(found, AnnotationError):
            raise found
        return found
