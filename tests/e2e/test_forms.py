"""Forms and runs where something is not as it should be, and runs that a worker does."""

from __future__ import annotations

import subprocess
import sys

import fiftyone as fo
import pytest
from app_browser import AppServer, app_page
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionRunState

import unseen
from unseen.dataset import locks
from unseen.dataset.appearance import save_workspace
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop import overview


@pytest.fixture(scope="module")
def dataset(make_dataset) -> fo.Dataset:
    """Six images are labelled, so that the UNet can be trained."""
    made = make_dataset("forms")
    unseen.split_dataset(made, initial=6)
    unseen.reveal_labels(made)
    save_workspace(made)
    return made


@pytest.fixture
def empty(fiftyone_database):
    made = fo.Dataset("nothing-yet", persistent=True)
    yield made
    made.delete()


@pytest.fixture
def untouched(wafer_folder):
    """Images as they come from a camera: no labels, no tags, no workspace."""
    made = fo.Dataset("untouched", persistent=True)
    made.add_images_dir(str(wafer_folder / "train" / "data"))
    save_workspace(made)
    yield made
    made.delete()


def record(dataset: fo.Dataset) -> dict:
    dataset.reload()
    return (Loop(dataset, Names()).record(0) or {}).get("steps", {})


def is_locked(dataset: fo.Dataset) -> bool:
    run = locks.last_run(dataset)
    return run is not None and run.state == locks.RUNNING


def test_a_wrong_value_is_explained_at_its_field_and_cannot_be_run(app, dataset, picture):
    app.open("forms")
    app.browse("Train the UNet")
    app.fill(steps=0)
    message = app.says("expected a whole number (steps) from 1")
    place, said = app.field("Steps").bounding_box(), message.bounding_box()
    assert 0 <= said["y"] - (place["y"] + place["height"]) < 30, "the message is elsewhere"
    assert app.execute_button.is_disabled()
    picture("refused")
    app.fill(steps=5)
    app.wait(app.execute_button.is_enabled, "Execute to be enabled again")
    app.close_form()
    assert "train_unet" not in record(dataset)


def test_a_run_goes_on_in_the_background_and_is_stopped_in_the_panel(app, dataset, picture):
    before = record(dataset)
    app.open("forms")
    app.browse("Train the UNet")
    app.fill(steps=100_000)
    app.start()
    app.form.wait_for(state="detached")  # no dialog is in the way
    app.panel.get_by_text("Train the UNet: running since").wait_for()
    app.says("left)")  # it trains, and knows how long it takes
    picture("training")
    app.tab("Ranking")  # the page stays usable
    app.panel.get_by_text("Train the UNet: running since").wait_for()
    app.open("forms")  # a page that is left changes nothing
    app.panel.get_by_text("Train the UNet: running since").wait_for()
    app.browse("Score the pool")
    app.form.get_by_text("stop it in the panel").wait_for()
    assert app.execute_button.is_disabled()
    picture("no second run")
    app.close_form()
    app.press("Stop")
    app.panel.get_by_text("Train the UNet was stopped").wait_for()
    assert not is_locked(dataset)
    assert record(dataset) == before
    assert not list(Loop(dataset).folder(None).glob("*unet*"))
    picture("stopped")
    # The form has what was entered.
    app.press("Open the form again")
    app.wait_for_form("Train the UNet")
    assert app.field("Steps").input_value() == "100000"
    app.fill(steps=5)
    app.execute()
    assert record(dataset)["train_unet"]["parameters"]["steps"] == 5
    app.panel.get_by_text("Train the UNet: UNet of iteration 0 trained").first.wait_for()


def test_a_run_elsewhere_shows_and_its_end_is_followed(app, dataset, picture):
    """A terminal's run is seen and stopped; a killed one is said to be interrupted."""
    app.open("forms")
    main = "import sys, unseen.cli; sys.exit(unseen.cli.main())"
    train = [sys.executable, "-c", main, "train-unet", dataset.name, "--steps", "100000"]
    terminal = subprocess.Popen(train, stderr=subprocess.DEVNULL)
    try:
        app.panel.get_by_text(f"(process {terminal.pid} on").wait_for()
        picture("elsewhere")
        app.press("Stop")
        assert terminal.wait(60) == 130
        app.panel.get_by_text("Train the UNet was stopped").wait_for()
    finally:
        terminal.kill()
    terminal = subprocess.Popen(train, stderr=subprocess.DEVNULL)
    app.panel.get_by_text(f"(process {terminal.pid} on").wait_for()
    terminal.kill()
    terminal.wait(20)
    app.panel.get_by_text("was interrupted").wait_for()
    assert app.panel.get_by_role("button", name="Open the form again").count() == 0  # no form
    picture("interrupted")
    app.press("Dismiss")
    app.panel.get_by_text("was interrupted").wait_for(state="detached")


