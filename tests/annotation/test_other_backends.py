"""Other backends: no run without a server, no question on the terminal, no half load.

The servers are real closed ports, and a backend of the user's, made as FiftyOne asks for it.
"""

from __future__ import annotations

import builtins
import getpass
import importlib.util
import socket

import fiftyone as fo
import pytest
from tool_backend import Tool, ToolBackendConfig

from unseen.annotation import other_backends, snapshots
from unseen.annotation.cvat.receive import Tally
from unseen.annotation.sendings import Sending
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError
from unseen.steps.load_annotations import LoadConfig
from unseen.steps.other_annotation import close

pytestmark = pytest.mark.fiftyone

CLASSES = ["particle", "scratch"]


@pytest.fixture(autouse=True)
def _nobody_to_ask(monkeypatch):
    """No credentials in the surroundings, and a question fails the test."""

    def asked(*args, **kwargs):
        pytest.fail("asked on the terminal")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setattr(getpass, "getpass", asked)
    vendors = "fiftyone.utils"
    backends = {
        name: {"config_cls": f"{vendors}.{name}.{kind}BackendConfig", "url": f"https://{host}"}
        for name, kind, host in [
            ("labelbox", "Labelbox", "labelbox.com"),
            ("labelstudio", "LabelStudio", "labelstud.io"),  # FiftyOne's default
        ]
    }
    backends["cvat"] = {"config_cls": f"{vendors}.cvat.CVATBackendConfig"}
    backends["tool"] = {"config_cls": "tool_backend.ToolBackendConfig", "url": "http://tool"}
    monkeypatch.setattr(fo.annotation_config, "backends", backends)
    facts = {"sent": [], "held": {}, "answer": {}, "kind": "detections", "failure": None}
    for name, value in facts.items():
        monkeypatch.setattr(Tool, name, value)


@pytest.fixture
def key(monkeypatch):
    """Sets the key of the tool, as the variable FIFTYONE_TOOL_API_KEY does."""

    def set_key(value="right"):
        monkeypatch.setitem(fo.annotation_config.backends["tool"], "api_key", value)

    return set_key


@pytest.fixture
def closed_port():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def send(view, backend="tool", **settings):
    loop = Loop(view._dataset, Names())
    other_backends.send(loop, view.values("id"), "batch_01", backend, CLASSES, settings)


def runs(dataset):
    dataset.reload()
    return dataset.list_annotation_runs()


def boxes(*labels):
    made = [fo.Detection(label=name, bounding_box=[0.1, 0.1, 0.2, 0.2]) for name in labels]
    return {d.id: d for d in made}


@pytest.mark.parametrize(
    ("backend", "account", "package"),
    [
        ("cvat", {"username": "a", "password": "b"}, "requests"),
        ("labelstudio", {"api_key": "a"}, "label_studio_sdk"),
    ],
)
def test_a_server_that_cannot_be_reached_leaves_no_run(
    wafers, closed_port, backend, account, package
):
    pytest.importorskip(package)
    with pytest.raises(ServerError, match=rf"connecting with {backend} failed .*refused"):
        send(wafers, backend, url=closed_port, **account)
    assert runs(wafers) == []


@pytest.mark.parametrize(
    ("backend", "settings", "variables"),
    [
        ("cvat", {"url": "http://x"}, "FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD"),
        ("cvat", {"url": "http://x", "username": "a"}, "set FIFTYONE_CVAT_PASSWORD before"),
        ("labelstudio", {"url": "http://x"}, "set FIFTYONE_LABELSTUDIO_API_KEY before"),
        ("labelstudio", {"api_key": "a"}, "set FIFTYONE_LABELSTUDIO_URL before"),
        ("labelbox", {}, "set FIFTYONE_LABELBOX_API_KEY before"),
        ("tool", {"api_key": ""}, "set FIFTYONE_TOOL_API_KEY before"),
    ],
)
def test_missing_credentials_are_named_and_not_asked_for(wafers, backend, settings, variables):
    with pytest.raises(AnnotationError, match=variables):
        send(wafers, backend, **settings)
    assert runs(wafers) == []


@pytest.mark.parametrize(
    ("backend", "module"), [("labelstudio", "label_studio_sdk"), ("labelbox", "labelbox")]
)
def test_a_missing_package_is_named(wafers, backend, module):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    with pytest.raises(AnnotationError, match="pip install label"):
        send(wafers, backend, url="http://127.0.0.1:9", api_key="a")


