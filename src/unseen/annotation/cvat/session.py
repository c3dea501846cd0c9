"""HTTP to a CVAT server: verified TLS, time limits, retries, and errors that hold no secret.

FiftyOne's client (1.22) checks no certificate, waits for ever, tries once, and logs the bytes of
the images with every error; this session takes its place below it.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader, MaxRetryError, SSLError
from urllib3.util.retry import Retry

from unseen.annotation.cvat.answers import (
    cause_of,
    path_of,
    reason_of,
    redirected,
    remedy_of,
    server_of,
)
from unseen.annotation.cvat.credentials import Credentials
from unseen.errors import ServerError

logger = logging.getLogger(__name__)


@dataclass
class Limits:
    """How long and how often to try; module-wide, so that a slow network needs one change."""

    connect: float = 15.0  #: seconds for a connection
    read: float = 120.0  #: seconds without a byte of the answer
    retries: int = 6  #: further tries of what may be repeated
    cuts: int = 2  #: of these, after answers that did not come or broke off
    backoff: float = 0.5  #: seconds; doubles with every try: 0, 1, 2, 4, 8, 16
    longest_pause: float = 60.0  #: seconds; whatever a server's Retry-After asks for
    poll: float = 0.5  #: first pause between two looks at a running job, seconds


LIMITS = Limits()

#: Names that only a local network knows.
_LOCAL = (".local", ".localhost", ".internal", ".lan", ".home", ".intranet", ".test")

#: Answers of a server that is restarting or overloaded.
_PASSING = (429, 502, 503, 504)
#: Methods that do the same when they are repeated; PUT of annotations replaces them all.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class CvatError(ServerError, requests.HTTPError):  # type: ignore[misc]  # requests is untyped
    """An answer that is an error, with the server's own reason; FiftyOne knows it as HTTPError."""

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        requests.HTTPError.__init__(self, message)
        self.status = status
        self.retry_after = retry_after  #: seconds that the server asks to wait, capped
        # FiftyOne asks `error.response.status_code`; the real response would keep the request,
        # and with it the images and the headers, alive.
        self.response = requests.Response()
        self.response.status_code = status


class UnreachableError(ServerError):
    """No answer: refused, cut, or not in time. What was asked may have been done or not."""


