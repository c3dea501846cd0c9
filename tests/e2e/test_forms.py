"""Forms and runs where something is not as it should be, and runs that a worker does."""

from __future__ import annotations

import subprocess
import sys

import fiftyone as fo
import fiftyone.core.odm as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionRunState

import unseen
from unseen.dataset.appearance import save_workspace
from unseen.dataset.fields import Names
from unseen.dataset.locks import COLLECTION
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
    return foo.get_db_conn()[COLLECTION].find_one({"_id": str(dataset._doc.id)}) is not None


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


def test_a_page_that_is_left_stops_its_step_and_leaves_nothing_half_done(app, dataset, picture):
    before = record(dataset)
    app.open("forms")
    app.browse("Train the UNet")
    app.fill(steps=100_000)
    app.start()
    app.wait(lambda: is_locked(dataset), "the training to begin")
    app.says("left")  # it trains, and knows how long it takes
    picture("training")
    app.open("forms")  # the dialog is gone with the page
    app.wait(lambda: not is_locked(dataset), "the training to stop", seconds=60)
    assert record(dataset) == before
    assert not list(Loop(dataset).folder(None).glob("*unet*"))

    app.browse("Train the UNet")
    app.fill(steps=5)
    app.execute()
    assert record(dataset)["train_unet"]["parameters"]["steps"] == 5
    assert not is_locked(dataset)


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
