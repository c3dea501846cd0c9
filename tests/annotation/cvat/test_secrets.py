"""Nothing secret is stored, logged, shown or sent to the wrong place."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import fiftyone as fo
import pytest
import requests
from cvat_double import CvatDouble
from cvat_traces import database_text

import unseen
from unseen.annotation import sendings
from unseen.annotation.cvat import credentials
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import SECRETS, Credentials, check_url, find, supply
from unseen.annotation.cvat.send import BackendConfig
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError

pytestmark = pytest.mark.fiftyone

PASSWORD = "pass-W0rd/with?odd&signs"


@pytest.fixture(autouse=True)
def _no_token_from_another_test(monkeypatch):
    monkeypatch.setattr(credentials, "_withdrawn", {})


@pytest.fixture
def secrets_of(monkeypatch):
    """The session and CSRF cookies of a run, as it goes on."""
    secrets: set[str] = set()
    send = requests.Session.send

    def look(self, request, **kwargs):
        answer = send(self, request, **kwargs)
        known = {"csrftoken", "sessionid"} & set(self.cookies.keys())
        secrets.update(filter(None, map(self.cookies.get, known)))
        return answer

    monkeypatch.setattr(requests.Session, "send", look)
    return secrets


@pytest.fixture
def locked(cvat, monkeypatch):
    """The double with a password that is easy to find."""
    cvat.state.user_named(cvat.username).password = PASSWORD
    cvat.password = PASSWORD
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", PASSWORD)
    return cvat


def everything_logged(caplog) -> str:
    """Messages, arguments and tracebacks of all loggers."""
    formatter = logging.Formatter()
    parts = [caplog.text]
    for record in caplog.records:
        parts += [formatter.format(record), repr(record.__dict__)]
    return "\n".join(parts)


def test_a_whole_round_trip_stores_and_logs_no_secret_and_no_image(
    locked, batch, caplog, capfd, secrets_of, monkeypatch
):
    caplog.set_level(logging.DEBUG)
    for name in ("my_token", "client_secret"):  # variables that FiftyOne does not know
        monkeypatch.setitem(fo.annotation_config.backends["cvat"], name, "s3cret")
    dataset = batch(3)
    locked.fail("POST", "/data", status=502)
    locked.fail("PUT", "/annotations", status=400)
    with pytest.raises(AnnotationError):
        unseen.request_annotations(dataset)
    locked.expire_sessions()
    unseen.request_annotations(dataset, task_size=2)
    person = locked.annotator(min(locked.jobs))
    person.draw(0, "particle", [1, 1, 9, 9])
    person.set(state="completed")
    unseen.list_annotations(dataset)
    unseen.load_annotations(dataset)
    stored, logged = database_text(), everything_logged(caplog)
    output = "".join(capfd.readouterr())
    assert len(secrets_of) >= 4  # two logins, each with two cookies
    assert locked.url in stored
    assert "POST /api/tasks HTTP/1.1" in logged
    for secret in {PASSWORD, "s3cret", *secrets_of}:
        for where in (stored, logged, output):
            assert secret not in where
    pixels = Path(dataset.first().filepath).read_bytes()[1000:1012]
    for text in (logged, output):
        assert repr(pixels)[2:-1] not in text
        assert "client_files" not in text


@pytest.mark.parametrize("kind", ["access_token", "key"])
def test_a_token_is_stored_and_logged_nowhere(cvat, batch, caplog, monkeypatch, kind):
    caplog.set_level(logging.DEBUG)
    user = cvat.state.user_named(cvat.username)
    token = {"access_token": cvat.access_token, "key": user.key}[kind]
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"FIFTYONE_CVAT_{name}")
    monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", token)
    # FiftyOne reads its variables when it is imported; this is what it finds there.
    monkeypatch.setitem(fo.annotation_config.backends["cvat"], "access_token", token)
    unseen.request_annotations(batch(2))
    assert token not in database_text()
    assert token not in everything_logged(caplog)


FAILURES = {
    "refused login": lambda cvat: setattr(cvat.state.user_named("fo_user"), "password", "other"),
    "error": lambda cvat: cvat.fail("POST", "/api/tasks", status=400),
    "cut": lambda cvat: cvat.fail("POST", "/data", drop="during", times=3),
    "no CVAT": lambda cvat: cvat.fail("GET", "/api/users/self", status=200),
    "cut login": lambda cvat: cvat.fail("POST", "/api/auth/login", drop="after"),
}


def test_no_error_tells_a_secret(locked, batch, secrets_of):
    dataset = batch(2)
    for name, spoil in FAILURES.items():
        locked.state.user_named("fo_user").password = PASSWORD
        spoil(locked)
        with pytest.raises(AnnotationError) as caught:
            unseen.request_annotations(dataset)
        error = caught.value
        text = "".join([*traceback.format_exception(error), repr(error), repr(error.__dict__)])
        for secret in {PASSWORD, *secrets_of}:
            assert secret not in text, name


def test_what_holds_a_secret_does_not_show_it(locked, monkeypatch):
    monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", "")
    known = find()
    api = Api(known)
    config = BackendConfig("cvat", {}, username="me", password=PASSWORD, access_token="t0ken")
    token = Credentials("http://host", access_token="t0ken")
    for thing in (known, api, api._session, config, token):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert PASSWORD not in text
            assert "t0ken" not in text
    stored = repr(config.serialize())
    assert "t0ken" not in stored
    assert PASSWORD not in stored


OWN = """
import fiftyone as fo, sys
from unseen.annotation.cvat.credentials import find
assert find().access_token == "t0ken"
dataset = fo.load_dataset(sys.argv[1])
dataset.annotate(
    "own", label_field="other", label_type="detections", classes=["a"],
    url=sys.argv[2], username=sys.argv[3], password=sys.argv[4],
)
assert find().access_token == "t0ken"
"""


def test_fiftyones_own_annotate_does_not_store_the_token_after_us(cvat, batch):
    dataset = batch(1)
    done = subprocess.run(
        [sys.executable, "-c", OWN, dataset.name, cvat.url, cvat.username, cvat.password],
        env=os.environ | {"FIFTYONE_CVAT_ACCESS_TOKEN": "t0ken", "FIFTYONE_DO_NOT_TRACK": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    dataset.reload()
    assert dataset.list_annotation_runs() == ["own"]
    assert "t0ken" not in database_text() + done.stdout + done.stderr


# where credentials come from


def test_credentials_of_an_operator_count_for_more_than_the_environment(cvat, monkeypatch):
    with supply({"FIFTYONE_CVAT_USERNAME": "other", "FIFTYONE_CVAT_PASSWORD": None}):
        assert find().username == "other"
        assert find().password == cvat.password
    assert find().username == cvat.username


OTHER = "http://other.invalid:8080"


def test_credentials_go_to_the_server_they_are_for_alone(cvat, monkeypatch):
    for url in (
        OTHER,
        cvat.url.replace("http:", "https:"),
        "http://127.0.0.1:9",
        "http://localhost",
    ):
        for confirmed in (False, True):
            with pytest.raises(AnnotationError, match=f"gets no credentials.*{cvat.url}"):
                find(url, confirmed=confirmed)
    assert find(cvat.url + "/").password == cvat.password
    # Somebody supplies what is valid there.
    monkeypatch.setenv("FIFTYONE_CVAT_URL", OTHER)
    assert find(OTHER).username == cvat.username
    with pytest.raises(AnnotationError, match="gets no credentials"):
        find(cvat.url)
    # Credentials without an address follow a person, not a record.
    monkeypatch.delenv("FIFTYONE_CVAT_URL")
    assert find(OTHER, confirmed=True).password == cvat.password
    with pytest.raises(AnnotationError, match="gets no credentials: no server is configured"):
        find(OTHER)


def test_each_source_keeps_its_own_credentials(cvat, monkeypatch):
    config = fo.annotation_config.backends["cvat"]
    for name, value in {"url": OTHER, "username": "them", "access_token": "t0ken"}.items():
        monkeypatch.setitem(config, name, value)
    assert (find().url, find().access_token) == (cvat.url, None)
    with supply({"FIFTYONE_CVAT_URL": OTHER, "FIFTYONE_CVAT_USERNAME": "us"}):
        known = find()
    assert (known.url, known.username, known.password) == (OTHER, "us", None)
    assert known.access_token == "t0ken"


def test_a_record_that_names_another_server_gets_nothing_there(cvat, batch, monkeypatch):
    dataset = batch(2)
    unseen.request_annotations(dataset)
    with CvatDouble() as stranger:
        loop = Loop(dataset, Names())
        (sending,) = sendings.read_sendings(loop)
        sending.url = stranger.url
        sendings.write_sending(loop, sending)
        for call in (unseen.load_annotations, unseen.request_annotations):
            with pytest.raises(AnnotationError, match="gets no credentials"):
                call(dataset)
        listed = unseen.list_annotations(dataset)
        assert "gets no credentials" in str(listed.to_dict())
        assert stranger.requests == []


@pytest.mark.parametrize("source", ["an operator", "FiftyOne's annotation config"])
def test_one_source_of_credentials_is_enough(cvat, batch, monkeypatch, source):
    values = {name: os.environ.get(name) for name in SECRETS}
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    if source != "an operator":
        config = fo.annotation_config.backends["cvat"]
        for name in ("url", "username", "password"):
            monkeypatch.setitem(config, name, values[f"FIFTYONE_CVAT_{name.upper()}"])
        values = {}
    with supply(values):
        assert unseen.request_annotations(batch(1)).sent == 1
    assert cvat.password not in database_text()


def test_the_public_server_is_never_taken_by_default(monkeypatch):
    for name in ("URL", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"FIFTYONE_CVAT_{name}", raising=False)
    monkeypatch.setitem(fo.annotation_config.backends["cvat"], "url", "https://app.cvat.ai")
    with pytest.raises(AnnotationError, match="no CVAT server given"):
        find()
    with pytest.raises(AnnotationError, match=r"no credentials for CVAT at https://app.cvat.ai"):
        find("https://app.cvat.ai/")


@pytest.mark.parametrize(
    "url",
    ["http://me:w0rd@host:8080", "https://w0rd@host", "w0rd:8@host", "http://me:w0rd@ho st"],
)
def test_an_address_with_credentials_is_refused_without_repeating_them(url):
    with pytest.raises(AnnotationError, match="holds credentials") as error:
        check_url(url)
    assert "w0rd" not in str(error.value)


def test_a_netrc_file_is_not_used(cvat, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert Api(find()).username == cvat.username
    assert not any("authorization" in r.headers for r in cvat.requests)
