"""Other backends: no run without a server, no question on the terminal, no half load.

The servers are real closed ports, and a backend of the user's, made as FiftyOne asks for it.
"""

from __future__ import annotations

import builtins
import getpass
import importlib.util
import socket

import pytest

from unseen.errors import AnnotationError, DatasetError, ServerError

pytestmark = pytest.mark.fiftyone

CLASSES = ["particle", "scratch"]


@pytest.fixture
def other_backends():
    """The module under test; importing it imports FiftyOne."""
    from unseen.annotation import other_backends

    return other_backends


@pytest.fixture
def tool():
    """What the server of the backend `tool` holds."""
    from tool_backend import Tool

    return Tool


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch):
    """No credentials in the surroundings, and a question fails the test."""
    import fiftyone as fo
    from tool_backend import Tool

    def asked(*args, **kwargs):
        pytest.fail("asked on the terminal")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setattr(getpass, "getpass", asked)
    vendors = "fiftyone.utils"
    backends = {
        "cvat": {"config_cls": f"{vendors}.cvat.CVATBackendConfig"},
        "labelbox": {
            "config_cls": f"{vendors}.labelbox.LabelboxBackendConfig",
            "url": "https://labelbox.com",
        },
        "labelstudio": {
            "config_cls": f"{vendors}.labelstudio.LabelStudioBackendConfig",
            "url": "https://labelstud.io",  # FiftyOne's default
        },
        "tool": {"config_cls": "tool_backend.ToolBackendConfig", "url": "http://tool"},
    }
    monkeypatch.setattr(fo.annotation_config, "backends", backends)
    for name, value in (("sent", []), ("held", {}), ("answer", {}), ("kind", "detections")):
        monkeypatch.setattr(Tool, name, value)
    monkeypatch.setattr(Tool, "failure", None)


@pytest.fixture
def closed_port():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def send(view, backend="tool", *, field="ground_truth", **settings):
    from unseen.annotation import other_backends

    return other_backends.send(view, "batch_01", backend, field, CLASSES, settings)


def runs(dataset):
    dataset.reload()
    return dataset.list_annotation_runs()


def boxes(*labels):
    import fiftyone as fo

    made = [fo.Detection(label=name, bounding_box=[0.1, 0.1, 0.2, 0.2]) for name in labels]
    return {d.id: d for d in made}


def test_a_server_that_cannot_be_reached_leaves_no_run(wafers, closed_port):
    with pytest.raises(ServerError, match=r"connecting with cvat failed .*refused"):
        send(wafers, "cvat", url=closed_port, username="a", password="b")
    assert runs(wafers) == []


def test_label_studio_that_cannot_be_reached_leaves_no_run(wafers, closed_port):
    pytest.importorskip("label_studio_sdk")
    with pytest.raises(ServerError, match=r"connecting with labelstudio failed .*refused"):
        send(wafers, "labelstudio", url=closed_port, api_key="a")
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
def test_missing_credentials_are_named_and_not_asked_for(
    wafers, backend, settings, variables, other_backends
):
    with pytest.raises(AnnotationError, match=variables):
        other_backends.check(backend, settings)
    with pytest.raises(AnnotationError, match=variables):
        send(wafers, backend, **settings)
    assert runs(wafers) == []


@pytest.mark.parametrize(
    ("backend", "module"), [("labelstudio", "label_studio_sdk"), ("labelbox", "labelbox")]
)
def test_a_missing_package_is_named(backend, module, other_backends):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    with pytest.raises(AnnotationError, match="pip install label"):
        other_backends.check(backend, {"url": "http://127.0.0.1:9", "api_key": "a"})


def test_an_unknown_backend_is_answered_with_the_known_ones(other_backends):
    with pytest.raises(
        AnnotationError, match="'paper'; expected cvat, labelbox, labelstudio, tool"
    ):
        other_backends.check("paper", {})


def test_a_wrong_key_is_an_error_of_the_server(wafers):
    with pytest.raises(ServerError, match=r"PermissionError: 401 at http://tool"):
        send(wafers, api_key="wrong")
    assert runs(wafers) == []


def test_a_failed_upload_leaves_no_run_and_can_be_repeated(wafers, tool):
    tool.failure = "upload"
    with pytest.raises(ServerError, match=r"sending with tool failed .*disk full") as caught:
        send(wafers, api_key="right")
    assert len(str(caught.value)) < 700
    assert runs(wafers) == []
    tool.failure = None
    send(wafers, api_key="right")
    assert runs(wafers) == ["batch_01"]


def test_sending_asks_for_our_classes_and_keeps_no_secret(wafers, tool):
    view = wafers.limit(5).sort_by("filepath", reverse=True)
    send(view, api_key="right")
    assert tool.sent == view.values("id")
    config = wafers.get_annotation_info("batch_01").config
    assert config.label_schema["ground_truth"]["classes"] == CLASSES
    assert config.label_schema["ground_truth"]["type"] == "detections"
    assert "right" not in str(config.serialize())


