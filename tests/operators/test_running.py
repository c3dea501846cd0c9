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
    "clean_dataset": {},
}
#: Those that ask an annotation server; they run in tests/cvat/test_operators.py.
ANNOTATION = (
    "request_annotations",
    "list_annotations",
    "load_annotations",
    "undo_annotations",
    "next_iteration",
)
#: Needs something to look for; it runs in tests/operators/test_more_like_this.py.
SELECTION = ("more_like_this",)
SIMULATION = {
    "strategies": ("sequential",),
    "iterations": 1,
    "budget": 2,
    "initial": 3,
    "detector_steps": 1,
    "architecture": "small",
    "image_size": 64,
}


def operator(step):
    import fiftyone.operators as foo

    return foo.get_operator(f"@unseen/curation/{step}")


def context(dataset, step, *, view=None, **params):
    """A request as the App sends it."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    request = {
        "operator_uri": f"@unseen/curation/{step}",
        "dataset_name": dataset.name,
        "view": view._serialize() if view is not None else [],
        "params": params,
    }
    return ExecutionContext(request, executor=Executor(), operator_uri=request["operator_uri"])


def calls(messages):
    """The App operations that a stream asks for: (name, params)."""
    bodies = [m.body for m in messages if m.body is not None]
    return [(b.operator_uri, b.params) for b in bodies]


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a function in the place of a step."""

    def put(name, function):
        monkeypatch.setitem(vars(unseen), name, function)

    return put


@pytest.fixture
def unlabelled(make_wafers):
    return make_wafers(8, labelled=0, test=3)


def deliver(dataset, step, delegate, settings):
    """Run a step from Python, or schedule it and run the queue; the result as a dict."""
    outcome = operator(step)(dataset, delegate=delegate, **settings)
    if not delegate:
        return outcome.result
    from fiftyone.operators.delegated import DelegatedOperationService

    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=dataset.name)
    done = service.get(outcome.result["id"])
    assert done.run_state == "completed", done.result.error
    assert done.label.endswith(dataset.name)
    return done.result.result


@pytest.mark.parametrize("delegate", [False, True], ids=["from Python", "delegated"])
def test_the_loop_runs_operator_by_operator(unlabelled, tmp_path, delegate):
    assert {*SMALL, "simulate", *ANNOTATION, *SELECTION} == set(unseen.STEPS)
    results = {}
    for step, settings in SMALL.items():
        shared = {"model_dir": str(tmp_path / "models")}
        results[step] = deliver(unlabelled, step, delegate, {**settings, **shared})
        assert results[step]["dataset"] == unlabelled.name
        assert results[step]["summary"]
    unlabelled.reload()
    assert results["split_dataset"]["initial"] == 4
    assert results["score_samples"]["scored"] == 4
    assert results["select_batch"]["batch"] == "batch_01"
    assert results["evaluate_detector"]["images"] == 3
    assert unlabelled.list_saved_views() == []


@pytest.mark.parametrize("delegate", [False, True], ids=["from Python", "delegated"])
def test_a_simulation_runs_as_an_operator(unlabelled, tmp_path, delegate):
    settings = {**SIMULATION, "model_dir": str(tmp_path / "models")}
    result = deliver(unlabelled, "simulate", delegate, settings)
    assert [i["images"] for i in result["iterations"]] == [3, 5]


def test_the_app_gets_progress_then_the_batch_in_front_then_the_result(wafers):
    import fiftyone as fo

    messages = list(
        operator("select_batch").execute(
            context(wafers, "select_batch", budget=2, strategy="sequential", advanced=False)
        )
    )
    asked = calls(messages[:-1])
    assert asked[0][0] == "set_progress"
    assert [name for name, _ in asked[-3:]] == ["set_progress", "reload_dataset", "set_view"]
    assert asked[-3][1]["progress"] == 1
    shown = fo.DatasetView._build(wafers, asked[-1][1]["view"])
    assert shown.values("id") == wafers.load_saved_view("batch_01").values("id")
    last = messages[-1].to_json()
    assert last["cls"] == "ExecutionResult"
    assert last["body"]["batch"] == "batch_01"
    assert "2 of 8 pool images selected" in last["body"]["summary"]


def test_the_output_shows_summary_and_counts_without_asking_the_internet(wafers):
    ctx = context(wafers, "select_batch")
    result = {"summary": "2 selected", "pool": 8, "share": 0.12345678, "counts": {"a": 3}, "x": []}
    ctx.request_params["results"] = result
    shown = operator("select_batch").resolve_type(ctx, "outputs").to_json()
    text = shown["type"]["properties"]["shown"]["default"]
    assert text.splitlines()[0] == "2 selected"
    assert text.splitlines()[-3:] == ["| pool | 8 |", "| share | 0.1235 |", "| counts | a: 3 |"]
    # 1.22: the App loads this view's editor from the internet and shows "Loading" without it.
    assert "CodeView" not in str(shown)


