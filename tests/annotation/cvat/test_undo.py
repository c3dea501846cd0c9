"""Labels as they were before a load."""

from __future__ import annotations

import pytest
from cvat_traces import ranked

import unseen
from unseen.annotation import snapshots
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone


def stored(dataset):
    """Labels and annotation state as they are in the database."""
    names = ("ground_truth", "unseen_annotation", "unseen_annotation_base")
    rows = dataset._sample_collection.find({}, dict.fromkeys(names, 1))
    return {str(row["_id"]): {name: row.get(name) for name in names} for row in rows}


@pytest.fixture
def loop(cvat, batch):
    """A batch of four, of which the first image got a box; and who drew it."""
    dataset = batch(4)
    unseen.request_annotations(dataset)
    worker = cvat.annotator(min(cvat.jobs))
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    return dataset, worker


def test_an_undo_restores_labels_and_can_be_rehearsed_undone_and_loaded_again(loop):
    dataset, _ = loop
    before = stored(dataset)
    [key] = unseen.load_annotations(dataset).snapshots
    loaded, runs = stored(dataset), dataset.list_runs()
    assert loaded != before
    rehearsed = unseen.undo_annotations(dataset, dry_run=True)
    dataset.reload()
    assert (rehearsed.boxes_before, rehearsed.boxes_after, rehearsed.kept) == (1, 0, None)
    assert (stored(dataset), dataset.list_runs()) == (loaded, runs)
    result = unseen.undo_annotations(dataset)
    assert stored(dataset) == before
    assert (result.images, result.boxes_before, result.boxes_after) == (4, 1, 0)
    with pytest.raises(unseen.UnseenError, match=r"'nope'.*unseen_snapshot_0001"):
        unseen.undo_annotations(dataset, snapshot="nope")
    unseen.undo_annotations(dataset, snapshot=result.kept)
    assert stored(dataset) == loaded
    unseen.undo_annotations(dataset, snapshot=key)
    unseen.load_annotations(dataset)  # the annotators' work is still on the server
    assert ranked(dataset).values("ground_truth.detections.label", unwind=True) == ["particle"]


def test_loads_are_undone_one_by_one_from_the_newest(loop):
    dataset, worker = loop
    states = [stored(dataset)]
    for corner in (32, 48):
        worker.draw(0, "particle", [corner, 16, corner + 8, 40])
        unseen.load_annotations(dataset)
        states.append(stored(dataset))
    unseen.undo_annotations(dataset)
    assert stored(dataset) == states[1]
    unseen.undo_annotations(dataset)
    assert stored(dataset) == states[0]
    with pytest.raises(unseen.UnseenError, match="no load of annotations to undo"):
        unseen.undo_annotations(dataset)


def test_an_undone_undo_leaves_the_load_to_be_undone_again(loop):
    dataset, worker = loop
    unseen.load_annotations(dataset)
    before = stored(dataset)
    worker.draw(0, "particle", [32, 16, 40, 40])
    unseen.load_annotations(dataset)
    loaded = stored(dataset)
    for _ in range(2):
        undone = unseen.undo_annotations(dataset)
        assert stored(dataset) == before
        redone = unseen.undo_annotations(dataset, snapshot=undone.kept)
        assert stored(dataset) == loaded
    unseen.undo_annotations(dataset, snapshot=redone.kept)
    assert stored(dataset) == before
    assert unseen.undo_annotations(dataset).restored == "unseen_snapshot_0001"


def test_an_undo_touches_only_what_the_load_changed(loop):
    dataset, _ = loop
    unseen.load_annotations(dataset)
    other = dataset.match_tags("test").first()
    other.ground_truth.detections[0].label = "scratch"
    other.save()
    unseen.undo_annotations(dataset)
    other.reload()
    assert other.ground_truth.detections[0].label == "scratch"


def test_an_undo_is_recorded_and_a_killed_one_can_be_repeated(loop, monkeypatch):
    dataset, _ = loop
    unseen.load_annotations(dataset)
    loaded = stored(dataset)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "put_back", killed)
        with pytest.raises(KeyboardInterrupt):
            unseen.undo_annotations(dataset)
    assert not unseen.list_annotations(dataset).batches[0].closed
    assert unseen.list_annotations(dataset).batches[0].waiting
    unseen.undo_annotations(dataset)
    record = Loop(dataset, Names()).record(1)
    assert "undo_annotations" in record["steps"]
    labelled = dataset.match_tags("test", bool=False)
    counts = labelled.count_values("ground_truth.detections.label")
    assert record["class_counts"] == counts
    assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]
    assert {i: bool(r["ground_truth"]) for i, r in stored(dataset).items()} == {
        i: bool(r["ground_truth"]) for i, r in loaded.items()
    }


def test_what_is_undone_after_its_task_was_deleted_can_be_sent_again(cvat, loop):
    dataset, _ = loop
    unseen.load_annotations(dataset)
    cvat.delete_task(min(cvat.tasks))
    unseen.load_annotations(dataset)
    assert unseen.list_annotations(dataset).batches[0].complete
    unseen.undo_annotations(dataset)
    assert not unseen.list_annotations(dataset).batches[0].complete
    assert unseen.request_annotations(dataset).sent == 4