def test_a_failed_sending_leaves_no_run_and_can_be_repeated(wafers):
    with pytest.raises(ServerError, match=r"PermissionError: 401 at http://tool"):
        send(wafers, api_key="wrong")
    Tool.failure = "upload"
    with pytest.raises(ServerError, match=r"sending with tool failed .*disk full") as caught:
        send(wafers, api_key="right")
    assert len(str(caught.value)) < 700
    assert runs(wafers) == []
    Tool.failure = None
    send(wafers, api_key="right")
    assert runs(wafers) == ["batch_01"]


def test_sending_asks_for_our_classes_in_our_order_and_keeps_no_secret(wafers):
    view = wafers.limit(5).sort_by("filepath", reverse=True)
    send(view, api_key="right")
    assert Tool.sent == view.values("id")
    labelled = view.exists("ground_truth")
    ids, labels = labelled.values(["id", "ground_truth.detections.id"])
    assert Tool.held == {"ground_truth": dict(zip(ids, labels, strict=True))}
    config = wafers.get_annotation_info("batch_01").config
    assert config.label_schema["ground_truth"]["classes"] == CLASSES
    assert config.label_schema["ground_truth"]["type"] == "detections"
    assert "right" not in str(config.serialize())


def test_what_was_drawn_is_merged(wafers, key):
    view = wafers.skip(4).limit(3)
    one, two, three = view.values("id")
    key()
    send(view)
    Tool.answer = {one: boxes("particle", "scratch"), two: boxes()}
    other_backends.load(wafers, "batch_01")
    assert [d.label for d in wafers[one].ground_truth.detections] == ["particle", "scratch"]
    assert wafers[two].ground_truth.detections == []  # looked at, and nothing there
    assert wafers[three].ground_truth is None
    before = wafers.values("ground_truth.detections.id")
    other_backends.load(wafers, "batch_01")
    assert wafers.values("ground_truth.detections.id") == before
    Tool.kind = "polylines"  # left out without a question
    other_backends.load(wafers, "batch_01")


def test_a_load_that_fails_changes_nothing(wafers, key):
    view = wafers.limit(6)
    key()
    send(view)
    before = wafers.values("ground_truth")
    first, *_, last = ids = view.values("id")
    facts = {"label_field": "ground_truth", "started_at": "", "parameters": {}, "token": "t"}
    sending = Sending(
        "batch_01", images="batch", iteration=1, backend="tool", classes=CLASSES, **facts
    )
    sending.sample_ids = ids
    # The boxes of all labelled images are gone, the first new image is fine, the last one is not.
    Tool.answer = {first: boxes("particle"), last: {"a": "no label"}}
    loop = Loop(wafers, Names())
    with pytest.raises(ServerError, match="Nothing was changed"):
        close(loop, LoadConfig(), sending, Tally())
    wafers.reload()
    assert wafers.values("ground_truth") == before
    assert snapshots.list_snapshots(loop) == []


def test_labels_come_from_the_server_they_were_sent_to(wafers, key, monkeypatch):
    send(wafers.limit(1), url="http://another", api_key="right")
    key("right")
    with pytest.raises(AnnotationError, match="at http://another, which gets no credentials"):
        other_backends.load(wafers, "batch_01")
    monkeypatch.setitem(fo.annotation_config.backends["tool"], "url", "http://another")
    monkeypatch.delitem(fo.annotation_config.backends["tool"], "api_key")
    with pytest.raises(AnnotationError, match="FIFTYONE_TOOL_API_KEY"):
        other_backends.load(wafers, "batch_01")
    key("wrong")
    with pytest.raises(ServerError, match="401 at http://another"):
        other_backends.load(wafers, "batch_01")


def test_only_complete_runs_are_loaded(wafers, key):
    config = ToolBackendConfig("tool", {"ground_truth": {}}, url="http://tool", api_key="right")
    config.build().register_run(wafers, "dangling")
    key()
    with pytest.raises(AnnotationError, match="never sent completely"):
        other_backends.load(wafers, "dangling")


def test_a_backend_that_takes_new_fields_only_is_loaded_into_the_label_field(
    wafers, monkeypatch, key
):
    monkeypatch.setattr(other_backends, "_NEW_FIELDS_ONLY", ("tool",))
    view = wafers.skip(4).limit(1)
    key()
    send(view)
    config = wafers.get_annotation_info("batch_01").config
    assert list(config.label_schema) == ["ground_truth__batch_01"]
    Tool.answer = {view.first().id: boxes("scratch")}
    other_backends.load(wafers, "batch_01")
    assert [d.label for d in wafers[view.first().id].ground_truth.detections] == ["scratch"]
    assert "ground_truth__batch_01" not in wafers.get_field_schema()
