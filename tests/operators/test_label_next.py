"""Labelling in the App: what the buttons above an open image ask the App to do."""

from __future__ import annotations

import itertools

import pytest

import unseen

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def handed_out(make_wafers):
    """Three initial images for the Annotate tab, and a test split of two without labels."""
    dataset = make_wafers(6, labelled=0, test=2)
    dataset.match_tags("test").clear_sample_field("ground_truth")
    unseen.split_dataset(dataset, initial=3)
    unseen.request_annotations(dataset, images="initial", backend="app", classes=("particle",))
    return dataset


@pytest.fixture
def press(operator, context):
    """Press a button while an image is open; returns what the App is asked to do, by operation."""

    def press(dataset, name, *, current=None, selected=(), **params):
        ctx = context(dataset, name, selected=selected, **params)
        ctx.request_params["current_sample"] = current
        operator(name).execute(ctx)
        return {r["operator_uri"]: r["params"] for r in ctx.executor.to_json()["requests"]}

    return press


def test_the_first_unlabelled_image_opens_in_the_annotate_tab_within_its_view(handed_out, press):
    first, second, third = handed_out.load_saved_view("initial").values("id")
    asked = press(handed_out, "label_next")
    assert "open_sample" not in asked  # not before the grid has its view
    (again,) = [asked["prompt_user_for_operation"]]
    assert again["operator_uri"] == "@unseen/curation/label_next"
    assert "set_view" in asked
    asked = press(handed_out, "label_next", **again["params"])
    assert asked["open_sample"] == {"id": first, "mode": "annotate"}
    assert "3 of 3 images are left" in asked["notify"]["message"]
    assert press(handed_out, "label_next", current=first)["open_sample"]["id"] == second
    assert press(handed_out, "label_next", current=third)["open_sample"]["id"] == first
    # Each click ends the time of one image and starts that of the next.
    times = handed_out.load_saved_view("initial").values("unseen_ground_truth_working_time")
    assert [time["since"] is not None for time in times] == [True, True, False]


def test_nothing_here_labels_the_open_image_and_goes_on_until_all_are_done(handed_out, press):
    ids = handed_out.load_saved_view("initial").values("id")
    for current, following in itertools.pairwise(ids):
        asked = press(handed_out, "mark_empty", current=current)
        assert asked["open_sample"]["id"] == following
    asked = press(handed_out, "mark_empty", current=ids[-1])
    assert "All 3 images in initial are labelled" in asked["notify"]["message"]
    assert "close_sample" in asked
    assert handed_out.select(ids).values("ground_truth.detections") == [[], [], []]


def test_selected_images_and_the_test_split_are_labelled_the_same_way(handed_out, press):
    test = handed_out.match_tags("test").values("id")
    again = press(handed_out, "label_next", images="test")["prompt_user_for_operation"]
    asked = press(handed_out, "label_next", **again["params"])
    assert asked["open_sample"]["id"] == test[0]
    assert press(handed_out, "label_next", current=test[0])["open_sample"]["id"] == test[1]
    asked = press(handed_out, "mark_empty", selected=test)
    assert "2 images are labelled as empty" in asked["notify"]["message"]


def test_what_cannot_be_done_is_said(handed_out, press, make_wafers):
    assert "no image is open or selected" in press(handed_out, "mark_empty")["notify"]["message"]
    plain = make_wafers(3, labelled=0, test=0)
    assert "nothing to label yet" in press(plain, "label_next")["notify"]["message"]


def test_the_form_proposes_where_the_last_images_went_else_what_is_configured(
    handed_out, form_of, make_wafers, monkeypatch
):
    assert form_of(handed_out, "request_annotations", images="test")["backend"].default == "app"
    plain = make_wafers(3, labelled=0, test=0)
    assert form_of(plain, "request_annotations")["backend"].default == "app"
    monkeypatch.setenv("FIFTYONE_CVAT_URL", "http://localhost:8080")
    backend = form_of(plain, "request_annotations")["backend"]
    assert backend.default == "cvat"
    assert {choice.value for choice in backend.view.choices} >= {"app", "cvat"}
    assert form_of(handed_out, "request_annotations")["backend"].default == "app"  # remembered
