"""Every operator run from Python, delegated, and as the App does it, on tiny real datasets."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import unseen
from unseen.errors import Cancelled, LabelError
from unseen.steps.reveal_labels import RevealResult

pytestmark = pytest.mark.fiftyone

#: The steps in an order in which each finds what it needs, as small as they can be.
SMALL = {
    "prepare_dataset": {"initial": 3, "screen": False},
    "screen_images": {},
    "split_dataset": {"initial": 4},
    "mark_structure": {"pitch": (16, 16), "origin": (0, 0), "margin": 1},
    "reveal_labels": {},
    "train_unet": {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)},
    "score_samples": {"heatmap_size": 16},
    "select_batch": {"budget": 2},
    "rank_regions": {"count": 3},
    "train_detector": {"architecture": "small", "steps": 1, "batch_size": 1, "image_size": 64},
    "apply_detector": {},
    "evaluate_detector": {},
    "auto_label": {},
    "compare_iterations": {"pictures": False},
    "simulate": {
        "series": "second",
        "label_field": "simulated",
        "hidden_field": "hidden_truth",
        "strategies": ("sequential",),
        "iterations": 1,
        "budget": 2,
        "initial": 3,
        "detector_steps": 1,
        "architecture": "small",
        "image_size": 64,
    },
    "repair_labels": {},
    "rename_classes": {"rename": ("particle=dust",)},
    "clean_dataset": {},
}
#: Tested elsewhere: those that ask an annotation server, and one that needs a selection.
OTHERS = {
    "request_annotations",
    "list_annotations",
    "load_annotations",
    "undo_annotations",
    "next_iteration",
    "more_like_this",
}


def calls(messages):
    """The App operations that a stream asks for: (name, params)."""
    bodies = [m.body for m in messages if m.body is not None]
    return [(b.operator_uri, b.params) for b in bodies]


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a function in the place of a step."""
    return lambda name, function: monkeypatch.setitem(vars(unseen), name, function)


@pytest.fixture
def seen(stand_in):
    """The collections that `score_samples` was called with; it does nothing else."""
    collections = []

    def score(collection, *, progress):
        collections.append(collection)
        raise LabelError("enough")

    stand_in("score_samples", score)
    return collections


@pytest.fixture
def endless(stand_in):
    """`train_unet` goes on until it is stopped; the event tells that it was."""
    stopped = threading.Event()

    def train(collection, *, progress, interrupt=False):
        if collection.info.get("interrupt"):
            os.kill(os.getpid(), signal.SIGINT)
        try:
            while True:
                progress(1, 10, "training")
                stopped.wait(0.01)
        except Cancelled:
            stopped.set()
            raise

    stand_in("train_unet", train)
    return stopped


@pytest.mark.parametrize("delegate", [False, True], ids=["from Python", "delegated"])
def test_the_loop_runs_operator_by_operator(make_wafers, operator, tmp_path, delegate):
    from fiftyone.operators.delegated import DelegatedOperationService

    assert {*SMALL, *OTHERS} == set(unseen.STEPS)
    dataset = make_wafers(8, labelled=0, test=3)
    results = {}
    for step, settings in SMALL.items():
        settings = {**settings, "model_dir": str(tmp_path / "models")}
        outcome = operator(step)(dataset, delegate=delegate, **settings)
        results[step] = outcome.result
        if delegate:
            service = DelegatedOperationService()
            service.execute_queued_operations(dataset_name=dataset.name)
            done = service.get(outcome.result["id"])
            assert done.run_state == "completed", done.result.error
            assert done.label.endswith(dataset.name)
            results[step] = done.result.result
        assert results[step]["dataset"] == dataset.name
        assert results[step]["summary"]
    dataset.reload()
    assert results["split_dataset"]["initial"] == 4
    assert results["score_samples"]["scored"] == 4
    assert results["select_batch"]["batch"] == "batch_01"
    assert results["evaluate_detector"]["images"] == 3
    assert results["simulate"]["iterations"]
    assert "batch_01" not in dataset.list_saved_views()


def test_the_app_gets_progress_then_the_batch_in_front_then_the_result(wafers, operator, context):
    import fiftyone as fo

    ctx = context(wafers, "select_batch", budget=2, strategy="sequential", advanced=False)
    messages = list(operator("select_batch").execute(ctx))
    asked = calls(messages[:-1])
    assert asked[0][0] == "set_progress"
    names = [name for name, _ in asked[-5:]]
    assert names[:3] == ["set_progress", "reload_dataset", "set_view"]
    assert asked[-5][1]["progress"] == 1
    shown = fo.DatasetView._build(wafers, asked[-3][1]["view"])
    assert shown.values("id") == wafers.load_saved_view("batch_01").values("id")
    last = messages[-1].to_json()
    assert last["cls"] == "ExecutionResult"
    assert last["body"]["batch"] == "batch_01"
    assert "2 of 8 pool images selected" in last["body"]["summary"]


