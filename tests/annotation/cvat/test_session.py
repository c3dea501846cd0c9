"""HTTP to CVAT: certificates, tokens, logins and limits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import certifi
import pytest
from cvat_fixtures import running

from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import Credentials, find
from unseen.annotation.cvat.server import Session, form
from unseen.errors import AnnotationError, ServerError

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def client(cvat):
    """Signed in to the double."""
    return sign_in()


@pytest.fixture
def secure(monkeypatch, quick):
    """A double that speaks TLS with a certificate of an authority of its own."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with running(monkeypatch, tls=True) as server:
        yield server


def sign_in():
    return Api(find())


# TLS


def test_a_certificate_of_nobody_known_is_refused_at_once(secure, quick, monkeypatch):
    monkeypatch.setattr(quick, "backoff", 60)  # a second try would wait that long
    monkeypatch.setattr(quick, "longest_pause", 60)
    start = time.monotonic()
    with pytest.raises(ServerError, match=r"certificate is not trusted .*FIFTYONE_CVAT_CA_BUNDLE"):
        sign_in()
    assert time.monotonic() - start < 60
    assert secure.requests == []


def test_ones_own_authority_counts_for_more_than_the_companys(secure, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with pytest.raises(ServerError, match="not trusted"):
        sign_in()
    monkeypatch.setenv("FIFTYONE_CVAT_CA_BUNDLE", secure.ca_file)
    assert sign_in().username == secure.username
    monkeypatch.setenv("FIFTYONE_CVAT_CA_BUNDLE", str(tmp_path / "no.pem"))
    with pytest.raises(AnnotationError, match=r"no.pem' does not exist; expected a file of PEM"):
        sign_in()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_not_to_check_certificates_must_be_asked_for_and_is_warned_of(secure, monkeypatch, caplog):
    for text in ("false", "0", "No", " off "):
        caplog.clear()
        monkeypatch.setenv("FIFTYONE_CVAT_VERIFY_TLS", text)
        assert sign_in().username == secure.username
        assert "are not checked (FIFTYONE_CVAT_VERIFY_TLS=false)" in caplog.text
    monkeypatch.setenv("FIFTYONE_CVAT_VERIFY_TLS", "true")
    with pytest.raises(ServerError, match="not trusted"):
        sign_in()


PRIVATE = ["https://cvat.example.com", "http://cvat", "http://cvat.fab.local", "http://10.1.2.3"]
PRIVATE += ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080", "http://192.168.0.7"]
EXPOSED = ["http://cvat.example.com", "http://8.8.8.8:8080"]


@pytest.mark.parametrize("url", PRIVATE + EXPOSED)
def test_plain_http_over_the_internet_is_warned_of(url, caplog):
    Session(Credentials(url, "me", "word"))
    assert ("is not encrypted" in caplog.text) == (url in EXPOSED)
    assert "word" not in caplog.text


# tokens and logins


@pytest.mark.parametrize("kind", ["Bearer", "Token"])
def test_a_token_signs_in_without_a_password(cvat, monkeypatch, kind):
    monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", "outdated-token")
    with pytest.raises(AnnotationError, match="refused the access token") as error:
        sign_in()
    assert "outdated-token" not in str(error.value)
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"FIFTYONE_CVAT_{name}")
    [admin] = cvat.state.users.values()
    token = cvat.access_token if kind == "Bearer" else admin.key
    monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", token)
    api = sign_in()
    assert api.username == cvat.username
    assert cvat.requests[-1].headers["authorization"] == f"{kind} ***"
    assert not any(r.path == "/api/auth/login" for r in cvat.requests)
    assert api.make_project("p", []) == 1


def test_an_expired_login_is_renewed_once_and_says_where_it_cannot(cvat, client):
    cvat.expire_sessions()
    cvat.clear_requests()
    assert client.task(1) is None
    assert [(r.method, r.path, r.status) for r in cvat.requests] == [
        ("GET", "/api/tasks/1", 401),
        ("POST", "/api/auth/login", 200),
        ("GET", "/api/tasks/1", 404),
    ]
    client._session.headers["X-CSRFToken"] = "stale"
    assert client.make_project("p", []) == 1
    cvat.expire_sessions()
    cvat.state.user_named(cvat.username).password = "changed"
    with pytest.raises(AnnotationError, match="refused the login of user"):
        client.task(1)


# limits


def test_a_pause_is_never_longer_than_the_limit(cvat, client, quick):
    cvat.fail("GET", "/api/tasks/1", status=429, retry_after=3600)
    cvat.fail("GET", "/api/tasks/1", status=503, retry_after="Wed, 21 Oct 2099 07:28:00 GMT")
    start = time.monotonic()
    assert client.task(1) is None
    assert 2 * quick.longest_pause <= time.monotonic() - start < 60


def test_errors_that_do_not_pass_are_told_with_the_servers_reason(cvat, client):
    cvat.fail("GET", "/api/tasks/1", status=429, retry_after=0, times=99)
    with pytest.raises(ServerError, match=r"answered 429 .*patience"):
        client.task(1)
    assert sum(r.path == "/api/tasks/1" for r in cvat.requests) == 5  # LIMITS.retries = 4
    cvat.fail("GET", "/api/tasks/2", status=400, json={"name": ["too", "bad"], "a": {"b": "worse"}})
    with pytest.raises(ServerError, match=r"answered 400 .*: name: too, name: bad, b: worse"):
        client.task(2)
    cvat.fail("GET", "/api/tasks/2", status=418, html=f"<title>{'long ' * 1000}</title>")
    with pytest.raises(ServerError) as error:
        client.task(2)
    assert len(str(error.value)) < 500


def test_a_hanging_server_costs_a_few_time_limits_and_its_login_one(
    cvat, client, quick, monkeypatch
):
    monkeypatch.setattr(quick, "read", 0.1)
    for request, tries, use in [
        ("GET /api/tasks/1", 1 + quick.cuts, lambda: client.task(1)),
        ("POST /api/auth/login", 1, sign_in),
    ]:
        method, path = request.split()
        cvat.fail(method, path, hang=2, times=9)
        before = len(cvat.requests)
        with pytest.raises(ServerError, match=f"did not answer {request} in time"):
            use()
        assert sum(r.path == path for r in cvat.requests[before:]) == tries


def test_lists_are_read_to_their_end_and_searches_narrowed(cvat, client, monkeypatch):
    for name in ("Ann", "anna", "ann", *(f"worker{i:03d}" for i in range(230))):
        cvat.add_user(name)
    assert client.find_user("ann") == cvat.state.user_named("ann").id
    assert client.find_user("an") is None
    monkeypatch.setattr(cvat.routes, "url", "http://behind-the-proxy.invalid")
    assert len(list(client.paged("users"))) == 234  # whatever host the links name
    assert (
        sum(r.path.startswith("/api/users?") and "search" not in r.path for r in cvat.requests) == 3
    )


def test_an_uploads_files_are_open_only_while_they_are_read(tmp_path: Path):
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # Path.iterdir opens more

    contents = [bytes([i % 256]) * 5000 for i in range(300)]
    files = [(f"{i}.png", tmp_path / f"{i}.bin") for i in range(300)]
    for (_, path), content in zip(files, contents, strict=True):
        path.write_bytes(content)
    shares: list[float] = []
    before, most, total = open_files(), 0, b""
    sent = form(files, 95, shares.append)
    while piece := sent["data"].read(8192):
        total += piece
        most = max(most, open_files() - before)
    assert most <= 1
    assert all(contents[i] in total for i in (0, 7, 255, 299))
    assert shares == sorted(shares)
    assert shares[-1] == 1
