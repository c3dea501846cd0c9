"""A newcomer in the App alone: from plain images to the first closed batch of labels."""

from __future__ import annotations

import re

import fiftyone as fo
import pytest

from unseen.dataset.appearance import COLOURS
from unseen.loop import overview

#: FiftyOne's own thumbnails are 58 px beside the panel, and a click selects instead of opening.
LEAST_WIDTH = 100


@pytest.fixture
def boards(wafer_folder):
    """Images as they come from a camera."""
    made = fo.Dataset("boards", persistent=True)
    made.add_images_dir(str(wafer_folder / "train" / "data"))
    yield made
    made.delete()


def test_images_are_labelled_one_after_the_other_until_the_batch_is_closed(app, boards, picture):
    app.page.set_viewport_size({"width": 1280, "height": 800})
    app.open("boards", workspace=None)
    app.browse("Set up the dataset")
    app.fill(test_count=4, initial=3)
    app.execute()
    app.panel.wait_for()
    app.settle()
    script = "images => Math.min(...images.map(image => image.getBoundingClientRect().width))"
    images = app.page.locator("[data-cy=looker]")
    app.wait(
        lambda: images.count() and images.evaluate_all(script) >= LEAST_WIDTH, "large thumbnails"
    )
    colours = app.page.locator("[data-cy=checkbox-ground_truth]").first.evaluate(
        "e => [...e.querySelectorAll('*'), e].map(x => getComputedStyle(x).color)"
    )
    red, green, blue = (int(COLOURS["label_field"][i : i + 2], 16) for i in (1, 3, 5))
    assert f"rgb({red}, {green}, {blue})" in colours  # without a page load
    picture("set-up")

    app.press(overview.now(boards).next_action.label)
    app.wait_for_form("Request annotations")
    app.field("Classes").fill("void")
    app.page.keyboard.press("Enter")
    app.field("Classes").fill("bridge")
    app.page.keyboard.press("Tab")  # without Enter
    app.form.get_by_role("button", name="bridge").wait_for()
    app.execute()
    app.press(overview.now(boards).next_action.label)
    boards.reload()
    first, second, third = boards.load_saved_view("initial").values("id")
    above("Nothing here", app, opened=first)
    app.wait(lambda: second in app.page.url, "the second image")
    app.page.locator("[data-cy=modal]").get_by_text("Annotate").wait_for()
    picture("second")
    above("Next unlabelled", app, opened=second)
    above("Nothing here", app, opened=third)
    above("Nothing here", app, opened=second)
    app.page.locator("[data-cy=modal]").wait_for(state="detached")
    boards.reload()
    assert boards.load_saved_view("initial").values("ground_truth.detections") == [[], [], []]

    app.press(overview.now(boards).next_action.label)
    # What is done elsewhere shows by itself.
    app.panel.get_by_text("3 of 3 images labelled").wait_for()
    boards.exclude([first, second, third]).match_tags("test", bool=False).limit(5).tag_samples(
        "excluded"
    )
    app.panel.locator("tr", has_text=re.compile("Excluded.*5")).wait_for()
    picture("closed")


def above(name, app, *, opened):
    """Press a button above the image that is open."""
    app.wait(lambda: opened in app.page.url, "the image")
    app.settle()
    icon = {"Nothing here": "screen_images", "Next unlabelled": "request_annotations"}[name]
    app.page.locator(f"[src*='{icon}']").last.click()
