"""Clicks in the panel of a dataset with two measured iterations: where they lead.

Every expectation is asked of the database, never of the panel.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import fiftyone as fo
import pytest
from app_browser import App
from fiftyone import ViewField as F

import unseen
from unseen.dataset.appearance import save_workspace
from unseen.loop import overview

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
import app_pictures

_EVALUATION = "model_evaluation_panel_builtin"


@pytest.fixture(scope="module")
def dataset(make_dataset, tmp_path_factory) -> fo.Dataset:
    """Two iterations of four images with a simulated annotator; the second batch is not labelled."""
    made = make_dataset("panel")
    place = {"model_dir": str(tmp_path_factory.mktemp("models"))}
    unseen.split_dataset(made, initial=6)
    for number in range(2):
        unseen.reveal_labels(made)
        unseen.train_unet(made, steps=10, **place)
        unseen.score_samples(made, **place)
        unseen.select_batch(made, budget=4)
        unseen.train_detector(made, architecture="small", steps=2, batch_size=1, **place)
        unseen.apply_detector(made, min_confidence=0, **place)
        predict(made, "predictions_00" if number == 0 else "predictions_01", found=number + 1)
        unseen.evaluate_detector(made, min_confidence=0)
    save_workspace(made)
    made.reload()
    return made


def predict(dataset: fo.Dataset, field: str, *, found: int) -> None:
    """Predictions whose hits, misses and false alarms are known: a detector of two steps has none.

    Of each test image the first `found` boxes are found, and one box is where nothing is.
    """
    for sample in dataset.match_tags("test"):
        boxes = [box.copy() for box in sample.hidden_truth.detections[:found]]
        boxes.append(fo.Detection(label="stain", bounding_box=[0.96, 0.96, 0.04, 0.04]))
        for box in boxes:
            box.confidence = 0.9
        sample[field] = fo.Detections(detections=boxes)
        sample.save()


def test_the_next_action_opens_its_form_filled_in(app, dataset, picture):
    best = overview.now(dataset).next_action
    assert best.operator == "request_annotations"  # the second batch waits to be handed out
    app.open("panel")
    app.press(best.label)
    app.wait_for_form("Request annotations")
    assert app.field("Images").input_value() == best.params["images"]
    picture("form")
    app.close_form()
    dataset.reload()
    assert dataset.list_annotation_runs() == []


def test_a_bar_of_the_histogram_shows_its_images(app, dataset, picture):
    ranking = overview.ranking(dataset)
    edges, tallest = ranking.histogram.edges, most_images(ranking)
    low, high = edges[tallest], edges[tallest + 1]
    is_last = tallest == len(edges) - 2
    inside = F(ranking.field) >= low
    counted = overview.counted(dataset)
    expected = counted.match(inside if is_last else inside & (F(ranking.field) < high))
    bar = ranking.histogram.pool[tallest] + ranking.histogram.batch[tallest]
    assert len(expected) == bar < ranking.scored

    app.open("panel")
    app.tab("Ranking")
    click_bar(app, tallest)
    found = set(expected.values("id"))
    app.wait(lambda: set(app.shown_view(dataset).values("id")) == found, "the bar's images")
    app.wait_until_shown(len(expected))
    shown = app.shown_view(dataset)
    values = shown.values(ranking.field)
    assert values == sorted(values, reverse=True)
    picture("bar")


def test_the_batch_is_shown_in_rank_order(app, dataset):
    app.open("panel")
    app.tab("Ranking")
    app.press("Show in the grid")
    batch = dataset.load_saved_view("batch_02")
    app.wait_for_samples(dataset, batch.values("id"))
    assert batch.values("unseen_rank") == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("label", "kind", "field"),
    [
        ("Show what was found", "tp", "predictions_01"),
        ("Show false alarms", "fp", "predictions_01"),
        ("Show what was missed", "fn", "ground_truth"),
    ],
)
def test_a_cell_shows_the_boxes_behind_it(app, dataset, label, kind, field, picture):
    expected = dataset.filter_labels(field, F("iter_01") == kind)
    app.open("panel")
    app.tab("Progress")
    assert len(expected), f"no {kind} in this evaluation: the test would show nothing"
    app.row_action(0, label, kind)
    app.wait_for_samples(dataset, expected.values("id"))
    shown = app.shown_view(dataset)
    assert shown.values(f"{field}.detections.id") == expected.values(f"{field}.detections.id")
    picture(kind)


def test_the_learning_curve_has_both_axes(app, dataset, picture):
    point = overview.progress(dataset).curves[0].points[-1]
    app.open("panel")
    app.tab("Progress")
    for name, values in (("images", point.images), ("boxes", point.boxes)):
        app.tab(f"Labelled {name}")
        title = app.panel.locator(".xtitle", has_text=f"Labelled {name}")
        title.first.wait_for()
        # What the plot holds, not what it looks like.
        app.wait(lambda values=values: values in curve_x(app), f"{values} on the axis")
        picture(name)


def test_the_last_of_several_quick_clicks_counts(app, dataset):
    app.open("panel")
    for first, last in itertools.permutations(("Now", "Ranking", "Progress", "When to stop"), 2):
        for name in (first, last):
            app.panel.get_by_role("tab", name=name, exact=True).click()
        chosen = app.panel.get_by_role("tab", name=last, exact=True, selected=True)
        chosen.wait_for()
        app.settle()
        assert chosen.count() == 1


def test_when_to_stop_says_what_python_says(app, dataset, picture):
    advice = overview.stopping(
        overview.progress(dataset), overview.ranking(dataset), overview.now(dataset)
    )
    app.open("panel")
    app.tab("When to stop")
    app.says(advice.sentence)
    app.says(advice.recommendation.capitalize())
    picture("advice")


@pytest.mark.parametrize("tab", ["Now", "Ranking", "Progress", "When to stop"])
def test_the_pictures_of_the_documentation_are_of_this_panel(app, dataset, tab):
    kept = json.loads(app_pictures.SCREENS.read_text())[tab]
    app.open("panel")
    assert app_pictures.outline(app, tab) == kept, "the section has changed: run `make pictures`"


def test_two_iterations_are_compared_in_model_evaluation(app, dataset, picture):
    app.open("panel")
    app.tab("Progress")
    app.press("Open")
    content = app.page.locator(f"[data-cy=panel-content-{_EVALUATION}]")
    content.get_by_text("vs", exact=True).wait_for()
    counted = [
        dataset.filter_labels(f"predictions_{i}", F(f"iter_{i}") == "fp").count(
            f"predictions_{i}.detections"
        )
        for i in ("01", "00")
    ]
    row = content.locator("tr", has_text="False Positives")
    row.wait_for()
    shown = [int(row.locator("td").nth(i).inner_text().split()[0].replace(",", "")) for i in (1, 2)]
    assert shown == counted  # the newer one first
    picture("compared")


def test_a_row_of_the_batch_opens_its_sample_whatever_the_grid_shows(app, dataset, picture):
    ranking = overview.ranking(dataset)
    second = dataset.load_saved_view("batch_02").skip(1).first()
    app.open("panel")
    app.tab("Ranking")
    click_bar(app, most_images(ranking))
    app.wait(lambda: app.shown() < len(dataset), "the grid to show the bar")
    assert second.id not in app.shown_view(dataset).values("id")
    app.row_action(1, "Open the image")
    app.page.locator("[data-cy=modal]").wait_for()
    app.wait(lambda: second.id in app.page.url, "the sample's id in the address")
    app.page.locator("[data-cy=modal]").get_by_text(Path(second.filepath).name).first.wait_for()
    picture("sample")


def most_images(ranking) -> int:
    """The bin with the most images of the pool."""
    return max(range(len(ranking.histogram.pool)), key=ranking.histogram.pool.__getitem__)


def click_bar(app: App, number: int) -> None:
    """Click the pool's bar of a bin near its top: with a log axis it reaches far below the plot."""
    bar = app.panel.locator(".barlayer .trace").first.locator(".point path").nth(number)
    bar.wait_for(state="attached")
    app.settle()
    app.panel.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
    box = bar.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 20
    app.page.mouse.move(x - 5, y)
    app.page.mouse.move(x, y, steps=5)
    app.panel.locator(".hoverlayer .hovertext").first.wait_for()  # a click counts where it hovers
    app.page.mouse.click(x, y)


def curve_x(app: App) -> list[float]:
    """The horizontal values of the first plot."""
    plot = app.panel.locator(".js-plotly-plot").first
    script = "plot => (plot.data || []).flatMap(trace => Array.from(trace.x || []))"
    return list(plot.evaluate(script))
