"""Asking for the unseen regions alone: what annotators see, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
from cvat_traces import ranked
from PIL import Image

import unseen
from unseen.annotation import sendings
from unseen.arrays.heatmap import SCOPE_COLOUR
from unseen.dataset import scope, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError

pytestmark = pytest.mark.fiftyone

NAMES = Names()


@pytest.fixture
def asked(cvat, batch):
    """A batch of three, sent for its strongest region each; the first image in rank order."""
    dataset = batch(3)
    result = unseen.request_annotations(dataset, regions_only=True, regions_per_image=1)
    return dataset, cvat, result, in_rank_order(dataset)[0]


def in_rank_order(dataset):
    return ranked(dataset).values("id")


def recorded_scopes(dataset):
    return sendings.read_sending(Loop(dataset, NAMES), "unseen_batch_01").scopes


def complete(dataset, image):
    """Label an image in full, in FiftyOne."""
    sample = dataset[image]
    sample.ground_truth = sample.hidden_truth.copy()
    sample.save()


def finish_and_load(cvat, dataset, box=None):
    worker = cvat.annotator(min(cvat.jobs))
    if box:
        worker.draw(0, "particle", box)
    worker.set(state="completed")
    return unseen.load_annotations(dataset)


def stored_scope(dataset, sample_id):
    dataset.reload()
    scope = dataset[sample_id][NAMES.scope] if dataset.has_sample_field(NAMES.scope) else None
    return None if scope is None else [d.bounding_box for d in scope.detections]


def test_the_round_trip_labels_the_regions_and_says_so(asked):
    dataset, cvat, result, first = asked
    assert result.in_part == 3
    assert "the unseen regions alone" in result.summary()
    assert all(stored_scope(dataset, i) is None for i in dataset.values("id"))
    (box,) = recorded_scopes(dataset)[first]
    finish_and_load(cvat, dataset, [8, 8, 16, 16])
    for i in in_rank_order(dataset):
        (stored,) = stored_scope(dataset, i)
        assert stored == pytest.approx(box)
    assert [d.label for d in dataset[first].ground_truth.detections] == ["particle"]
    trained = unseen.train_detector(dataset, steps=1, batch_size=1)
    assert (trained.images, trained.partly_labelled) == (7, 3)
    unseen.clean_dataset(dataset)
    assert not dataset.has_sample_field(NAMES.scope)


def test_annotators_see_suggestions_in_the_regions_only_and_the_outlines_of_these(asked):
    dataset, cvat, result, first = asked
    (shape,) = cvat.annotator(1).shapes(frame=0)
    assert shape["points"] == pytest.approx([64 * v for v in (0.1, 0.1, 0.3, 0.3)])
    assert result.suggestions == result.overlays == 3
    ((x, y, w, h),) = recorded_scopes(dataset)[first]
    assert (x, y) == (0, 0)  # the margin reaches the border
    drawn, original = (
        np.asarray(Image.open(path).convert("RGB")).astype(int)
        for path in (dataset[first].unseen_overlay, dataset[first].filepath)
    )
    changed = (drawn != original).any(2)
    rows, columns = changed.nonzero()
    assert (rows.max(), columns.max()) == (int(64 * (y + h)), int(64 * (x + w)))
    assert not changed[2 : rows.max() - 1, 2 : columns.max() - 1].any()
    away = np.abs(drawn[changed] - SCOPE_COLOUR).sum(1)
    assert (away < np.abs(original[changed] - SCOPE_COLOUR).sum(1)).all()
    guide = next(iter(cvat.state.guides.values())).markdown
    assert "inside a yellow rectangle" in guide
    assert "every class, also where nothing is marked" not in guide


def test_whole_images_are_asked_for_where_nothing_unseen_is_shown_and_where_labels_are(cvat, batch):
    dataset = batch(3)
    first, second, third = in_rank_order(dataset)
    dataset.select(first).clear_sample_field(NAMES.regions)
    complete(dataset, second)
    assert unseen.request_annotations(dataset, regions_only=True).in_part == 1
    finish_and_load(cvat, dataset)
    assert stored_scope(dataset, first) is stored_scope(dataset, second) is None
    assert len(stored_scope(dataset, third)) == 1  # both regions, joined by their margins


def test_new_scores_do_not_change_what_was_asked_for_and_complete_labels_stay_complete(asked):
    dataset, cvat, _, first = asked
    second = in_rank_order(dataset)[1]
    before = recorded_scopes(dataset)
    dataset.clear_sample_field(NAMES.regions)
    complete(dataset, first)
    finish_and_load(cvat, dataset)
    assert stored_scope(dataset, first) is None
    assert stored_scope(dataset, second) == before[second]


def test_an_undo_takes_the_scope_back_and_a_scope_drawn_larger_stays(asked):
    dataset, cvat, _, first = asked
    finish_and_load(cvat, dataset)
    loaded = stored_scope(dataset, first)
    kept = unseen.undo_annotations(dataset).kept
    assert stored_scope(dataset, first) is None
    unseen.undo_annotations(dataset, snapshot=kept)
    assert stored_scope(dataset, first) == loaded
    larger = [[0.0, 0.0, 0.75, 0.75]]
    scope.write(Loop(dataset, NAMES), {first: larger})
    finish_and_load(cvat, dataset, [8, 8, 16, 16])  # a late correction
    assert len(dataset[first].ground_truth.detections) == 1
    assert stored_scope(dataset, first) == larger


def test_a_sending_that_broke_off_asks_for_the_same_when_it_goes_on(cvat, batch):
    dataset = batch(3)
    cvat.fail("POST", "/data$", status=413, skip=1, times=99)
    with pytest.raises(unseen.UnseenError):
        unseen.request_annotations(dataset, regions_only=True, regions_per_image=1, task_size=1)
    sent = sendings.read_sending(Loop(dataset, NAMES), "unseen_batch_01")
    (done,) = [i for task in sent.tasks for i in task.sample_ids]
    cvat.clear_faults()
    unseen.request_annotations(dataset, regions_only=True, regions_per_image=2, task_size=1)
    scopes = recorded_scopes(dataset)
    assert scopes[done] == sent.scopes[done]
    assert sorted(scopes) == sorted(in_rank_order(dataset))


def test_predictions_outside_of_the_regions_are_not_sent(cvat, batch):
    dataset, field = batch(2), NAMES.predictions(0)
    loop = Loop(dataset, NAMES)
    loop.write_entry(0, "train_detector", {"parameters": {}})
    writing.declare_detections(loop, field, "predictions")
    boxes = [("particle", [v, v, 0.1, 0.1], 0.9) for v in (0.15, 0.85)]
    writing.save_detections(dataset, field, dict.fromkeys(in_rank_order(dataset), boxes))
    settings = dict(regions_only=True, regions_per_image=1, predictions=True)
    assert unseen.request_annotations(dataset, **settings).predictions == 2


def test_without_scores_there_is_nothing_to_ask_for(cvat, batch):
    dataset = batch(2, regions=False)
    with pytest.raises(AnnotationError, match="score_samples"):
        unseen.request_annotations(dataset, regions_only=True)
    assert not cvat.tasks


def test_a_dry_run_counts_and_writes_nothing(cvat, batch):
    dataset = batch(2)
    result = unseen.request_annotations(dataset, regions_only=True, dry_run=True)
    assert result.in_part == 2
    assert not dataset.has_sample_field(NAMES.scope)
    assert sendings.read_sendings(Loop(dataset, NAMES)) == []


def test_in_the_app_the_rectangles_are_there_to_be_moved(batch):
    dataset = batch(2)
    result = unseen.request_annotations(
        dataset, backend="app", regions_only=True, classes=("particle", "scratch")
    )
    assert result.in_part == 2
    assert all(stored_scope(dataset, i) for i in in_rank_order(dataset))
    assert NAMES.scope in dataset.active_label_schemas
    assert not dataset.label_schemas[NAMES.scope].get("read_only")


def test_other_tools_cannot_show_outlines(batch):
    dataset = batch(2)
    with pytest.raises(AnnotationError, match="shows no outlines"):
        unseen.request_annotations(dataset, backend="labelstudio", regions_only=True)
