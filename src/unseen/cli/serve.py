"""The loop runs by itself: a small service that goes on when CVAT says that a job is finished.

A message of CVAT only wakes the loop; what is due is found out by `next_iteration`, which asks CVAT
itself. So a lost message costs a poll interval, a repeated one nothing, and the service has no state
but the dataset: it can be killed and started again at any point.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from unseen.annotation.sendings import now
from unseen.errors import Cancelled, ConfigError, LockedError, UnseenError

logger = logging.getLogger(__name__)

#: Environment variable with the secret that CVAT signs its messages with.
SECRET = "UNSEEN_WEBHOOK_SECRET"  # pragma: allowlist secret - a name
#: Larger messages are refused unread, bytes.
LARGEST = 1_000_000
#: Signatures that are remembered, to refuse a message that was sent again.
REMEMBERED = 10_000
#: Seconds until the next try if the dataset is in use; after a failure, the first of these doubles.
RETRY = 15.0

Turn = Callable[[Callable[[int, int, str], None]], Any]


class Runner:
    """Runs turns of the loop in a thread, one at a time: when woken, and every `poll` seconds."""

    def __init__(self, turn: Turn, *, poll: float) -> None:
        """`turn` takes a progress function and returns the result of `next_iteration`."""
        self._turn, self._poll = turn, poll
        self._woken, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="unseen-loop", daemon=True)
        self._state: dict[str, Any] = {"running": False, "turns": 0, "failures": 0}

    def start(self) -> None:
        """Begin with a turn at once: whatever was missed while the service was down."""
        self._woken.set()
        self._thread.start()

    def wake(self) -> None:
        """Run a turn soon; while one runs, another follows it."""
        self._woken.set()

    def stop(self) -> None:
        """End the running turn at its next step of progress, and wait for it."""
        self._stopped.set()
        self._woken.set()
        self._thread.join()

    def state(self) -> dict[str, Any]:
        """What runs, what the last turn did and what failed last, as JSON data."""
        is_alive = self._thread.is_alive()
        failures = self._state["failures"]
        status = "stopped" if not is_alive else "failing" if failures else "ok"
        return {"status": status, **self._state}

    def _run(self) -> None:
        wait = 0.0
        while not self._stopped.is_set():
            self._woken.wait(wait)
            if self._stopped.is_set():
                return
            self._woken.clear()
            wait = self._once()  # a wake-up in the meantime ends the wait at once

    def _once(self) -> float:
        """One turn; returns the seconds until the next if nobody wakes the loop."""
        self._state |= {"running": True, "since": now()}
        try:
            result = self._turn(self._progress)
        except Cancelled:
            return self._poll
        except LockedError as error:  # somebody runs a step: no failure
            logger.info("%s", error)
            return RETRY
        except Exception as error:
            if isinstance(error, UnseenError):
                logger.error("%s", error)
            else:
                logger.exception("the turn failed")
            failures = self._state["failures"] + 1
            text = str(error) or type(error).__name__
            self._state |= {"failures": failures, "error": text, "failed_at": now()}
            return float(min(self._poll, RETRY * 2 ** min(failures - 1, 10)))
        finally:
            self._state |= {"running": False, "progress": None}
        self._state |= {"failures": 0, "error": None, "turns": self._state["turns"] + 1}
        self._state["last"] = {
            "at": now(),
            "done": result.done,
            "waits_for": result.waits_for,
            "batch": result.batch,
            "sent": result.sent,
        }
        for line in result.done:
            logger.info("%s", line)
        return self._poll

    def _progress(self, done: int, total: int, label: str) -> None:
        if self._stopped.is_set():
            raise Cancelled
        self._state["progress"] = f"{label}: {done} of {total}"


def application(runner: Runner, secret: str) -> Starlette:
    """The two addresses of the service: POST /webhook and GET /health.

    A message is taken if its header X-Signature-256 is the HMAC-SHA256 of its body with the secret,
    and it was not seen before.
    """
    seen: OrderedDict[bytes, None] = OrderedDict()

    async def webhook(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                return _answer(413, f"the message has more than {LARGEST} bytes")
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = request.headers.get("x-signature-256", "")
        if not hmac.compare_digest(expected.encode(), given.encode("latin-1")):
            logger.warning("refused a message without the right signature")
            return _answer(401, f"the signature is wrong; expected that of the secret in {SECRET}")
        digest = hashlib.sha256(body).digest()
        if digest in seen:
            return _answer(409, "this message was taken before")
        try:
            event = json.loads(body)["event"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return _answer(400, "the message is no JSON object with an event")
        if event != "ping":  # CVAT's pings are all alike
            seen[digest] = None
            while len(seen) > REMEMBERED:
                seen.popitem(last=False)
            logger.info("CVAT says %s", event)
            runner.wake()
        return _answer(202, "taken")

    async def health(request: Request) -> Response:
        state = runner.state()
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    return Starlette(
        routes=[
            Route("/webhook", webhook, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ]
    )


def serve(
    dataset: str,
    turn: Turn,
    *,
    host: str,
    port: int,
    poll: float,
    say: Callable[[str], None],
) -> None:
    """Answer until SIGTERM or Ctrl-C; the running turn then stops where it can be continued.

    Raises a ConfigError if there is no secret or the port is taken.
    """
    import asyncio

    from hypercorn.asyncio import serve as answer
    from hypercorn.config import Config

    secret = os.environ.get(SECRET, "")
    if len(secret) < 16:
        raise ConfigError(
            f"{SECRET} has {len(secret)} letters; expected at least 16. Set it to the secret of the "
            "webhook in CVAT, for example `openssl rand -hex 32`"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = Config()
    config.bind = [f"{host}:{port}"]
    try:
        sockets = config.create_sockets()
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); pass another --host or --port"
        ) from error
    for socket in sockets.insecure_sockets:
        socket.close()
    runner = Runner(turn, poll=poll)
    say(
        f"{dataset}: webhooks at http://{host}:{port}/webhook, health at http://{host}:{port}/health; "
        f"CVAT is asked every {poll:.0f} s too. Ctrl-C ends it."
    )
    if host not in ("127.0.0.1", "::1", "localhost"):
        say("Other machines reach this port: messages are checked by the secret, health is open.")
    runner.start()
    try:
        asyncio.run(answer(application(runner, secret), config))  # type: ignore[arg-type]  # ASGI
    finally:
        runner.stop()


def _answer(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)
