"""Who may call what: authentication, the table of routes, and all routes but those of tasks."""

from __future__ import annotations

import base64
import math
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cvat_double_json import Presenter
from cvat_double_things import (
    AccessToken,
    Frame,
    Json,
    Organization,
    Project,
    Refused,
    Rejected,
    Task,
    User,
)

if TYPE_CHECKING:
    from cvat_double import CvatDouble

PAGE = '\n<!doctype html>\n<html lang="en">\n<head>\n  <title>{title}</title>\n</head>\n<body>\n  <h1>{title}</h1><p>{text}</p>\n</body>\n</html>\n'
NOT_FOUND_PAGE = PAGE.format(
    title="Not Found", text="The requested resource was not found on this server."
)
ERROR_PAGE = PAGE.format(title="Server Error (500)", text="")
ANYBODY = {"/api/server/about", "/api/auth/login"}


@dataclass
class Call:
    """One request, read and parsed."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Json = None
    form: dict[str, str] | None = None
    frames: list[Frame] = field(default_factory=list)
    unreadable: str | None = None
    secure: bool = False
    user: User | None = None
    token: AccessToken | None = None
    organization: Organization | None = None


@dataclass
class Answer:
    status: int = 200
    json: Json = None
    html: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)


def forbidden() -> Refused:
    return Refused(403, {"detail": "You do not have permission to perform this action."})


def server_error() -> Refused:
    return Refused(500, html=ERROR_PAGE)


Handler = Callable[..., Answer]


class Routes:
    """Answers calls from the state. Subclasses add routes with `add`."""

    def __init__(self, double: CvatDouble) -> None:
        self.double = double
        self.state, self.url = double.state, double.url
        self.show = Presenter(self.state, self.url)
        self.has = self.state.version.has
        self._table: list[tuple[re.Pattern, dict[str, Handler]]] = []

    def add(self, path: str, **handlers: Handler) -> None:
        pattern = re.compile(path.replace("/N", r"/(\d+)") + "/?")
        self._table.append((pattern, handlers))

    def answer(self, call: Call) -> Answer:
        """The answer of the server; the state may change."""
        if not call.path.startswith("/api"):
            return Answer(html=PAGE.format(title="CVAT", text=""))
        matches = ((pattern.fullmatch(call.path), each) for pattern, each in self._table)
        match, handlers = next((pair for pair in matches if pair[0]), (None, {}))
        if match is None:
            return Answer(404, html=NOT_FOUND_PAGE)
        allow = ("allow", ", ".join([*handlers, "HEAD", "OPTIONS"]))
        try:
            with self.state.lock:
                self.authenticate(call)
                if call.method not in handlers:
                    detail = f'Method "{call.method}" not allowed.'
                    raise Refused(405, {"detail": detail})
                if call.method in ("PUT", "PATCH") and not isinstance(call.body, dict):
                    raise Rejected({"non_field_errors": ["Invalid data. Expected a dictionary."]})
                made = handlers[call.method](call, *map(int, match.groups()))
        except Refused as refused:
            made = Answer(refused.status, refused.json, refused.html)
        except Exception:
            # A defect of the double, not of the client: say so where pytest shows it.
            traceback.print_exc()
            made = Answer(500, html=ERROR_PAGE)
        if made.html is None:
            made.headers.append(allow)
        return made

    def not_found(self, kind: str) -> Refused:
        """The refusal of something that is not there, such as a "Task"."""
        named = f"No {kind} matches the given query."
        return Refused(
            404, {"detail": named if self.has("what is gone is named") else "Not found."}
        )

    # who calls

    def authenticate(self, call: Call) -> None:
        call.user = self._by_header(call) or self._by_cookie(call)
        if call.path.rstrip("/") in ANYBODY:
            return
        if call.user is None:
            raise Refused(401, {"detail": "Authentication credentials were not provided."})
        slug = call.headers.get("x-organization") or call.query.get("org")
        if slug:
            call.organization = self.state.organization_named(slug)
            if call.organization is None:
                raise Refused(404, {"detail": f"{slug} organization does not exist."})
            if call.user.username not in call.organization.members:
                if self.has("what is gone is named"):
                    raise forbidden()
                message = "You should be an active member in the organization."
                raise Refused(403, {"message": message})
        is_read_only = call.user.read_only or (call.token is not None and call.token.read_only)
        if is_read_only and call.method != "GET":
            raise forbidden()

    def _by_header(self, call: Call) -> User | None:
        scheme, _, secret = call.headers.get("authorization", "").partition(" ")
        users = self.state.users.values()
        if not scheme:
            return None
        if scheme == "Basic":
            try:
                name, _, password = base64.b64decode(secret).decode().partition(":")
            except ValueError:
                name = password = ""
            user = self.state.user_named(name)
            if user is None or user.password != password:
                raise Refused(401, {"detail": "Invalid username/password."})
            return user
        if scheme == "Bearer":
            call.token = self.state.tokens.get(secret)
            user = call.token and call.token.owner
        else:
            user = next((u for u in users if scheme == "Token" and u.key == secret), None)
        if user is None:
            raise Refused(401, {"detail": "Invalid token."})
        return user

    def _by_cookie(self, call: Call) -> User | None:
        pairs = (each.strip().partition("=") for each in call.headers.get("cookie", "").split(";"))
        cookies = {name: value for name, _, value in pairs}
        session = self.state.sessions.get(cookies.get("sessionid", ""))
        if session is None or call.path.rstrip("/") in ANYBODY:
            return None
        user, token = session
        if call.method != "GET":
            if call.secure and not call.headers.get("referer", "").startswith(self.url):
                reason = "Referer checking failed - no Referer."
                raise Refused(403, {"detail": f"CSRF Failed: {reason}"})
            sent = call.headers.get("x-csrftoken")
            if sent != token or cookies.get("csrftoken") != token:
                problem = "incorrect" if sent else "missing"
                raise Refused(403, {"detail": f"CSRF Failed: CSRF token {problem}."})
        return user

    def may_see(self, call: Call, thing: Task | Project) -> bool:
        user = call.user
        if user.is_admin or user in (thing.owner, thing.assignee):
            return True
        organization = self.state.organizations.get(thing.organization or 0)
        if organization is not None and user.username in organization.members:
            return user.username not in organization.workers
        if isinstance(thing, Task):
            inside = thing.project is not None and self.may_see(call, thing.project)
            return inside or any(job.assignee is user for job in thing.jobs)
        return False

    def listed(self, call: Call, things: Iterable) -> list:
        """What the caller may see: with an organization's header only what belongs to it."""
        seen = [each for each in things if self.may_see(call, each)]
        if call.organization is not None:
            seen = [each for each in seen if each.organization == call.organization.id]
        return seen

    # lists

    def page(self, call: Call, items: list[Json]) -> Answer:
        """Ten at a time, with the addresses of the neighbours, query sorted as CVAT does."""
        wanted = call.query.get("page_size", "10")
        size = max(1, len(items)) if wanted == "all" else int(wanted)
        number = int(call.query.get("page", "1"))
        if number > max(1, math.ceil(len(items) / size)) or number < 1:
            raise Refused(404, {"detail": "Invalid page."})

        def link(to: int) -> str:
            query = {key: value for key, value in call.query.items() if key != "page"}
            query |= {"page": str(to)} if to > 1 else {}
            return f"{self.url}{call.path}?{urlencode(sorted(query.items()))}".rstrip("?")

        return Answer(
            json={
                "count": len(items),
                "next": link(number + 1) if number * size < len(items) else None,
                "previous": link(number - 1) if number > 1 else None,
                "results": items[(number - 1) * size : number * size],
            }
        )

    def filtered(self, call: Call, items: list[Json], exact: Iterable[str]) -> list[Json]:
        """Apply `search` and exact filters; an unknown filter is refused, never ignored."""
        known = {*exact, "search", "page", "page_size", "org"}
        if unknown := set(call.query) - known:
            raise Refused(501, {"detail": f"The double knows no filter {sorted(unknown)}."})
        for key in set(exact) & set(call.query):
            items = [each for each in items if str(_plain(each.get(key))) == call.query[key]]
        if search := call.query.get("search", "").lower():
            words = ("name", "username", "slug", "first_name", "last_name")
            items = [
                each
                for each in items
                if any(search in str(each.get(word, "")).lower() for word in words)
            ]
        return items

    def user_by_id(self, number: int | None) -> User | None:
        """The user to assign; an unknown one is a server error, as recorded."""
        if number is None:
            return None
        if number not in self.state.users:
            raise server_error()
        return self.state.users[number]


def _plain(value: Json) -> Json:
    """What a filter compares: of a user the name, of everything else itself."""
    return value["username"] if isinstance(value, dict) and "username" in value else value
