"""One turn of the loop through the App's forms alone, from a plain dataset to an evaluation.

What counts is what is in the database afterwards, not what the page shows.
"""

from __future__ import annotations

import fiftyone as fo
import pytest

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop import overview

#: So small that every step takes seconds; what the models learn is tested elsewhere.
INITIAL, BUDGET, TEST, POOL = 6, 4, 10, 24


@pytest.fixture
def dataset(make_dataset):
    return make_dataset("loop")


def test_a_person_gets_from_a_plain_dataset_to_an_evaluation_through_forms(app, dataset, picture):
    app.open("loop", workspace=None)
    app.browse("Set up the dataset")
    app.fill(initial=INITIAL)
    picture("set-up")
    app.execute()
    app.panel.wait_for()  # the set-up opens the workspace
    dataset.reload()
    assert dataset.count_sample_tags() == {"test": TEST, "initial": INITIAL}
    assert dataset.has_workspace("Curation")

    app.browse("Reveal labels")
    app.execute()
    labelled = dataset.match_tags("initial").exists("ground_truth")
    assert len(labelled) == INITIAL
    assert labelled.values("ground_truth.detections.label") == labelled.values(
        "hidden_truth.detections.label"
    )

    app.press("Refresh")
    app.press("Train the UNet")
    app.wait_for_form("Train the UNet")
    app.fill(steps=10)
    app.execute()
    trained = steps_of(dataset, 0)["train_unet"]
    assert trained["parameters"]["steps"] == 10
    picture("trained")

    app.browse("Score the pool")
    app.execute()
    dataset.reload()
    scored = dataset.exists("unseen_excess")
    assert len(scored) == POOL
    assert len(scored.distinct("unseen_model")) == 1
    assert not set(scored.distinct("tags")) & {"test", "initial"}

    # Beside the panel, the buttons above the grid have room on a large screen only (1.22).
    app.page.set_viewport_size({"width": 2560, "height": 1000})
    app.above_grid("@unseen/curation/select_batch")
    app.wait_for_form("Next batch")
    app.fill(budget=BUDGET)
    app.execute()
    dataset.reload()
    batch = dataset.load_saved_view("batch_01")
    assert batch.values("unseen_rank") == [1, 2, 3, 4]
    assert set(batch.values("id")) == set(dataset.match_tags("batch_01").values("id"))
    app.page.set_viewport_size({"width": 1600, "height": 1000})
    app.wait_for_samples(dataset, batch.values("id"))
    picture("batch")

    app.browse("Reveal labels")
    app.execute()
    assert all(found is not None for found in batch.values("ground_truth"))

    app.browse("Train the detector")
    app.fill(steps=2, batch_size=1)
    app.execute()
    app.browse("Apply the detector")
    app.fill(min_confidence=0)
    app.execute()
    app.browse("Evaluate the detector")
    app.fill(min_confidence=0)
    app.execute()
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


def steps_of(dataset: fo.Dataset, iteration: int) -> dict:
    """What the record of an iteration says of its steps."""
    dataset.reload()
    return Loop(dataset, Names()).record(iteration)["steps"]
