"""Where the address of the server and the credentials come from.

They are looked up when connecting: in the secrets that FiftyOne hands to an operator, then in the
environment, then in FiftyOne's annotation config. They are never a parameter of a step, because
parameters are stored in records.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import fiftyone as fo

from unseen.errors import AnnotationError

#: Names that an operator asks FiftyOne for; the same as in fiftyone.yml.
SECRETS = (
    "FIFTYONE_CVAT_URL",
    "FIFTYONE_CVAT_USERNAME",
    "FIFTYONE_CVAT_PASSWORD",
    "FIFTYONE_CVAT_ACCESS_TOKEN",
    "FIFTYONE_CVAT_CA_BUNDLE",
    "FIFTYONE_CVAT_VERIFY_TLS",
)
_PREFIX = "FIFTYONE_CVAT_"
_FALSE = ("false", "0", "no", "off")

#: Tokens taken out of FiftyOne's annotation config.
_withdrawn: dict[str, str] = {}
_supplied: ContextVar[Mapping[str, str]] = ContextVar("supplied")


@contextlib.contextmanager
def supply(secrets: Mapping[str, str | None]) -> Iterator[None]:
    """Use these secrets, named like the environment variables, for connections made inside."""
    token = _supplied.set({k: v for k, v in secrets.items() if v})
    try:
        yield
    finally:
        _supplied.reset(token)


@dataclass(frozen=True)
class Credentials:
    """How to reach a CVAT server. `repr` shows no secret."""

    url: str  #: scheme, host and port, without a trailing slash
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    verify: bool | str = True  #: check TLS certificates: yes, no, or with this CA bundle


def find(url: str | None = None) -> Credentials:
    """The credentials for a server, by default for FIFTYONE_CVAT_URL.

    Raises AnnotationError if there is no server, its address is unusable or credentials are missing.
    """
    credentials = Credentials(
        url=check_url(url or _look_up("url") or ""),
        username=_look_up("username"),
        password=_look_up("password"),
        access_token=_access_token(),
        verify=_verify(),
    )
    missing = [n for n in ("username", "password") if not getattr(credentials, n)]
    if credentials.access_token is None and missing:
        names = " and ".join(f"{_PREFIX}{name.upper()}" for name in missing)
        raise AnnotationError(
            f"no credentials for CVAT at {credentials.url}: {names} not set. Set "
            f"{_PREFIX}USERNAME and {_PREFIX}PASSWORD, or {_PREFIX}ACCESS_TOKEN (a personal access "
            "token made in CVAT), as FiftyOne secrets or environment variables"
        )
    return credentials


def check_url(url: str) -> str:
    """The address without a trailing slash; AnnotationError if it is unusable or holds credentials."""
    if not url:
        raise AnnotationError(
            f"no CVAT server given; set {_PREFIX}URL, for example to http://localhost:8080, or "
            "pass url="
        )
    if "@" in url:  # also where the scheme is missing
        raise AnnotationError(
            "the CVAT address holds credentials (user:password@host) and would be stored with them; "
            f"pass the address alone and set {_PREFIX}USERNAME and {_PREFIX}PASSWORD"
        )
    parts = urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        usable = False
    if not usable:
        raise AnnotationError(
            f"CVAT address {url!r} cannot be used; expected http(s)://host[:port], for example "
            "http://localhost:8080"
        )
    return url.rstrip("/")


def _look_up(name: str) -> str | None:
    variable = f"{_PREFIX}{name.upper()}"
    if value := _supplied.get({}).get(variable) or os.environ.get(variable):
        return value
    # FiftyOne's default server is the public one, to which no images may go by accident.
    configured = (fo.annotation_config.backends.get("cvat") or {}).get(name)
    if not configured or (name == "url" and configured == "https://app.cvat.ai"):
        return None
    return str(configured)


def _access_token() -> str | None:
    # FiftyOne (1.22) makes every FIFTYONE_CVAT_* variable a parameter of its backend, and stores
    # with each run the parameters that it does not know: take the token out of its reach.
    configured = fo.annotation_config.backends.get("cvat") or {}
    for name in ("access_token", "token"):
        if configured.get(name):
            _withdrawn[name] = str(configured.pop(name))
    return (
        _look_up("access_token")
        or _look_up("token")
        or os.environ.get("CVAT_ACCESS_TOKEN")
        or _withdrawn.get("access_token")
        or _withdrawn.get("token")
    )


def _verify() -> bool | str:
    bundle = _look_up("ca_bundle")
    if (_look_up("verify_tls") or "").strip().lower() in _FALSE:
        return False
    if bundle and not Path(bundle).exists():
        raise AnnotationError(
            f"{_PREFIX}CA_BUNDLE={bundle!r} does not exist; expected a file of PEM certificates"
        )
    return bundle or True
