"""Every operator run from Python, delegated, and as the App does it, on tiny real datasets."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from quick_steps import QUICK

import unseen
from unseen.dataset import locks
from unseen.errors import Cancelled, LabelError

pytestmark = pytest.mark.fiftyone

#: The name under which FiftyOne loads the operators.
OPERATORS = "fiftyone.plugins.orgs.unseen.curation.operators"

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
def run_step(operator):
    """The module that runs steps, as FiftyOne has loaded it."""
    operator("train_unet")
    return sys.modules[f"{OPERATORS}.run_step"]


@pytest.fixture(autouse=True)
def _any_machine_is_fast_enough(run_step, monkeypatch):
    monkeypatch.setattr(run_step, "PATIENCE", 120)


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

    def train(collection, *, progress, **settings):
        if collection.info.get("interrupt"):
            os.kill(os.getpid(), signal.SIGINT)
        try:
            with locks.exclusive(collection, "train_unet") as lock:
                while True:
                    lock.tell(0.1, "training")
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

    assert {*QUICK, *OTHERS} == set(unseen.STEPS)
    dataset = make_wafers(8, labelled=0, test=3)
    results = {}
    for step, settings in QUICK.items():
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
    assert results["split_dataset"]["initial"] == 3
    assert results["score_samples"]["scored"] == 5
    assert results["select_batch"]["batch"] == "batch_01"
    assert results["evaluate_detector"]["images"] == 3
    assert results["simulate"]["iterations"]
    assert "batch_01" not in dataset.list_saved_views()


def test_a_short_run_is_said_once_and_leads_to_what_it_made(wafers, operator, context):
    import fiftyone as fo

    ctx = context(wafers, "select_batch", budget=2, strategy="sequential", advanced=False)
    (notice, _), *others = asked = calls(list(operator("select_batch").execute(ctx)))
    assert notice == "notify"
    assert "2 of 8 pool images selected" in asked[0][1]["message"]
    assert [name for name, _ in others][:2] == ["reload_dataset", "set_view"]
    shown = fo.DatasetView._build(wafers, asked[2][1]["view"])
    assert shown.values("id") == wafers.load_saved_view("batch_01").values("id")
    # No dialog follows.
    assert operator("select_batch").resolve_type(ctx, "outputs") is None


def test_a_step_that_is_asked_for_a_list_shows_it(wafers, operator, context):
    ctx = context(wafers, "list_annotations")
    last = list(operator("list_annotations").execute(ctx))[-1].to_json()
    assert last["cls"] == "ExecutionResult"
    ctx.request_params["results"] = last["body"]
    shown = operator("list_annotations").resolve_type(ctx, "outputs").to_json()
    text = shown["type"]["properties"]["shown"]["default"]
    assert text == "Nothing was sent to annotators yet."
    # 1.22: the App loads this view's editor from the internet and shows "Loading" without it.
    assert "CodeView" not in str(shown)


def test_the_app_gets_an_error_as_a_notice_and_python_as_an_exception(
    wafers, stand_in, operator, context, form_of
):
    from fiftyone.operators.executor import ExecutionError

    def fail(collection, *, progress, **settings):
        raise LabelError("no labels here; label some")

    stand_in("train_unet", fail)
    entered = {"steps": 7, "advanced": True, "seed": 3, "panel_id": "panel-1"}
    messages = list(operator("train_unet").execute(context(wafers, "train_unet", **entered)))
    text = "no labels here; label some"
    assert ("notify", {"message": text, "variant": "error"}) in calls(messages)
    # The form opens with what was entered, until the step was done.
    form = form_of(wafers, "train_unet")
    assert (form["steps"].default, form["advanced"].default, form["seed"].default) == (7, True, 3)
    assert form_of(wafers, "train_unet", advanced=True)["steps"].default != 7
    assert form_of(wafers, "select_batch")["advanced"].default is False
    with pytest.raises(ExecutionError, match=text):
        operator("train_unet")(wafers)


def test_a_long_run_from_the_app_goes_on_in_the_background_until_it_is_stopped(
    wafers, endless, operator, context, form_of, run_step, monkeypatch
):
    monkeypatch.setattr(run_step, "PATIENCE", 0.2)
    request = {"steps": 7, "label_field": "ground_truth"}
    stream = operator("train_unet").execute(context(wafers, "train_unet", **request))
    assert [name for name, _ in calls(list(stream))] == ["open_panel"]
    run = locks.last_run(wafers)
    assert (run.step, run.state, run.request) == ("train_unet", locks.RUNNING, request)
    # No second one can be started; what only reads can.
    for step in ("train_unet", "select_batch"):
        problem = form_of(wafers, step)["problem"]
        assert problem.invalid
        assert "Train the UNet: running since" in problem.error_message
    assert "problem" not in form_of(wafers, "list_annotations")
    refused = list(operator("select_batch").execute(context(wafers, "select_batch")))
    assert "is in use: train_unet" in calls(refused)[0][1]["message"]
    locks.stop(wafers)
    assert endless.wait(10)


def test_a_run_of_a_worker_that_is_stopped_fails_without_ending_the_worker(wafers, stand_in):
    from fiftyone.operators.delegated import DelegatedOperationService

    def train(collection, *, progress):
        raise Cancelled("stopped in the App")

    import fiftyone.operators as foo

    stand_in("train_unet", train)
    queued = foo.get_operator("@unseen/curation/train_unet")(wafers, delegate=True)
    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=wafers.name)
    done = service.get(queued.result["id"])
    assert done.run_state == "failed"
    assert "Train the UNet was stopped in the App" in done.result.error


def test_progress_carries_the_time_left_and_closing_the_stream_stops_the_step(
    wafers, endless, operator, context, run_step, monkeypatch
):
    monkeypatch.setattr(run_step, "PATIENCE", 0)
    ctx = context(wafers, "train_unet")
    del ctx.request_params["operator_uri"]  # as Python asks for it
    stream = operator("train_unet").execute(ctx)
    labels = [calls([message])[0][1]["label"] for message, _ in zip(stream, range(3), strict=False)]
    assert all(label.startswith("training: 10%") for label in labels)
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
