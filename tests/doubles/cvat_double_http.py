"""The socket side of the double: reads requests, lets faults happen, writes answers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import HeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from cvat_double_routes import PAGE, Answer, Call
from cvat_double_things import Frame, Json
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from cvat_double import CvatDouble

REASONS = {
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Server Error (500)",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
SECRET = {"password", "key", "token"}


@dataclass
class Fault:
    """What goes wrong with `times` requests after `skip` that pass.

    `method` may be "*"; `path_regex` is searched in the path with its query. `status` answers so,
    unprocessed, as an HTML page (`html`: that text) or with the given `json`, with `retry_after`.
    `drop` cuts the connection "before" the body is read, "during" (half of it read), or "after"
    the request was processed. `hang` waits so many seconds first.
    """

    method: str
    path_regex: str
    status: int | None = None
    html: str | None = None
    retry_after: float | str | None = None
    times: int = 1
    skip: int = 0
    drop: str | None = None
    hang: float = 0.0
    json: object = None
    seen: int = 0

    def hits(self, method: str, path: str) -> bool:
        """Whether this request fails; counts it."""
        if self.method not in ("*", method) or not re.search(self.path_regex, path):
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times

    @property
    def is_over(self) -> bool:
        return self.seen >= self.skip + self.times

    def answer(self) -> Answer:
        asked = self.retry_after
        headers = [] if asked is None else [("Retry-After", str(asked))]
        if self.json is not None:
            return Answer(self.status, self.json, headers=headers)
        title = REASONS.get(self.status, f"Error {self.status}")
        page = self.html or PAGE.format(title=title, text="")
        return Answer(self.status, html=page, headers=headers)


@dataclass
class Request:
    """A request that reached the double, for assertions. Secrets are left out.

    `status` is the answer's; None while there is none, or if the connection was cut.
    `received` counts the bytes of the body that were read.
    """

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    json: Json = None
    form: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, str, int]] = field(default_factory=list)
    status: int | None = None
    received: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


class Server(ThreadingHTTPServer):
    """One thread per connection; remembers open connections so that a restart can cut them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], double: CvatDouble) -> None:
        self.double = double
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, Handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.double.tls_context is not None:
            # The handshake happens in the connection's own thread, at its first read.
            connection = self.double.tls_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        with self._guard:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop listening and cut every open connection."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._guard:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """Clients may leave at any time; anything else is a defect of the double."""
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        double = self.server.double
        record = Request(self.command, self.path, self._safe_headers())
        fault = double.note(record)
        if fault and fault.drop == "before":
            return self._reset()
        length = int(self.headers.get("Content-Length") or 0)
        is_cut = fault is not None and fault.drop == "during"
        data = self.rfile.read(length // 2 if is_cut else length)
        record.received = len(data)
        if is_cut or len(data) < length:
            return self._reset()
        call = self._read(record, data)
        if fault and fault.hang and self.server.stopping.wait(fault.hang):
            return self._reset()
        is_refused = fault is not None and fault.status is not None
        answer = fault.answer() if is_refused else double.routes.answer(call)
        if fault and fault.drop == "after":
            return self._reset()
        record.status = answer.status
        self._write(answer)
        return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _safe_headers(self) -> dict[str, str]:
        """Header names in lower case; of secrets only the kind."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        for name in ("authorization", "cookie", "x-csrftoken"):
            if name in headers:
                scheme = headers[name].partition(" ")[0] if name == "authorization" else ""
                headers[name] = f"{scheme} ***".strip()
        return headers

    def _read(self, record: Request, data: bytes) -> Call:
        address = urlsplit(self.path)
        call = Call(
            self.command,
            address.path.rstrip("/") or "/",
            dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            secure=self.server.double.tls_context is not None,
        )
        kind = self.headers.get_content_type()
        if kind == "multipart/form-data":
            for name, filename, content in parts(data, str(self.headers.get_param("boundary"))):
                if filename is None:
                    record.form[name] = content.decode()
                else:
                    record.files.append((name, filename, len(content)))
                    receive(call, filename, content)
            call.form = record.form
            return call
        if kind == "application/x-www-form-urlencoded":
            call.body = dict(parse_qsl(data.decode())) or None
        else:
            with contextlib.suppress(ValueError):
                call.body = json.loads(data)
        record.json = call.body
        if isinstance(call.body, dict):
            record.json = {k: "***" if k in SECRET else v for k, v in call.body.items()}
        return call

    def _write(self, answer: Answer) -> None:
        if answer.status == 204:
            body, kind = b"", None
        elif answer.html is not None:
            body, kind = answer.html.encode(), "text/html; charset=utf-8"
        else:
            body, kind = json.dumps(answer.json).encode(), "application/vnd.cvat+json"
        self.send_response(answer.status)
        if kind:
            self.send_header("content-type", kind)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """Cut the connection so that the client sees a reset, not an end."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # `shutdown` would say goodbye politely; closing with linger 0 does not.
        with contextlib.suppress(OSError):
            self.rfile.close()
            self.connection.close()


def parts(data: bytes, boundary: str) -> Iterator[tuple[str, str | None, bytes]]:
    """Field name, file name (None of a plain field) and content of each part of a form."""
    for part in (b"\r\n" + data).split(b"\r\n--" + boundary.encode())[1:-1]:
        head, _, content = part[2:].partition(b"\r\n\r\n")
        headers = HeaderParser().parsestr(head.decode())
        name = str(headers.get_param("name", header="content-disposition"))
        yield name, headers.get_filename(), content


def receive(call: Call, filename: str, content: bytes) -> None:
    base = PurePosixPath(filename).name
    try:
        # The server reads as much: it accepts an image whose end is missing.
        with Image.open(io.BytesIO(content)) as image:
            width, height = ImageOps.exif_transpose(image).size
    except (OSError, ValueError, SyntaxError):
        width = height = 0
        call.unreadable = call.unreadable or base
    call.frames.append(Frame(base, len(content), width, height))
