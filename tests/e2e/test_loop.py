"""One turn of the loop through the panel's main button, from a plain dataset to an evaluation.

What counts is what is in the database afterwards, not what the page shows.
"""

from __future__ import annotations

import fiftyone as fo
import pytest

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop import overview
from unseen.steps.catalogue import catalogue

#: So small that every step takes seconds; what the models learn is tested elsewhere.
INITIAL, BUDGET, TEST, POOL = 6, 4, 10, 24
#: What is entered beside the defaults.
ENTRIES = {
    "train_unet": {"steps": 10},
    "select_batch": {"budget": BUDGET},
    "train_detector": {"steps": 2, "batch_size": 1},
    "apply_detector": {"min_confidence": 0},
    "evaluate_detector": {"min_confidence": 0},
}
#: docs/guide.md says these numbers.
CLICKS_TO_FIRST_BATCH, CLICKS_PER_ITERATION, CLICKS_PER_DETECTOR, FORMS = 10, 9, 6, 5


@pytest.fixture
def dataset(make_dataset):
    return make_dataset("loop")


@pytest.mark.timeout(1200)  # two turns of the loop
def test_a_person_gets_from_a_plain_dataset_to_an_evaluation_with_one_button(app, dataset, picture):
    app.open("loop", workspace=None)
    app.browse("Set up the dataset")
    app.fill(initial=INITIAL)
    picture("set-up")
    app.execute()
    app.panel.wait_for()  # the set-up opens the workspace
    dataset.reload()
    assert dataset.count_sample_tags() == {"test": TEST, "initial": INITIAL}
    assert dataset.has_workspace("Curation")

    done = [go_on(app, dataset)]
    label(dataset, "initial")
    done += [go_on(app, dataset) for _ in range(4)]
    assert done == [
        "request_annotations",
        "load_annotations",
        "train_unet",
        "score_samples",
        "select_batch",
    ]
    trained = steps_of(dataset, 0)["train_unet"]
    assert trained["parameters"]["steps"] == 10
    scored = dataset.exists("unseen_excess")
    assert len(scored) == POOL
    assert len(scored.distinct("unseen_model")) == 1
    assert not set(scored.distinct("tags")) & {"test", "initial"}
    batch = dataset.load_saved_view("batch_01")
    assert batch.values("unseen_rank") == [1, 2, 3, 4]
    assert set(batch.values("id")) == set(dataset.match_tags("batch_01").values("id"))
    app.wait_for_samples(dataset, batch.values("id"))
    picture("batch")
    first = app.counted()
    assert first["clicks"] == CLICKS_TO_FIRST_BATCH
    # The list of operators, and a form per step that has something to choose.
    assert first["dialogs"] == 1 + FORMS

    go_on(app, dataset)
    label(dataset, "batch_01")
    done = [go_on(app, dataset) for _ in range(4)]
    assert done == ["load_annotations", "train_unet", "score_samples", "select_batch"]
    second = app.counted()
    assert second["clicks"] - first["clicks"] == CLICKS_PER_ITERATION
    assert second["dialogs"] - first["dialogs"] == FORMS - 1
    use(app, "Train the detector", "train_detector")
    use(app, "Apply the detector: test split", "apply_detector")
    use(app, "Evaluate the detector", "evaluate_detector")
    third = app.counted()
    assert third["clicks"] - second["clicks"] == CLICKS_PER_DETECTOR
    assert third["dialogs"] - second["dialogs"] == 3
    picture("measured")
    dataset.reload()
    assert dataset.list_evaluations() == ["iter_01"]
    evaluated = dataset.get_evaluation_info("iter_01").config
    assert (evaluated.pred_field, evaluated.gt_field) == ("predictions_01", "ground_truth")
    assert set(dataset.exists("predictions_01").values("id")) == set(
        dataset.match_tags("test").values("id")
    )
    results = dataset.load_evaluation_results("iter_01")
    truth = dataset.match_tags("test").count("ground_truth.detections")
    assert (
        sum(row["support"] for name, row in results.report().items() if name in results.classes)
        == truth
    )
    assert overview.now(dataset).iteration == 1

    app.tab("Progress")
    app.says("Macro F1")
    picture("progress")


def go_on(app, dataset: fo.Dataset) -> str:
    """Press the main button, and Execute in the form that it opens; returns the operator."""
    dataset.reload()
    best = overview.now(dataset).next_action
    if best.has_form:
        use(app, best.label, best.operator)
    else:  # closing a batch asks for nothing
        app.press(best.label)
        app.wait(
            lambda: (run := app.ended_run()) and (run.step, run.state) == (best.operator, "done"),
            best.operator,
        )
    return best.operator


def use(app, button: str, operator: str) -> None:
    """Press a button of the panel, and Execute in its form."""
    app.press(button)
    app.wait_for_form(catalogue()[operator].label)
    app.fill(**ENTRIES.get(operator, {}))
    app.execute()


def label(dataset: fo.Dataset, tag: str) -> None:
    """What a person would draw."""
    dataset.reload()
    view = dataset.match_tags(tag)
    drawn = [[box.copy() for box in boxes] for boxes in view.values("hidden_truth.detections")]
    view.set_values("ground_truth", [fo.Detections(detections=boxes) for boxes in drawn])


def steps_of(dataset: fo.Dataset, iteration: int) -> dict:
    """What the record of an iteration says of its steps."""
    dataset.reload()
    return Loop(dataset, Names()).record(iteration)["steps"]
