"""The service as a process: killed in the middle of a sending and started again, it sends nothing twice."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from cvat_fixtures import cvat, quick  # noqa: F401  # fixtures
from cvat_traces import frames_of, ranked_names

import unseen

pytestmark = pytest.mark.fiftyone

KEY = "a secret of more than sixteen letters"
#: `unseen serve` with training as short as it can be.
CHILD = """
import sys
from functools import partial

import fiftyone as fo
import unseen
from unseen.cli.serve import serve
from unseen.steps.next_iteration import run as module

short = partial(module.train_unet, steps=2, batch_size=2, crop_size=32, channels=(4, 8))
short.__name__ = "train_unet"
module.train_unet = short
name, folder, port = sys.argv[1:]


def turn(progress):
    dataset = fo.load_dataset(name)
    return unseen.next_iteration(
        dataset, budget=2, detector=False, send=True, model_dir=folder, progress=progress
    )


serve(name, turn, host="127.0.0.1", port=int(port), poll=1000, say=print)
"""


def wait_for(condition, what):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited for {what}")


@pytest.fixture
def service(tmp_path):
    """Start the service of a dataset; what still runs at the end is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []

    def start(dataset):
        command = [sys.executable, "-c", CHILD, dataset.name, str(tmp_path), str(port)]
        environment = os.environ | {"UNSEEN_WEBHOOK_SECRET": KEY, "FIFTYONE_DO_NOT_TRACK": "true"}
        children.append(subprocess.Popen(command, env=environment))
        return children[-1]

    yield start, f"http://127.0.0.1:{port}"
    for child in children:
        child.kill()
        child.wait()


def health(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"turns": 0}


def test_killed_while_it_sends_it_goes_on_and_sends_nothing_twice(
    cvat,  # noqa: F811  # the fixture
    make_wafers,
    service,
):
    start, url = service
    dataset = make_wafers(7, labelled=0, test=0)
    dataset.persistent = True
    unseen.split_dataset(dataset, initial=3, test_share=0)
    unseen.request_annotations(dataset, images="initial", classes=("particle",), task_size=1)
    for number in list(cvat.jobs):
        cvat.annotator(number).draw(0, "particle", [8, 16, 24, 40])
        cvat.annotator(number).set(state="completed")
    cvat.clear_requests()
    cvat.fail("POST", "/tasks/5/data", hang=60)  # the second image of the batch
    child = start(dataset)
    wait_for(lambda: any("tasks/5/data" in r.path for r in cvat.requests), "the second upload")
    child.send_signal(signal.SIGKILL)
    child.wait()
    cvat.clear_faults()
    assert sorted(cvat.tasks) == [1, 2, 3, 4, 5]

    child = start(dataset)
    wait_for(lambda: health(url)["turns"], "the first turn")
    dataset.reload()
    assert frames_of(cvat)[3:] == ranked_names(dataset)  # 5 is removed, its image is in 6
    assert sorted(cvat.tasks) == [1, 2, 3, 4, 6]

    body = b'{"event": "update:job"}'
    signature = "sha256=" + hmac.new(KEY.encode(), body, "sha256").hexdigest()
    message = urllib.request.Request(f"{url}/webhook", body, {"X-Signature-256": signature})
    assert urllib.request.urlopen(message, timeout=5).status == 202
    wait_for(lambda: health(url)["turns"] == 2, "the second turn")
    assert "still with the annotators" in health(url)["last"]["waits_for"]
    assert sorted(cvat.tasks) == [1, 2, 3, 4, 6]
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0