def test_the_app_gets_an_error_as_a_message_and_python_as_an_exception(wafers, stand_in):
    from fiftyone.operators.executor import ExecutionError

    def fail(collection, *, progress):
        raise LabelError("no labels here; label some")

    stand_in("train_unet", fail)
    messages = list(operator("train_unet").execute(context(wafers, "train_unet")))
    assert messages[-1].to_json()["error"] == "no labels here; label some"
    assert ("notify", {"message": "no labels here; label some", "variant": "error"}) in calls(
        messages
    )
    with pytest.raises(ExecutionError, match="no labels here; label some"):
        operator("train_unet")(wafers)


def test_progress_carries_the_time_left(wafers, stand_in):
    def train(collection, *, progress):
        for done in range(4):
            progress(done, 4, "training")
            threading.Event().wait(0.2)
        return RevealResult(dataset="d", iteration=0, images=0, boxes=0, class_counts={})

    stand_in("train_unet", train)
    messages = list(operator("train_unet").execute(context(wafers, "train_unet")))
    labels = [params["label"] for name, params in calls(messages) if name == "set_progress"]
    assert any(label.startswith("training: ") and "left" in label for label in labels), labels


def test_closing_the_stream_stops_the_step(wafers, stand_in):
    stopped = threading.Event()
    waiting = threading.Event()

    def endless(collection, *, progress):
        try:
            while True:
                progress(1, 10, "training")
                waiting.wait(0.01)
        except Cancelled:
            stopped.set()
            raise

    stand_in("train_unet", endless)
    stream = operator("train_unet").execute(context(wafers, "train_unet"))
    next(stream)
    next(stream)
    stream.close()
    assert stopped.wait(10)


def test_ctrl_c_in_python_stops_the_step(wafers, stand_in):
    stopped = threading.Event()

    def endless(collection, *, progress):
        os.kill(os.getpid(), signal.SIGINT)
        try:
            while True:
                progress(1, 10, "training")
                stopped.wait(0.01)
        except Cancelled:
            stopped.set()
            raise

    stand_in("train_unet", endless)
    with pytest.raises(KeyboardInterrupt):
        operator("train_unet")(wafers)
    assert stopped.is_set()


def test_a_step_works_on_the_dataset_unless_a_view_is_asked_for(wafers, stand_in):
    import fiftyone as fo
    from fiftyone.operators.constants import ViewTarget

    seen = []

    def score(collection, *, progress):
        seen.append(collection)
        raise LabelError("enough")

    stand_in("score_samples", score)
    view = wafers.limit(2)
    run = operator("score_samples").execute
    list(run(context(wafers, "score_samples", view=view, view_target=ViewTarget.DATASET)))
    list(run(context(wafers, "score_samples", view=view, view_target=ViewTarget.CURRENT_VIEW)))
    list(run(context(wafers, "score_samples")))
    assert isinstance(seen[0], fo.Dataset)
    assert seen[1] == view
    assert isinstance(seen[2], fo.Dataset)


def test_while_the_app_shows_patches_a_step_works_on_the_dataset(wafers, stand_in):
    import fiftyone as fo

    seen = []

    def score(collection, *, progress):
        seen.append(collection)
        raise LabelError("enough")

    stand_in("score_samples", score)
    patches = wafers.exists("ground_truth").to_patches("ground_truth")
    ctx = context(wafers, "score_samples", view=patches)
    form = operator("score_samples").resolve_type(ctx, "inputs").type.properties
    assert "view_target" not in form
    list(operator("score_samples").execute(ctx))
    assert isinstance(seen[0], fo.Dataset)


def test_patches_from_python_are_refused(wafers):
    from fiftyone.operators.executor import ExecutionError

    patches = wafers.exists("ground_truth").to_patches("ground_truth")
    with pytest.raises(ExecutionError, match="the view shows patches or frames"):
        operator("screen_images")(patches)


def test_the_form_offers_the_open_view_but_starts_with_the_dataset(wafers):
    from fiftyone.operators.constants import ViewTarget

    ctx = context(wafers, "train_unet", view=wafers.limit(2))
    form = operator("train_unet").resolve_type(ctx, "inputs").type.properties
    assert form["view_target"].default == ViewTarget.DATASET


def test_a_dataset_name_and_a_view_are_accepted(wafers):
    by_name = operator("screen_images")(wafers.name).result
    by_view = operator("screen_images")(wafers.limit(5)).result
    assert (by_name["checked"], by_view["checked"]) == (16, 5)
