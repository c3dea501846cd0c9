"""HTTP to a CVAT server: verified TLS, time limits, retries, and errors that hold no secret."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor
from urllib3.exceptions import InvalidHeader, MaxRetryError, SSLError
from urllib3.util.retry import Retry

from unseen.annotation.cvat.credentials import Credentials
from unseen.errors import ServerError

logger = logging.getLogger(__name__)


@dataclass
class Limits:
    """How long to wait and how often to retry."""

    connect: float = 15.0  #: seconds to connect
    read: float = 120.0  #: seconds without a byte of the answer
    retries: int = 6  #: of requests that may be repeated
    cuts: int = 2  #: of these, after answers that did not come or broke off
    backoff: float = 0.5  #: seconds; doubles with every retry: 0, 1, 2, 4, 8, 16
    longest_pause: float = 60.0  #: seconds, whatever a server's Retry-After asks for
    poll: float = 0.5  #: seconds between the first two polls of a running job


LIMITS = Limits()

#: Names of local networks.
_LOCAL = (".local", ".localhost", ".internal", ".lan", ".home", ".intranet", ".test")
#: Answers of a server that is restarting or overloaded.
_PASSING = (429, 502, 503, 504)
#: Methods that may be repeated; PUT replaces all annotations.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_REMEDIES = {
    401: "check the credentials (an access token may have expired)",
    403: "ask for the permission in CVAT, or check the organization",
    404: "it was deleted, or the address is not that of a CVAT server",
    413: "lower task_size, or raise the server's upload limit",
    429: "the server asks for patience; run this again later",
}
#: What the text of a network error means.
_CAUSES = {
    "Connection refused": "connection refused",
    "Name or service not known": "unknown host",
    "nodename nor servname": "unknown host",
    "Temporary failure in name resolution": "unknown host",
    "No route to host": "no route to host",
    "Connection reset": "connection reset",
    "Broken pipe": "connection cut",
    "Connection aborted": "connection cut",
    "RemoteDisconnected": "connection cut",
}


class CvatError(ServerError):
    """An error answer, with the server's own reason."""

    def __init__(self, message: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after  #: seconds that the server asks to wait, capped


class HiddenError(ServerError):
    """A task is there, and what it holds is not shown to this user."""


class UnreachableError(ServerError):
    """No answer: refused, cut off, or timed out. The request may have been carried out."""


class Session(requests.Session):  # type: ignore[misc]  # requests is untyped
    """A `requests` session for one CVAT server."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._verify = credentials.verify
        self._login = f"{credentials.url}/api/auth/login"
        # An explicit auth keeps `requests` from sending what a .netrc file holds for the host.
        self.auth = lambda request: request
        self.headers["Accept"] = "application/vnd.cvat+json, application/json"
        self.retry(2)  # a wrong address must not cost half a minute
        #: Signs in again; called where the server says that the login has expired.
        self.log_in: Callable[[], None] | None = None
        if credentials.verify is False:
            logger.warning(
                "TLS certificates of %s are not checked (FIFTYONE_CVAT_VERIFY_TLS=false)",
                credentials.url,
            )
        if _is_exposed(credentials.url):
            logger.warning(
                "%s is not encrypted: credentials and images can be read on the way; use https",
                credentials.url,
            )

    def retry(self, times: int) -> None:
        """Retry requests that may be repeated this often; a login only after an error answer."""
        for scheme in ("https://", "http://"):
            self.mount(scheme, HTTPAdapter(max_retries=_retry(times)))
        self.mount(self._login, HTTPAdapter(max_retries=_retry(times, cuts=0, methods=None)))

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
        """Send a request, and sign in again (`renew`) if the login has expired.

        `body` makes the `requests` keywords of a stream, anew for each try; `read` is the limit in
        seconds without a byte of the answer. Raises CvatError for an error answer and
        UnreachableError if there is none.
        """
        # Per request, because `requests` prefers REQUESTS_CA_BUNDLE to what a session says.
        kwargs["verify"] = self._verify
        kwargs["timeout"] = (LIMITS.connect, read or LIMITS.read)
        kwargs["allow_redirects"] = False
        response = self._answer(method, url, body, kwargs)
        if renew and self.log_in is not None and _is_logged_out(response):
            self.log_in()
            response = self._answer(method, url, body, kwargs)
        if response.is_redirect or response.status_code >= 400:
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
        server, path = _server(url), urlsplit(url).path
        try:
            return self.request(method, url, **kwargs, **(body() if body else {}))
        except requests.exceptions.SSLError as error:
            raise UnreachableError(
                f"{server}: the TLS certificate is not trusted ({_cause(error)}); set "
                "FIFTYONE_CVAT_CA_BUNDLE to the file of your certificate authority"
            ) from None
        except (requests.exceptions.RequestException, ConnectionError, TimeoutError) as error:
            # After several tries `requests` calls a timeout a ConnectionError.
            late = isinstance(error, (requests.exceptions.Timeout, TimeoutError))
            if late or "timed out" in str(error):
                raise UnreachableError(
                    f"{server} did not answer {method} {path} in time; check the network and the "
                    "server, then run this again"
                ) from None
            raise UnreachableError(
                f"{server} cannot be reached ({method} {path}: {_cause(error)}); check the address, "
                "the network and the server, then run this again"
            ) from None
        finally:
            if body:
                self.adapters.pop(url)
                stream.close()


class _Retry(Retry):
    """urllib3's retries; a server that says "not now" is asked again, whatever the method."""

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


def _retry(
    total: int, cuts: int | None = None, methods: frozenset[str] | None = _REPEATABLE
) -> Retry:
    return _Retry(
        total=total,
        # A hanging server costs LIMITS.read each time; a restarting one refuses at once.
        read=min(total, LIMITS.cuts if cuts is None else cuts),
        backoff_factor=LIMITS.backoff,
        backoff_max=LIMITS.longest_pause,
        status_forcelist=_PASSING,
        allowed_methods=methods,
        raise_on_status=False,
    )


def form(
    files: Sequence[tuple[str, Path]], image_quality: int, progress: Callable[[float], None]
) -> dict[str, Any]:
    """The `requests` keywords of an upload, good for one try.

    `files` are (name on the server, file) in the order to keep, `image_quality` is the JPEG quality
    (0 to 100) in which CVAT shows them, and `progress` is called with the share of bytes sent.
    """
    fields: list[tuple[str, Any]] = [
        ("image_quality", str(image_quality)),
        ("use_cache", "true"),
        ("use_zip_chunks", "true"),
        ("sorting_method", "predefined"),
    ]
    for i, (name, path) in enumerate(files):
        fields.append((f"client_files[{i}]", (name, _LazyFile(path), "application/octet-stream")))
    encoder = MultipartEncoder(fields)
    monitor = MultipartEncoderMonitor(encoder, lambda m: progress(m.bytes_read / max(1, m.len)))
    return {"data": monitor, "headers": {"Content-Type": monitor.content_type}}


class _LazyFile:
    """A file that is open only while it is read, so that a task can hold thousands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.len = path.stat().st_size  #: bytes left; the name is requests-toolbelt's
        self._file: Any = None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        if self.len <= 0:
            return b""
        if self._file is None:
            self._file = self._path.open("rb")
        data: bytes = self._file.read(self.len if size < 0 else min(size, self.len))
        self.len = self.len - len(data) if data else 0
        if self.len <= 0:
            self._file.close()
        return data


def pause(round_: int, deadline: float) -> bool:
    """Wait before the next poll of a running job; False at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    time.sleep(min(left, LIMITS.poll * min(1.5**round_, 10)))
    return True


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, CvatError):
        return error.status in (500, *_PASSING)
    return isinstance(error, UnreachableError)


