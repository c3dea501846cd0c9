"""A double of CVAT for tests: a real HTTP server on loopback that answers as CVAT 2.15 or 2.54 does.

    with CvatDouble() as cvat:
        dataset.annotate(..., url=cvat.url, username=cvat.username, password=cvat.password)
        person = cvat.annotator(job_id=1)
        person.move(person.shapes(frame=0)[0]["id"], [10, 10, 40, 30])

Answers have the status, keys and messages of recorded exchanges with real servers; what differs
between them is in `cvat_double_versions.py`. Known to differ: an unknown filter is refused (501),
images cannot be downloaded, and permissions are simpler (owner, assignee, member, worker, admin).
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cvat_double_annotator import Annotator
from cvat_double_http import Fault, Request, Server
from cvat_double_jobs import JobRoutes
from cvat_double_state import CvatState
from cvat_double_things import AccessToken, Organization, User
from cvat_double_versions import NEW, OLD, Version

__all__ = ["NEW", "OLD", "Annotator", "CvatDouble", "Request"]


class CvatDouble:
    """A CVAT server for one test, started by `with`.

    `tls` serves https with a certificate of the authority in
    `ca_file` (PEM); `requests` prefers REQUESTS_CA_BUNDLE to `Session.verify`, so pass `verify=`.
    Where `reissue_ids` is set, an edit gives the shape a new id, as some servers do.

    `username`, `password` and `access_token` are the admin's; `requests` holds every request that
    arrived, oldest first; `projects`, `tasks` and `jobs` what the server knows, by id.
    """

    def __init__(self, version: str = OLD, tls: bool = False) -> None:
        self.username, self.password = "fo_user", "a-Secret-of-the-admin"
        self.state = CvatState(Version(version))
        self.projects, self.tasks, self.jobs = (
            self.state.projects,
            self.state.tasks,
            self.state.jobs,
        )
        self.requests: list[Request] = []
        # How uploads go: polls until an upload is ready, whether it stays `Started` for ever, the
        # message of one that ends `Failed`, how many of the next one's last files get lost.
        self.job_delay = 0
        self.never_creates_jobs = False
        self.creation_error: str | None = None
        self.drop_files = 0
        self.ca_file: str | None = None
        self.tls_context: ssl.SSLContext | None = None
        self.reissue_ids = False
        # Its analytics, if they run: job -> seconds that people worked in it.
        self.worked: dict[int, float] | None = None
        # What the server sees itself: the folder of its share, and of each cloud storage.
        self.share: Path | None = None
        self.clouds: dict[int, Path] = {}
        self._faults: list[Fault] = []
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._stack = contextlib.ExitStack()
        self._starter: threading.Thread | None = None
        admin = self.state.add_user(self.username, self.password, is_admin=True)
        self.access_token = self.state.add_token(admin, read_only=False).value
        if tls:
            self._make_certificates()
        self._server: Server | None = Server(("127.0.0.1", 0), self)
        self._port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self.routes = JobRoutes(self)

    def __enter__(self) -> CvatDouble:
        self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._starter is not None:
            self._starter.join()
        self._stop()
        self._stack.close()

    def _serve(self) -> None:
        serve = self._server.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _make_certificates(self) -> None:
        import trustme

        authority = trustme.CA()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        authority.cert_pem.write_to_path(folder / "ca.pem")
        self.ca_file = str(folder / "ca.pem")
        self.tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(self.tls_context)

    # people

    def add_user(
        self,
        name: str,
        password: str = "a-Secret",
        organization: str | None = None,
        *,
        read_only: bool = False,
        is_worker: bool = False,
    ) -> User:
        """Add a user (no admin); a `read_only` one gets 403 for everything but GET.

        `is_worker`: sees no more of the organization than the own jobs.
        """
        with self.state.lock:
            user = self.state.add_user(name, password, read_only=read_only)
            if organization is not None:
                known = self.state.organization_named(organization)
                known = known or self.add_organization(organization)
                known.members.append(name)
                known.workers += [name] * is_worker
            return user

    def add_token(self, user: User, *, read_only: bool = True) -> AccessToken:
        """Make a personal access token, as its owner does on CVAT's profile page."""
        with self.state.lock:
            return self.state.add_token(user, read_only)

    def add_organization(self, slug: str, members: Iterable[str] = ()) -> Organization:
        """Add an organization; only its members may work in it, the admin too must be one."""
        with self.state.lock:
            owner = self.state.user_named(self.username)
            number, now = self.state.next_id("organization"), self.state.clock.now()
            organization = Organization(number, slug, owner, now, list(members))
            self.state.organizations[number] = organization
            return organization

    def expire_sessions(self) -> None:
        """Make all session cookies invalid: the next call with one gets 401."""
        with self.state.lock:
            self.state.sessions.clear()

    def annotator(self, job_id: int) -> Annotator:
        return Annotator(self.state, self.jobs[job_id], self.reissue_ids)

    # what people change in CVAT's own pages

    def delete_task(self, task_id: int) -> None:
        with self.state.lock:
            self.state.delete_task(task_id)

    def move_to_project(self, task_id: int, project_id: int) -> None:
        with self.state.lock:
            self.state.move_to_project(self.tasks[task_id], self.projects[project_id])

    def move_to_workspace(self, task_id: int, slug: str | None) -> None:
        """Into an organization, or (None) out of any."""
        with self.state.lock:
            home = None if slug is None else self.state.organization_named(slug).id
            self.tasks[task_id].organization = home

    def delete_project(self, project_id: int) -> None:
        with self.state.lock:
            self.state.delete_project(project_id)

    def rename_label(self, task_id: int, old: str, new: str) -> None:
        with self.state.lock:
            task = self.tasks[task_id]
            task.label(old).name = new
            self.state.touch(task)

    def add_label(self, task_id: int, name: str) -> None:
        """Add a class without attributes to a task (or to the task's project)."""
        with self.state.lock:
            task = self.tasks[task_id]
            task.labels.append(self.state.make_label({"name": name}))
            self.state.touch(task)

    def delete_label(self, task_id: int, name: str) -> None:
        """Delete a class with all its tags, shapes and tracks."""
        with self.state.lock:
            self.state.delete_label(self.tasks[task_id].label(name).id)

    # what goes wrong

    def fail(self, method: str, path_regex: str, **how: Any) -> None:
        """Let the next matching requests fail, see `Fault`; the oldest fault acts first."""
        with self._guard:
            self._faults.append(Fault(method, path_regex, **how))

    def clear_faults(self) -> None:
        with self._guard:
            self._faults.clear()

    def note(self, request: Request) -> Fault | None:
        """Record a request; returns the fault that hits it."""
        with self._guard:
            self.requests.append(request)
            # A request that one fault takes does not count for the faults behind it.
            hit = next((f for f in self._faults if f.hits(request.method, request.path)), None)
            self._faults = [each for each in self._faults if not each.is_over]
            return hit

    def clear_requests(self) -> None:
        with self._guard:
            self.requests.clear()

    def restart(self, down: float = 0.0) -> None:
        """Refuse connections for `down` seconds; open ones are cut, the state is kept.

        Returns at once; with `down=0` when the server is back.
        """
        self._stop()
        self._starter = threading.Thread(target=self._come_back, args=(down,), daemon=True)
        self._starter.start()
        if not down:
            self._starter.join()

    def _come_back(self, down: float) -> None:
        if self._closed.wait(down):
            return
        for left in reversed(range(100)):
            try:
                self._server = Server(("127.0.0.1", self._port), self)
                break
            except OSError:
                if not left:
                    raise
                time.sleep(0.02)
        self._serve()
