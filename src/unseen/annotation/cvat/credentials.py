"""Where the address of the server and the credentials come from.

They are looked up when connecting: in the secrets that FiftyOne hands to an operator, then in the
environment, then in FiftyOne's annotation config. They are never a parameter of a step, because
parameters are stored in records.

Credentials belong to the server that they are configured for. Another address, which a parameter or
the record of a dataset from elsewhere may name, gets none.
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


def find(url: str | None = None, *, confirmed: bool = False) -> Credentials:
    """The credentials for a server, by default for FIFTYONE_CVAT_URL.

    Where no server is configured, credentials without one go to `url` only if it is `confirmed`: given
    by the person who runs this, not read from a record.

    Raises AnnotationError if there is no server, its address is unusable, the credentials are those
    of another one or missing.
    """
    sources = _sources()
    home = _home(sources)
    target = check_url(url or home or "")
    unbound = home or (target if confirmed else "")
    own = [s for s in sources if origin(s.get("url") or unbound) == origin(target)]
    known = {name: text for source in reversed(own) for name, text in source.items() if text}
    secrets = ("access_token", "password")
    if not any(map(known.get, secrets)) and any(s.get(n) for s in sources for n in secrets):
        asked = f"the credentials are those of {home}" if home else "no server is configured"
        raise AnnotationError(
            f"CVAT at {target} gets no credentials: {asked}. If you trust {target}, set "
            f"{_PREFIX}URL to it, and {_PREFIX}USERNAME and {_PREFIX}PASSWORD or "
            f"{_PREFIX}ACCESS_TOKEN to what is valid there, for example in front of the command"
        )
    credentials = Credentials(
        url=target,
        username=known.get("username"),
        password=known.get("password"),
        access_token=known.get("access_token"),
        verify=_verify(known),
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


def is_configured() -> bool:
    """Whether a server is configured."""
    return _home(_sources()) is not None


def check_url(url: str) -> str:
    """The address without a trailing slash; AnnotationError if it is unusable or holds credentials."""
    if not url:
        raise AnnotationError(
            f"no CVAT server given; set {_PREFIX}URL, for example to http://localhost:8080, or "
            "pass url=. Without a server, backend='app' labels in FiftyOne's App"
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


def _home(sources: list[dict[str, str]]) -> str | None:
    """The address of the configured server."""
    return next((source["url"] for source in sources if source.get("url")), None)


def _sources() -> list[dict[str, str]]:
    """What each source says, by name; a source may have no address."""
    names = [name.removeprefix(_PREFIX).lower() for name in SECRETS]
    sources = [
        {name: values.get(_PREFIX + name.upper()) or "" for name in names}
        for values in (_supplied.get({}), os.environ)
    ]
    config = fo.annotation_config.backends.get("cvat") or {}
    # FiftyOne (1.22) makes every FIFTYONE_CVAT_* variable a parameter of its backend, and stores
    # with each run the parameters that it does not know: take the token out of its reach.
    for name in ("token", "access_token"):
        if config.get(name):
            _withdrawn["access_token"] = str(config.pop(name))
    source = {name: str(config.get(name) or "") for name in names} | _withdrawn
    if source["url"] == "https://app.cvat.ai":
        # FiftyOne's default server is the public one, to which no images may go by accident.
        source["url"] = ""
    return [*sources, source]


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address: what credentials belong to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _verify(known: Mapping[str, str]) -> bool | str:
    bundle = known.get("ca_bundle")
    if known.get("verify_tls", "").strip().lower() in _FALSE:
        return False
    if bundle and not Path(bundle).exists():
        raise AnnotationError(
            f"{_PREFIX}CA_BUNDLE={bundle!r} does not exist; expected a file of PEM certificates"
        )
    return bundle or True