def shorten(text: str, limit: int = 300) -> str:
    """The text on one line, without its middle if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} ... {line[-limit // 2 :]}"


def _is_exposed(url: str) -> bool:
    """Whether the address is unencrypted and not obviously local."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_LOCAL)


def _is_logged_out(response: requests.Response) -> bool:
    return response.status_code == 401 or (
        response.status_code == 403 and "CSRF Failed" in response.text
    )


def _error(method: str, url: str, response: requests.Response) -> CvatError:
    status, path = response.status_code, urlsplit(url).path
    if response.is_redirect:
        # Only where it leads: the rest of a redirect's address may hold secrets.
        target = urlsplit(urljoin(url, response.headers["location"]))
        there = f"{target.scheme}://{target.hostname}{f':{target.port}' if target.port else ''}"
        if url.startswith(f"{there}/"):
            text = f"{_server(url)} redirects {path}; expected the address of a CVAT server"
        else:
            text = (
                f"{_server(url)} redirects to {there}; use that address (scheme and port included) "
                "as FIFTYONE_CVAT_URL"
            )
        return CvatError(text, status)
    text = f"{_server(url)} answered {status} to {method} {path}: {_reason(response)}"
    remedy = _REMEDIES.get(status)
    if remedy is None and status >= 500:
        remedy = "look at the server's log, then run this again"
    asked = _retry(0).get_retry_after(response.raw) if response.raw is not None else None
    return CvatError(f"{text}; {remedy}" if remedy else text, status, asked)


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"CVAT at {parts.scheme}://{parts.netloc}"


def _reason(response: requests.Response) -> str:
    """The server's own words: from JSON of any nesting, or the title of an HTML page."""
    try:
        return shorten(", ".join(_leaves(response.json())))
    except (ValueError, RecursionError):
        title = re.search(r"<(?:title|h1)[^>]*>(.*?)</", response.text or "", re.S | re.I)
        return shorten(title[1] if title else response.reason or "no reason given")


def _leaves(value: Any, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in _leaves(v, str(k))]
    if isinstance(value, list):
        return [leaf for v in value for leaf in _leaves(v, key)]
    return [f"{key}: {value}" if key not in ("", "detail", "non_field_errors") else str(value)]


def _cause(error: BaseException) -> str:
    """The innermost reason of a chain of network errors, without addresses of objects."""
    text = str(error)
    if failed := re.search(r"certificate verify failed(: [^(\"'\\]+)?", text):
        return failed[0].strip()
    meanings = (meaning for part, meaning in _CAUSES.items() if part in text)
    return next(meanings, type(error).__name__)
