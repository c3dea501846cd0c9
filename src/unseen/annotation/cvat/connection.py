"""FiftyOne's CVAT client on a careful session: signed in, checked, and without surprises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import requests
from fiftyone.utils.cvat import CVATAnnotationAPI
from packaging.version import Version

from unseen.annotation.cvat.answers import path_of
from unseen.annotation.cvat.credentials import Credentials
from unseen.annotation.cvat.session import CvatError, Session, is_passing
from unseen.errors import AnnotationError

#: The first server that keeps the order of the files (`sorting_method=predefined`).
OLDEST = Version("2.4.6")
_PAGE = 100


class Connection(CVATAnnotationAPI):  # type: ignore[misc]  # FiftyOne is untyped
    """FiftyOne's client for one server, signed in."""

    def __init__(self, credentials: Credentials, organization: str | None = None) -> None:
        self._credentials = credentials
        super().__init__(
            "cvat",
            credentials.url,
            username=credentials.username,
            password=credentials.password,
            organization=organization,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    # --- connecting ----------------------------------------------------------------------------
    def _setup(self) -> None:
        self._server_version = Version("2.15")  # until the server has told; decides about paths
        self._session = Session(self._credentials)
        self._session.headers["Referer"] = self.login_url
        self._user = self._sign_in()
        self._server_version = self._read_version()
        if self._organization:
            self._session.headers["X-Organization"] = self._organization
            self._check_organization()
        self._session.be_patient()

    def _sign_in(self) -> dict[str, Any]:
        token = self._credentials.access_token
        if token is None:
            self._log_in()
            self._session.renew_with(self._log_in)
            return self._who_am_i()
        for scheme in ("Bearer", "Token"):  # personal access tokens; keys of older servers
            self._session.headers["Authorization"] = f"{scheme} {token}"
            try:
                return self._who_am_i()
            except CvatError as error:
                if error.status not in (401, 403):
                    raise
        raise AnnotationError(
            f"CVAT at {self.base_url} refused the access token; it may have expired or belong to "
            "another server. Make a new one in CVAT and set FIFTYONE_CVAT_ACCESS_TOKEN"
        )

    def _log_in(self) -> None:
        self._session.cookies.clear()
        self._session.headers.pop("X-CSRFToken", None)
        payload = {"username": self._username, "password": self._password}
        try:
            response = self._session.send_request("POST", self.login_url, json=payload, renew=False)
        except CvatError as error:
            if error.status in (400, 401, 403):
                raise AnnotationError(
                    f"CVAT at {self.base_url} refused the login of user {self._username!r}; check "
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

    def _who_am_i(self) -> dict[str, Any]:
        return self._json("GET", f"{self.base_api_url}/users/self")

    def _read_version(self) -> Version:
        text = str(self._json("GET", self.about_url).get("version"))
        numbers = re.match(r"\d+(\.\d+)+", text)  # builds have endings that are no versions
        if numbers is None:
            raise AnnotationError(
                f"{self.base_url} does not tell a CVAT version; expected the address of a CVAT "
                "server"
            )
        version = Version(numbers[0])
        if version < OLDEST:
            raise AnnotationError(
                f"CVAT at {self.base_url} has version {version}; expected {OLDEST} or newer, which "
                "keeps the order of the images"
            )
        return version

    def _check_organization(self) -> None:
        try:
            self._json("GET", f"{self.tasks_url}?page_size=1")
        except CvatError as error:
            if error.status in (403, 404):
                raise AnnotationError(
                    f"organization {self._organization!r} cannot be used on CVAT at "
                    f"{self.base_url} ({error}); pass the short name (slug) of one that "
                    f"{self._user.get('username')!r} belongs to, or leave it out"
                ) from None
            raise

    # --- FiftyOne's way to make a request --------------------------------------------------------
    def _make_request(
        self, request_method: Any, url: str, print_error_info: bool = True, **kwargs: Any
    ) -> requests.Response:
        return self._session.send_request(request_method.__name__.upper(), url, **kwargs)

    def _json(self, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
        response = self._session.send_request(method, url, **kwargs)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AnnotationError(
                f"{self.base_url} answered {method} {path_of(url)} with something that is no JSON "
                "object; expected the address of a CVAT server"
            )
        return answer

    def _get_paginated_results(
        self, base_url: str, get_page_url: Any = None, value: str | None = None
    ) -> list[Any]:
        found = self.paged(base_url)
        return [item if value is None else item[value] for item in found]

    def paged(self, url: str) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        # The `next` address is not followed: behind a proxy that ends TLS it names another scheme
        # or host.
        page = 1
        while True:
            mark = "&" if "?" in url else "?"
            answer = self._json("GET", f"{url}{mark}page={page}&page_size={_PAGE}")
            yield from answer.get("results", [])
            if not answer.get("next") or not answer.get("results"):
                return
            page += 1
