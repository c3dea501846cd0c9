"""What a server's answer, or its silence, says in words; never what was sent to it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

_REMEDIES = {
    401: "check the credentials (an access token may have expired)",
    403: "ask for the permission in CVAT, or check the organization",
    404: "it was deleted, or the address is not that of a CVAT server",
    413: "lower task_size, or raise the server's limit for uploads",
    429: "the server asks for patience; run this again later",
    500: "look at the server's log, then run this again",
}


def remedy_of(status: int) -> str:
    """What to do about an error, or nothing."""
    return _REMEDIES.get(status) or (_REMEDIES[500] if status >= 500 else "")


def redirected(url: str, location: str) -> str:
    """Where a redirect leads, without what else its address may hold."""
    target = urlsplit(urljoin(url, location))
    here, there = (
        f"{p.scheme}://{p.hostname}{f':{p.port}' if p.port else ''}"
        for p in (urlsplit(url), target)
    )
    if here == there:
        return f"{server_of(url)} redirects {path_of(url)}; expected the address of a CVAT server"
    return (
        f"{server_of(url)} redirects to {there}; use that address (scheme and port included) as "
        "FIFTYONE_CVAT_URL"
    )


def reason_of(response: requests.Response) -> str:
    """The server's own words: from JSON of any nesting, or the title of an HTML page."""
    try:
        reason = ", ".join(_leaves(response.json()))
    except ValueError:
        found = re.search(r"<(?:title|h1)[^>]*>(.*?)</", response.text or "", re.S | re.I)
        reason = found[1].strip() if found else (response.reason or "no reason given")
    return shorten(reason)


def shorten(text: str, limit: int = 300) -> str:
    """The text on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit // 2]} ... {line[-limit // 2 :]}"


def _leaves(value: Any, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in _leaves(v, str(k))]
    if isinstance(value, list):
        return [leaf for v in value for leaf in _leaves(v, key)]
    return [f"{key}: {value}" if key not in ("", "detail", "non_field_errors") else str(value)]


def server_of(url: str) -> str:
    """The server that an address is on."""
    parts = urlsplit(url)
    return f"CVAT at {parts.scheme}://{parts.netloc}"


def path_of(url: str) -> str:
    """The path of an address."""
    return urlsplit(url).path


def cause_of(error: BaseException) -> str:
    """The innermost reason of a chain of network errors, without addresses of objects."""
    text = str(error)
    known = {
        "Connection refused": "connection refused",
        "Name or service not known": "unknown host",
        "nodename nor servname": "unknown host",
        "Temporary failure in name resolution": "unknown host",
        "No route to host": "no route to host",
        "certificate verify failed": "certificate verify failed",
        "Connection reset": "connection reset",
        "Broken pipe": "connection cut",
        "Connection aborted": "connection cut",
        "RemoteDisconnected": "connection cut",
    }
    for part, meaning in known.items():
        if part in text:
            found = re.search(rf"{part}: ([^(\"'\\]+)", text)
            return f"{meaning}: {found[1].strip()}" if found else meaning
    return type(error).__name__
