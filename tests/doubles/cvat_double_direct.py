"""The double without HTTP: requests reach it by a call, a hundred times as fast as by a socket."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import requests
from cvat_double_http import Request, parts, receive
from cvat_double_routes import Call
from requests.adapters import BaseAdapter

if TYPE_CHECKING:
    from cvat_double import CvatDouble


class Body(io.BytesIO):
    """The body of an answer, with the headers that urllib3 looks for."""

    headers: Any = None


class Direct(BaseAdapter):
    """Stands for `HTTPAdapter`.

    Of the faults only answers happen, nothing is tried again, and no cookie is kept: sign in by token.
    """

    def __init__(self, double: CvatDouble, **_: Any) -> None:
        super().__init__()
        self._double = double

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        url = urlsplit(request.url)
        path = f"{url.path}?{url.query}" if url.query else url.path
        fault = self._double.note(Request(request.method, path))
        call = self._read(request, url)
        is_refused = fault is not None and fault.status is not None
        answer = fault.answer() if is_refused else self._double.routes.answer(call)
        response = requests.Response()
        response.status_code, response.url, response.request = answer.status, request.url, request
        text = answer.html if answer.html is not None else json.dumps(answer.json)
        response.raw = Body(text.encode())
        response.headers.update(answer.headers)
        response.raw.headers = response.headers
        return response

    def close(self) -> None:
        """There is nothing to close."""

    def _read(self, request: requests.PreparedRequest, url: Any) -> Call:
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        call = Call(request.method, url.path.rstrip("/"), query, headers)
        body = request.body.read() if hasattr(request.body, "read") else request.body
        kind, _, boundary = headers.get("content-type", "").partition("; boundary=")
        if kind == "multipart/form-data":
            call.form = {}
            for name, filename, content in parts(body, boundary):
                if filename is None:
                    call.form[name] = content.decode()
                else:
                    receive(call, filename, content)
        elif body:
            call.body = json.loads(body)
        return call
