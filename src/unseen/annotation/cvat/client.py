"""A signed-in client of a CVAT server: who asks, and how an answer is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from unseen.annotation.cvat.answers import ANY, Shape, difference
from unseen.annotation.cvat.credentials import Credentials
from unseen.annotation.cvat.server import LIMITS, CvatError, Session, is_passing
from unseen.errors import AnnotationError

#: The first version that keeps the order of the files (`sorting_method=predefined`).
OLDEST = Version("2.4.6")
_PAGE = 100


class Client:
    """A signed-in client of one CVAT server; every method raises ServerError if the server fails."""

    def __init__(self, credentials: Credentials, organization: str | None = None) -> None:
        """Sign in and check server, version and organization; AnnotationError says what is wrong."""
        self.base_url = credentials.url
        self._credentials = credentials
        self._session = Session(credentials)
        self._session.headers["Referer"] = self._url("auth/login")
        self.username = str(self._sign_in().get("username", ""))
        self.version = self._read_version()
        self.organization = organization
        if organization:
            self._session.headers["X-Organization"] = organization
            self._check_organization(organization)
        self._session.retry(LIMITS.retries)

    def _sign_in(self) -> dict[str, Any]:
        token = self._credentials.access_token
        if token is None:
            self._log_in()
            self._session.log_in = self._log_in
            return self.json("GET", "users/self")
        for scheme in ("Bearer", "Token"):  # personal access tokens; keys of older servers
            self._session.headers["Authorization"] = f"{scheme} {token}"
            try:
                return self.json("GET", "users/self")
            except CvatError as error:
                if error.status not in (401, 403):
                    raise
        raise AnnotationError(
            f"CVAT at {self.base_url} refused the access token; it may have expired or belong to "
            "another server. Make a new one in CVAT and set FIFTYONE_CVAT_ACCESS_TOKEN"
        )

    def _log_in(self) -> None:
        user = self._credentials.username
        self._session.cookies.clear()
        self._session.headers.pop("X-CSRFToken", None)
        payload = {"username": user, "password": self._credentials.password}
        try:
            response = self._session.send_request(
                "POST", self._url("auth/login"), json=payload, renew=False
            )
        except CvatError as error:
            if error.status in (400, 401, 403):
                raise AnnotationError(
                    f"CVAT at {self.base_url} refused the login of user {user!r}; check "
                    "FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD"
                ) from None
            if is_passing(error) or error.status < 400:
                raise
            raise AnnotationError(
                f"{self.base_url} answered {error.status} to the login; expected the address of a "
                "CVAT server"
            ) from None
        token = response.cookies.get("csrftoken") or self._session.cookies.get("csrftoken")
        if token:
            self._session.headers["X-CSRFToken"] = token

    def check_may_write(self) -> None:
        """Raise AnnotationError if the access token is read-only, as CVAT makes them by default."""
        if self._credentials.access_token is None:
            return
        try:
            token = self.json("GET", "auth/access_tokens/self")
        except CvatError as error:
            if error.status >= 500 or error.status == 429:
                raise
            return  # a key of an older server, which may do what its user may
        if token.get("read_only"):
            raise AnnotationError(
                f"the access token {str(token.get('name'))!r} for CVAT at {self.base_url} is "
                "read-only, and this would write there; make one in CVAT with read-only switched "
                "off, and set FIFTYONE_CVAT_ACCESS_TOKEN to it"
            )

    def _read_version(self) -> Version:
        text = str(self.json("GET", "server/about").get("version"))
        numbers = re.match(r"\d+(\.\d+)+", text)  # builds have endings that are no versions
        if numbers is None:
            raise AnnotationError(
                f"{self.base_url} does not tell a CVAT version; expected the address of a CVAT server"
            )
        version = Version(numbers[0])
        if version < OLDEST:
            raise AnnotationError(
                f"CVAT at {self.base_url} has version {version}; expected {OLDEST} or newer, which "
                "keeps the order of the images"
            )
        return version

    def _check_organization(self, organization: str) -> None:
        try:
            self.json("GET", "tasks?page_size=1")
        except CvatError as error:
            if error.status not in (403, 404):
                raise
            raise AnnotationError(
                f"organization {organization!r} cannot be used on CVAT at {self.base_url} ({error}); "
                f"pass the short name (slug) of one that {self.username!r} belongs to, or leave it "
                "out"
            ) from None

    # --- requests --------------------------------------------------------------------------------
    def _url(self, path: str) -> str:
        return f"{self.base_url}/api/{path}"

    def answer(self, method: str, path: str, shape: Shape = ANY, **kwargs: Any) -> Any:
        """The answer to a request; AnnotationError unless it is JSON of this shape."""
        response = self._session.send_request(method, self._url(path), **kwargs)
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            answer = None
        is_kind = isinstance(answer, list if isinstance(shape, list) else dict)
        wrong = difference(answer, shape) if is_kind else "no JSON object"
        if wrong is not None:
            raise AnnotationError(
                f"{self.base_url} answered {method} /api/{path.partition('?')[0]} with something "
                f"that is {wrong}; expected the address of a CVAT server"
            )
        return answer

    def json(self, method: str, path: str, shape: Shape = ANY, **kwargs: Any) -> dict[str, Any]:
        """The answer to a request, a JSON object; see `answer`."""
        return dict(self.answer(method, path, shape, **kwargs))

    def text(self, path: str) -> str:
        """The answer to a GET, as it is."""
        return str(self._session.send_request("GET", self._url(path)).text)

    def find(self, path: str, shape: Shape = ANY) -> dict[str, Any] | None:
        """The item at a path, such as `tasks/1`, or None if it does not exist."""
        try:
            return self.json("GET", path, shape)
        except CvatError as error:
            if error.status == 404:
                return None
            raise

    def delete(self, path: str) -> None:
        """Delete an item if it exists."""
        try:
            self._session.send_request("DELETE", self._url(path))
        except CvatError as error:
            if error.status != 404:
                raise

    def paged(self, path: str, shape: Shape = ANY, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, such as `tasks?search=x`, each of this shape."""
        # The `next` address is not followed: behind a proxy that ends TLS it names another scheme
        # or host.
        page = 1
        while True:
            mark = "&" if "?" in path else "?"
            numbered = f"{path}{mark}page={page}&page_size={_PAGE}"
            answer = self.json("GET", numbered, {"results": [shape]}, **kwargs)
            yield from answer["results"]
            if not answer.get("next") or not answer["results"]:
                return
            page += 1