def test_boxes_that_the_view_hides_are_sent_all_the_same(wafers, tool):
    from fiftyone import ViewField

    two = wafers.limit(2)
    hiding = two.filter_labels("ground_truth", ViewField("label") == "none", only_matches=False)
    send(hiding.select_fields("tags"), api_key="right")
    expected = dict(zip(two.values("id"), two.values("ground_truth.detections.id"), strict=True))
    assert tool.held == {"ground_truth": expected}


def test_a_key_is_used_once(wafers, other_backends):
    send(wafers, api_key="right")
    with pytest.raises(AnnotationError, match=r"'batch_01' exists .*Existing: batch_01"):
        send(wafers, api_key="right")
    assert runs(wafers) == ["batch_01"]
    with pytest.raises(AnnotationError, match="no valid key"):
        other_backends.send(wafers, "batch 1", "tool", "ground_truth", CLASSES, {})


def test_an_empty_view_and_a_field_without_boxes_are_refused(wafers):
    import fiftyone as fo

    with pytest.raises(AnnotationError, match="empty"):
        send(wafers.match_tags("no"), api_key="right")
    wafers.add_sample_field("kind", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    with pytest.raises(DatasetError, match="Classification"):
        send(wafers, field="kind", api_key="right")


def test_what_was_drawn_is_merged(wafers, other_backends, tool):
    view = wafers.skip(4).limit(3)
    one, two, three = view.values("id")
    send(view, api_key="right")
    tool.answer = {one: boxes("particle", "scratch"), two: boxes()}
    other_backends.load(wafers, "batch_01", {"api_key": "right"})
    assert [d.label for d in wafers[one].ground_truth.detections] == ["particle", "scratch"]
    assert wafers[two].ground_truth.detections == []  # looked at, and nothing there
    assert wafers[three].ground_truth is None
    before = wafers.values("ground_truth.detections.id")
    other_backends.load(
        wafers, "batch_01", {"api_key": "right", "username": "a", "media_field": "b"}
    )
    assert wafers.values("ground_truth.detections.id") == before


def test_answers_of_another_kind_are_left_out_without_a_question(wafers, other_backends, tool):
    send(wafers.skip(4).limit(1), api_key="right")
    tool.kind = "polylines"
    other_backends.load(wafers, "batch_01", {"api_key": "right"})
    assert runs(wafers) == ["batch_01"]


def test_a_load_that_fails_changes_nothing(wafers, other_backends, tool):
    view = wafers.limit(6)
    send(view, api_key="right")
    before = wafers.values("ground_truth")
    first, *_, last = view.values("id")
    # The boxes of all labelled images are gone, the first new image is fine, the last one is not.
    tool.answer = {first: boxes("particle"), last: {"a": "no label"}}
    with pytest.raises(ServerError, match="Nothing was changed"):
        other_backends.load(wafers, "batch_01", {"api_key": "right"})
    wafers.reload()
    assert wafers.values("ground_truth") == before


def test_a_load_without_a_server_or_credentials_changes_nothing(wafers, other_backends):
    send(wafers.limit(1), api_key="right")
    with pytest.raises(AnnotationError, match="FIFTYONE_TOOL_API_KEY"):
        other_backends.load(wafers, "batch_01")
    with pytest.raises(ServerError, match="401"):
        other_backends.load(wafers, "batch_01", {"api_key": "wrong"})


def test_labels_come_from_the_server_they_were_sent_to(wafers, other_backends):
    send(wafers.limit(1), url="http://another", api_key="right")
    with pytest.raises(ServerError, match="401 at http://another"):
        other_backends.load(wafers, "batch_01", {"api_key": "wrong"})
    with pytest.raises(ServerError, match="401 at http://moved"):
        other_backends.load(wafers, "batch_01", {"api_key": "wrong", "url": "http://moved"})


def test_only_complete_runs_are_loaded(wafers, other_backends):
    from tool_backend import ToolBackendConfig

    with pytest.raises(AnnotationError, match="'batch_07' does not exist; there are: none"):
        other_backends.load(wafers, "batch_07")
    config = ToolBackendConfig("tool", {"ground_truth": {}}, url="http://tool", api_key="right")
    config.build().register_run(wafers, "dangling")
    with pytest.raises(AnnotationError, match="never sent completely"):
        other_backends.load(wafers, "dangling", {"api_key": "right"})


def test_a_backend_that_takes_new_fields_only_is_loaded_into_the_label_field(
    wafers, monkeypatch, other_backends, tool
):
    monkeypatch.setattr(other_backends, "_NEW_FIELDS_ONLY", ("tool",))
    view = wafers.skip(4).limit(1)
    send(view, api_key="right")
    config = wafers.get_annotation_info("batch_01").config
    assert list(config.label_schema) == ["ground_truth__batch_01"]
    tool.answer = {view.first().id: boxes("scratch")}
    other_backends.load(wafers, "batch_01", {"api_key": "right"})
    assert [d.label for d in wafers[view.first().id].ground_truth.detections] == ["scratch"]
    assert "ground_truth__batch_01" not in wafers.get_field_schema()