def test_the_output_shows_summary_and_counts_without_asking_the_internet(wafers, operator, context):
    ctx = context(wafers, "select_batch")
    result = {"summary": "2 selected", "pool": 8, "share": 0.12345678, "counts": {"a": 3}, "x": []}
    ctx.request_params["results"] = result
    shown = operator("select_batch").resolve_type(ctx, "outputs").to_json()
    text = shown["type"]["properties"]["shown"]["default"]
    assert text.splitlines()[0] == "2 selected"
    assert text.splitlines()[-3:] == ["| pool | 8 |", "| share | 0.1235 |", "| counts | a: 3 |"]
    # 1.22: the App loads this view's editor from the internet and shows "Loading" without it.
    assert "CodeView" not in str(shown)


def test_the_app_gets_an_error_as_a_message_and_python_as_an_exception(
    wafers, stand_in, operator, context
):
    from fiftyone.operators.executor import ExecutionError

    def fail(collection, *, progress):
        raise LabelError("no labels here; label some")

    stand_in("train_unet", fail)
    messages = list(operator("train_unet").execute(context(wafers, "train_unet")))
    text = "no labels here; label some"
    assert messages[-1].to_json()["error"] == text
    assert ("notify", {"message": text, "variant": "error"}) in calls(messages)
    with pytest.raises(ExecutionError, match=text):
        operator("train_unet")(wafers)


def test_progress_carries_the_time_left(wafers, stand_in, operator, context):
    def train(collection, *, progress):
        for done in range(4):
            progress(done, 4, "training")
            threading.Event().wait(0.2)
        return RevealResult(dataset="d", iteration=0, images=0, boxes=0, class_counts={})

    stand_in("train_unet", train)
    messages = list(operator("train_unet").execute(context(wafers, "train_unet")))
    labels = [params["label"] for name, params in calls(messages) if name == "set_progress"]
    assert any(label.startswith("training: ") and "left" in label for label in labels), labels


def test_closing_the_stream_stops_the_step(wafers, endless, operator, context):
    stream = operator("train_unet").execute(context(wafers, "train_unet"))
    next(stream)
    next(stream)
    stream.close()
    assert endless.wait(10)


def test_ctrl_c_in_python_stops_the_step(wafers, endless, operator):
    wafers.info["interrupt"] = True
    with pytest.raises(KeyboardInterrupt):
        operator("train_unet")(wafers)
    assert endless.is_set()


def test_a_step_works_on_the_dataset_unless_a_view_is_asked_for(wafers, seen, operator, context):
    from fiftyone.operators.constants import ViewTarget

    view = wafers.limit(2)
    for target in (ViewTarget.DATASET, ViewTarget.CURRENT_VIEW):
        ctx = context(wafers, "score_samples", view=view, view_target=target)
        list(operator("score_samples").execute(ctx))
    list(operator("score_samples").execute(context(wafers, "score_samples")))
    assert seen == [wafers, view, wafers]


def test_the_form_offers_the_open_view_unless_it_shows_patches(
    wafers, seen, form_of, operator, context
):
    from fiftyone.operators.constants import ViewTarget
    from fiftyone.operators.executor import ExecutionError

    form = form_of(wafers, "score_samples", view=wafers.limit(2))
    assert form["view_target"].default == ViewTarget.DATASET
    patches = wafers.exists("ground_truth").to_patches("ground_truth")
    assert "view_target" not in form_of(wafers, "score_samples", view=patches)
    list(operator("score_samples").execute(context(wafers, "score_samples", view=patches)))
    assert seen == [wafers]
    with pytest.raises(ExecutionError, match="the view shows patches or frames"):
        operator("screen_images")(patches)


def test_a_dataset_name_and_a_view_are_accepted(wafers, operator):
    by_name = operator("screen_images")(wafers.name).result
    by_view = operator("screen_images")(wafers.limit(5)).result
    assert (by_name["checked"], by_view["checked"]) == (16, 5)


@pytest.mark.parametrize("what", ["labels", "selected"])
def test_more_like_this_wants_what_is_selected(
    wafers, tmp_path, operator, context, monkeypatch, what
):
    monkeypatch.setenv("UNSEEN_ALLOWED_FOLDERS", str(tmp_path))
    sample = wafers.first()
    label = sample["ground_truth"].detections[0].id
    chosen = {"selected": [sample.id], **({"labels": [label]} if what == "labels" else {})}
    ctx = context(wafers, "more_like_this", **chosen, model_dir=str(tmp_path))
    form = operator("more_like_this").resolve_input(context(wafers, "more_like_this"))
    assert form.type.properties["nothing_selected"].invalid
    form = operator("more_like_this").resolve_input(ctx)
    assert "nothing_selected" not in form.type.properties
    list(operator("more_like_this").execute(ctx))
    assert ctx.params["wanted"] == [label if what == "labels" else sample.id]
    wafers.reload()
    assert wafers.list_saved_views() == ["similar_regions"]
