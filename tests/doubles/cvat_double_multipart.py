"""Reads request bodies piece by piece: a load test must not fill the memory with images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from typing import BinaryIO

PIECE = 1 << 16


class Cut(Exception):
    """The body ends earlier than it should."""


class Body:
    """A request's body: with a length, or chunked. `limit` cuts it short after so many bytes."""

    def __init__(self, stream: BinaryIO, headers: Message, limit: int | None = None) -> None:
        self._stream = stream
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self.length = int(headers.get("Content-Length") or 0)
        self._left = 0 if self._chunked else self.length
        self._ended = False
        self._limit = limit
        self.received = 0

    def read(self, count: int = PIECE) -> bytes:
        """Up to `count` bytes; b"" at the end."""
        if self._chunked and self._left == 0 and not self._ended:
            self._left = int(self._stream.readline().split(b";")[0] or b"0", 16)
            self._ended = self._left == 0
            if self._ended:
                while self._stream.readline().strip():
                    pass
        if self._left == 0:
            return b""
        count = min(count, self._left)
        if self._limit is not None:
            if self._limit <= 0:
                raise Cut("cut on purpose")
            count = min(count, self._limit)
            self._limit -= count
        data = self._stream.read(count)
        if not data:
            raise Cut("the client went away")
        self._left -= len(data)
        self.received += len(data)
        if self._chunked and self._left == 0:
            self._stream.readline()
        return data

    def drain(self) -> None:
        while self.read():
            pass


@dataclass
class Form:
    """Fields, and of each file (field, file name, size in bytes)."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, int]] = field(default_factory=list)


class _Parts:
    """Splits a body at its boundary."""

    def __init__(self, body: Body, boundary: bytes) -> None:
        self._body = body
        # The first boundary has no line end before it; the invented one makes all alike.
        self._buffer = b"\r\n"
        self._mark = b"\r\n--" + boundary

    def _more(self) -> None:
        data = self._body.read()
        if not data:
            raise Cut("the last boundary is missing")
        self._buffer += data

    def until_mark(self) -> Iterator[bytes]:
        """The bytes before the next boundary, which is consumed."""
        while True:
            at = self._buffer.find(self._mark)
            if at >= 0:
                if at:
                    yield self._buffer[:at]
                self._buffer = self._buffer[at + len(self._mark) :]
                return
            safe = len(self._buffer) - len(self._mark)
            if safe > 0:
                yield self._buffer[:safe]
                self._buffer = self._buffer[safe:]
            self._more()

    def headers(self) -> Message | None:
        """The next part's headers; None behind the last part."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer.startswith(b"--"):
            self._body.drain()
            return None
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return HeaderParser().parsestr(head.decode("utf-8").lstrip("\r\n"))


def read_form(
    body: Body, boundary: str, on_file: Callable[[str, str, BinaryIO, int], None]
) -> Form:
    """Parse multipart/form-data; `on_file(field, name, stream, size)` sees one file at a time."""
    form = Form()
    parts = _Parts(body, boundary.encode())
    for _ in parts.until_mark():
        pass
    while (headers := parts.headers()) is not None:
        name = headers.get_param("name", header="content-disposition")
        filename = headers.get_filename()
        if filename is None:
            form.fields[str(name)] = b"".join(parts.until_mark()).decode()
            continue
        with tempfile.SpooledTemporaryFile(max_size=1 << 20) as spool:
            for piece in parts.until_mark():
                spool.write(piece)
            size = spool.tell()
            spool.seek(0, os.SEEK_SET)
            on_file(str(name), filename, spool, size)
        form.files.append((str(name), filename, size))
    return form