def test_a_run_of_a_server_that_is_killed_is_said_and_started_again(chromium, dataset, output):
    with AppServer(output / "killed.log") as server, app_page(chromium, server) as app:
        app.open("forms")
        app.browse("Train the UNet")
        app.fill(steps=100_000)
        app.start()
        app.panel.get_by_role("button", name="Stop").wait_for()
        server.stop()
    with AppServer(output / "after.log") as server, app_page(chromium, server) as app:
        app.open("forms")
        app.panel.get_by_text("was interrupted").wait_for()
        app.press("Open the form again")
        app.wait_for_form("Train the UNet")
        assert app.field("Steps").input_value() == "100000"
        app.fill(steps=5)
        app.execute()
    assert record(dataset)["train_unet"]["parameters"]["steps"] == 5


def test_a_dataset_that_nobody_touched_yet_says_what_to_do_first(app, untouched, picture):
    app.open("untouched")
    app.says("30 images, none of them labelled or split yet. Set the dataset up")
    for name, state in (
        ("Ranking", overview.ranking(untouched).empty_state),
        ("Progress", overview.progress(untouched).empty_state),
    ):
        first, _, _ = state.partition(".")
        app.tab(name)
        app.says(first)
        picture(name.lower())
    app.tab("Now")
    app.press("Set up the dataset")
    app.wait_for_form("Set up the dataset")
    # What only the run finds out: the form comes back with what was entered, and the reason.
    app.fill(test_count=29, initial=5)
    app.start()
    app.panel.get_by_text("Set up the dataset failed").wait_for()
    app.wait_for_form("Set up the dataset")
    assert app.field("Test count").input_value() == "29"
    picture("refused")
    app.fill(test_count=8, initial=5)
    app.execute()
    untouched.reload()
    assert untouched.count_sample_tags() == {"test": 8, "initial": 5}
    assert untouched.get_field("ground_truth").document_type is fo.Detections
    app.wait(lambda: "none of them" not in app.panel.inner_text(), "the panel to read again")
    picture("ready")


def test_an_empty_dataset_is_refused_with_the_remedy(app, empty, picture):
    app.open("nothing-yet", samples=False)  # 1.22 shows its own page instead of any panel
    app.browse("Set up the dataset")
    app.says("The dataset is empty: add images first.")
    assert app.execute_button.is_disabled()
    picture("refused")
    empty.reload()
    assert empty.list_runs() == []
    assert not is_locked(empty)


def test_a_scheduled_run_is_done_by_the_worker_and_seen_in_the_app(app, dataset, picture):
    runs = DelegatedOperationService()
    app.open("forms")
    app.browse("Train the UNet")
    app.fill(steps=6)
    app.schedule()
    (queued,) = runs.get_queued_operations(dataset_name=dataset.name)
    assert queued.operator == "@unseen/curation/train_unet"
    before = record(dataset).get("train_unet", {"parameters": {"steps": None}})
    assert before["parameters"]["steps"] != 6  # queued, not run
    picture("scheduled")

    # Another process, as `fiftyone delegated launch` is one.
    work = (
        "from fiftyone.operators.delegated import DelegatedOperationService as Service\n"
        "Service().execute_queued_operations(limit=1)"
    )
    subprocess.run([sys.executable, "-c", work], check=True, timeout=120)
    done = runs.get(queued.id)
    assert done.run_state == ExecutionRunState.COMPLETED, done.result.error
    assert done.result.result["summary"]
    assert record(dataset)["train_unet"]["parameters"]["steps"] == 6

    app.press("Refresh")
    app.says("24 images were never scored")
    app.panel.get_by_role("button", name="Score the pool").wait_for()
    picture("done")