class Session(requests.Session):  # type: ignore[misc]  # requests is untyped
    """A `requests` session for one CVAT server."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self.verify = self._verify = credentials.verify
        # An explicit auth keeps `requests` from sending what a .netrc file holds for the host.
        self.auth = _unchanged
        self.headers["Accept"] = "application/vnd.cvat+json, application/json"
        self.be_patient(retries=2)  # a wrong address shall not cost half a minute
        self._lock = threading.Lock()
        self._log_in: Callable[[], None] | None = None
        if credentials.verify is False:
            logger.warning(
                "TLS certificates of %s are not checked (FIFTYONE_CVAT_VERIFY_TLS=false)",
                credentials.url,
            )
        if is_exposed(credentials.url):
            logger.warning(
                "%s is not encrypted: anybody on the way can read credentials and images; use https",
                credentials.url,
            )

    def be_patient(self, retries: int | None = None) -> None:
        """Try as often as LIMITS says (or `retries` times more), once the server is known."""
        adapter = HTTPAdapter(max_retries=_retry(LIMITS.retries if retries is None else retries))
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def renew_with(self, log_in: Callable[[], None]) -> None:
        """Call `log_in` when the server says that the login is no longer valid."""
        self._log_in = log_in

    def send_request(
        self,
        method: str,
        url: str,
        *,
        body: Callable[[], dict[str, Any]] | None = None,
        read: float | None = None,
        renew: bool = True,
        **kwargs: Any,
    ) -> requests.Response:
        """One request with everything that this module is for.

        Args:
            method: HTTP method, upper case.
            url: absolute.
            body: makes `requests` keywords for every try anew; for streams.
            read: seconds without a byte of the answer; default: LIMITS.read.
            renew: log in again where the login is no longer valid.
            **kwargs: `requests` keywords.

        Raises:
            CvatError: the answer is an error.
            UnreachableError: there is no answer.
        """
        # FiftyOne passes False. Set for each request, because `requests` prefers REQUESTS_CA_BUNDLE
        # to what a session says.
        kwargs["verify"] = self._verify
        kwargs.setdefault("timeout", (LIMITS.connect, read or LIMITS.read))
        kwargs["allow_redirects"] = False
        response = self._answer(method, url, body, kwargs)
        if renew and self._log_in is not None and _is_logged_out(response):
            with self._lock:
                self._log_in()
            response = self._answer(method, url, body, kwargs)
        if response.is_redirect:
            raise CvatError(redirected(url, response.headers["location"]), response.status_code)
        if response.status_code >= 400:
            raise _error(method, url, response)
        return response

    def _answer(
        self,
        method: str,
        url: str,
        body: Callable[[], dict[str, Any]] | None,
        kwargs: dict[str, Any],
    ) -> requests.Response:
        stream = HTTPAdapter(max_retries=0)  # a stream cannot be sent twice
        if body:
            self.mount(url, stream)
        try:
            return self.request(method, url, **kwargs, **(body() if body else {}))
        except requests.exceptions.SSLError as error:
            raise UnreachableError(
                f"{server_of(url)}: the TLS certificate is not trusted ({cause_of(error)}); set "
                "FIFTYONE_CVAT_CA_BUNDLE to the file of your certificate authority"
            ) from None
        except (requests.exceptions.RequestException, ConnectionError, TimeoutError) as error:
            # After several tries `requests` calls a timeout a ConnectionError.
            late = isinstance(error, (requests.exceptions.Timeout, TimeoutError))
            if late or "timed out" in str(error):
                raise UnreachableError(
                    f"{server_of(url)} did not answer {method} {path_of(url)} in time; check the "
                    "network and the server, then run this again"
                ) from None
            raise UnreachableError(
                f"{server_of(url)} cannot be reached ({method} {path_of(url)}: {cause_of(error)}); "
                "check the address, the network and the server, then run this again"
            ) from None
        finally:
            if body:
                self.adapters.pop(url)
                stream.close()


class _Retries(Retry):
    """Retries of urllib3; a server that says "not now" may be asked again whatever the method."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        if status_code == 429 or (status_code == 503 and has_retry_after):
            return bool(self.total)  # refused before anything was done
        return bool(super().is_retry(method, status_code, has_retry_after))

    def increment(self, *args: Any, **kwargs: Any) -> Any:
        error = kwargs.get("error")
        if isinstance(error, SSLError):  # a certificate does not become valid by asking again
            raise MaxRetryError(kwargs["_pool"], kwargs.get("url") or "", error)
        return super().increment(*args, **kwargs)

    def get_retry_after(self, response: Any) -> float | None:
        try:
            asked = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if asked is None else min(float(asked), LIMITS.longest_pause)


def _retry(total: int) -> Retry:
    return _Retries(
        total=total,
        # A server that hangs costs LIMITS.read each time; one that is restarting refuses at once.
        read=min(total, LIMITS.cuts),
        backoff_factor=LIMITS.backoff,
        backoff_max=LIMITS.longest_pause,
        status_forcelist=_PASSING,
        allowed_methods=_REPEATABLE,
        raise_on_status=False,
        respect_retry_after_header=True,
    )


def pause(round_: int, deadline: float) -> bool:
    """Wait before the next look at something that the server is doing; False at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    time.sleep(min(left, LIMITS.poll * min(1.5**round_, 10)))
    return True


def is_exposed(url: str) -> bool:
    """Whether the address is unencrypted and not obviously on this machine or in a local network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_LOCAL)


def is_passing(error: Exception) -> bool:
    """Whether the same may work a little later."""
    if isinstance(error, CvatError):
        return error.status in (500, *_PASSING)
    return isinstance(error, UnreachableError)


def _unchanged(request: Any) -> Any:
    return request


def _is_logged_out(response: requests.Response) -> bool:
    return response.status_code == 401 or (
        response.status_code == 403 and "CSRF Failed" in response.text
    )


def _error(method: str, url: str, response: requests.Response) -> CvatError:
    status = response.status_code
    text = f"{server_of(url)} answered {status} to {method} {path_of(url)}: {reason_of(response)}"
    remedy = remedy_of(status)
    asked = _retry(0).get_retry_after(response.raw) if response.raw is not None else None
    return CvatError(f"{text}{'; ' if remedy else ''}{remedy}", status, asked)
