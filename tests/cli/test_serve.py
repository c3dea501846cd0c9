"""The service: only signed messages wake the loop, each once, and nothing that is missed is lost."""

import hashlib
import hmac
import json
import threading
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from unseen.cli import main
from unseen.cli import serve as module
from unseen.cli.serve import LARGEST, SECRET, Runner, application, serve
from unseen.errors import AnnotationError, Cancelled, ConfigError, LockedError

KEY = "a secret of more than sixteen letters"
FINISHED = SimpleNamespace(done=["select_batch: 3 images"], waits_for=None, batch="b", sent=True)


class Turns:
    """Counts turns; each may wait for a signal or fail."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.hold = threading.Event()
        self.hold.set()

    def __call__(self, progress):
        self.begun.release()
        assert self.hold.wait(10)
        progress(1, 2, "score images")
        outcome = self.outcomes.pop(0) if self.outcomes else FINISHED
        self.ended.release()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture
def run():
    """Start a runner of given outcomes; it is stopped at the end."""
    runners = []

    def start(*outcomes, poll=1000.0):
        turns = Turns(*outcomes)
        runners.append(Runner(turns, poll=poll))
        runners[-1].start()
        return runners[-1], turns

    yield start
    for runner in runners:
        runner.stop()


def settled(runner, turns, count=1):
    """After so many turns, the state between two of them."""
    for _ in range(count):
        assert turns.ended.acquire(timeout=10)
    for _ in range(1000):
        if not (state := runner.state())["running"]:
            return state
        threading.Event().wait(0.005)
    raise AssertionError("the turn does not end")


def post(client, body, signature=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    right = "sha256=" + hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
    headers = {b"X-Signature-256": (right if signature is None else signature).encode("latin-1")}
    return client.post("/webhook", content=body, headers=headers)


EVENT = {"event": "update:job", "job": {"id": 3, "state": "completed"}, "webhook_id": 1}


def test_a_signed_message_wakes_the_loop_once(run):
    runner, turns = run()
    state = settled(runner, turns)  # a start looks at once for what was missed
    assert (state["status"], state["turns"]) == ("ok", 1)
    assert state["last"]["done"] == FINISHED.done
    client = TestClient(application(runner, KEY))
    assert client.get("/health").json()["last"]["batch"] == "b"
    assert post(client, EVENT).status_code == 202
    settled(runner, turns)
    assert post(client, EVENT).status_code == 409  # sent again
    assert post(client, {"event": "ping"}).status_code == 202
    assert not runner._woken.is_set()
    assert runner.state()["turns"] == 2


@pytest.mark.parametrize(
    ("body", "signature", "status"),
    [
        (EVENT, "sha256=" + 64 * "0", 401),
        (EVENT, "", 401),
        (EVENT, "\xfc", 401),
        (b"[1]", None, 400),
        (b"{}", None, 400),
        (b"\xff", None, 400),
        (b"[" * 100_000, None, 400),
        (b" " * (LARGEST + 1), None, 413),
    ],
)
def test_other_messages_are_refused_and_wake_nothing(run, body, signature, status):
    runner, turns = run()
    settled(runner, turns)
    client = TestClient(application(runner, KEY))
    assert post(client, body, signature).status_code == status
    assert not runner._woken.is_set()
    assert runner.state()["turns"] == 1
    assert client.get("/webhook").status_code == 405


def test_a_message_during_a_turn_is_followed_by_another_turn(run):
    runner, turns = run()
    settled(runner, turns)
    turns.hold.clear()
    runner.wake()
    assert turns.begun.acquire(timeout=10)
    assert turns.begun.acquire(timeout=10)
    for _ in range(5):
        runner.wake()
    turns.hold.set()
    assert settled(runner, turns, 2)["turns"] == 3


def test_without_messages_the_loop_asks_by_itself(run):
    runner, turns = run(poll=0.01)
    assert settled(runner, turns, 4)["turns"] >= 3


def test_a_turn_that_is_stopped_elsewhere_does_not_begin_again_at_once(run):
    runner, turns = run(Cancelled("stopped in the App"))
    assert settled(runner, turns)["status"] == "ok"
    assert turns.begun.acquire(timeout=10)
    assert not turns.begun.acquire(timeout=0.2)
    runner.wake()
    assert settled(runner, turns)["turns"] == 1


def test_a_failure_is_told_and_tried_again(run, monkeypatch):
    monkeypatch.setattr(module, "RETRY", 0.2)
    runner, turns = run(AnnotationError("CVAT is away"), LockedError("in use"), ValueError("odd"))
    client = TestClient(application(runner, KEY))
    state = settled(runner, turns)
    assert (state["status"], state["error"]) == ("failing", "CVAT is away")
    assert client.get("/health").status_code == 503
    state = settled(runner, turns, 2)
    assert state["failures"] == 2  # a dataset in use is none
    state = settled(runner, turns)
    assert (state["status"], state["error"], state["failures"]) == ("ok", None, 0)


def test_a_stop_ends_the_running_turn_at_its_next_progress():
    turns = Turns()
    turns.hold.clear()
    runner = Runner(turns, poll=1000)
    runner.start()
    assert turns.begun.acquire(timeout=10)
    threading.Timer(0.1, turns.hold.set).start()
    runner.stop()
    assert (runner.state()["status"], runner.state()["turns"]) == ("stopped", 0)


def test_wrong_settings_are_named(monkeypatch):
    settings = dict(host="127.0.0.1", poll=300, say=print)
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(ConfigError, match=rf"{SECRET} has 0 letters; expected at least 16"):
        serve("d", Turns(), port=5252, **settings)
    monkeypatch.setenv(SECRET, KEY)
    with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.77:5252"):
        serve("d", Turns(), port=5252, **{**settings, "host": "192.0.2.77"})


@pytest.mark.fiftyone
def test_the_verb_checks_its_options_first(capsys, monkeypatch):
    monkeypatch.setenv(SECRET, KEY)
    assert main(["serve", "no-such-dataset"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["serve", "no-such-dataset", "--budget", "0"]) == 2
    assert "budget" in capsys.readouterr().err
    for option in (["--port", "0"], ["--poll", "1"]):
        with pytest.raises(SystemExit):
            main(["serve", "x", *option])
