"""The servers of several annotation runs."""

from __future__ import annotations

from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import find
from unseen.annotation.sendings import Sending
from unseen.errors import AnnotationError


class Connections:
    """One signed-in client per server and organization."""

    def __init__(self) -> None:
        self._apis: dict[tuple[str | None, str | None], Api | AnnotationError] = {}

    def of(self, sending: Sending) -> Api:
        """The client of an annotation run; asked again, a failed connection fails at once."""
        key = (sending.url, sending.organization)
        if key not in self._apis:
            try:
                self._apis[key] = Api(find(sending.url), sending.organization)
            except AnnotationError as error:
                self._apis[key] = error
        api = self._apis[key]
        if isinstance(api, AnnotationError):
            raise api
        return api
