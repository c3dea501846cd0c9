"""Reads request bodies piece by piece: a load test must not fill the memory with images."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
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


def read_form(body: Body, boundary: str, on_file: Callable[[str, bytes], None]) -> Form:
    """Parse multipart/form-data; `on_file(name, content)` sees one file at a time."""
    form, mark = Form(), b"\r\n--" + boundary.encode()
    with tempfile.TemporaryFile() as file:
        file.write(b"\r\n")  # the first boundary has no line end before it
        while piece := body.read():
            file.write(piece)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(mark) + len(mark)
            while (end := data.find(mark, start)) >= 0:
                split = data.find(b"\r\n\r\n", start)
                headers = HeaderParser().parsestr(data[start + 2 : split].decode())
                content = data[split + 4 : end]
                name = str(headers.get_param("name", header="content-disposition"))
                filename = headers.get_filename()
                if filename is None:
                    form.fields[name] = content.decode()
                else:
                    on_file(filename, content)
                    form.files.append((name, filename, len(content)))
                start = end + len(mark)
    return form
