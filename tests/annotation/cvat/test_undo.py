"""Labels as they were before a load."""

from __future__ import annotations

import pytest

import unseen

pytestmark = pytest.mark.fiftyone


def stored(dataset):
    """Labels and annotation state as they are in the database."""
    names = ("ground_truth", "unseen_annotation", "unseen_annotation_base")
    rows = dataset._sample_collection.find({}, dict.fromkeys(names, 1))
    return {str(row["_id"]): {name: row.get(name) for name in names} for row in rows}


@pytest.fixture
def loop(cvat, batch):
    """A batch of four, and somebody to label it."""
    dataset = batch(4)
    unseen.request_annotations(dataset)
    return dataset, cvat.annotator(min(cvat.jobs))


def test_an_undo_restores_labels_and_what_was_known_of_the_server(loop):
    dataset, worker = loop
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    before = stored(dataset)
    unseen.load_annotations(dataset)
    assert stored(dataset) != before
    result = unseen.undo_annotations(dataset)
    assert stored(dataset) == before
    assert (result.images, result.boxes_before, result.boxes_after) == (4, 1, 0)
    unseen.load_annotations(dataset)  # the annotators' work is still on the server
    boxes = dataset.match_tags("batch_01").values("ground_truth.detections.label", unwind=True)
    assert boxes == ["particle"]


def test_loads_are_undone_one_by_one_from_the_newest(loop):
    dataset, worker = loop
    worker.set(state="completed")
    states = [stored(dataset)]
    for corner in (8, 24):
        worker.draw(0, "particle", [corner, 16, corner + 8, 40])
        unseen.load_annotations(dataset)
        states.append(stored(dataset))
    unseen.undo_annotations(dataset)
    assert stored(dataset) == states[1]
    unseen.undo_annotations(dataset)
    assert stored(dataset) == states[0]
    with pytest.raises(unseen.UnseenError, match="no load of annotations to undo"):
        unseen.undo_annotations(dataset)


def test_an_undo_can_be_undone_by_name(loop):
    dataset, worker = loop
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    loaded = stored(dataset)
    kept = unseen.undo_annotations(dataset).kept
    unseen.undo_annotations(dataset, snapshot=kept)
    assert stored(dataset) == loaded


def test_an_undo_touches_only_what_the_load_changed(loop):
    dataset, worker = loop
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    other = dataset.match_tags("test").first()
    unseen.load_annotations(dataset)
    other.ground_truth.detections[0].label = "scratch"
    other.save()
    unseen.undo_annotations(dataset)
    other.reload()
    assert other.ground_truth.detections[0].label == "scratch"


def test_a_dry_run_of_an_undo_changes_nothing(loop):
    dataset, worker = loop
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    before, runs = stored(dataset), dataset.list_runs()
    result = unseen.undo_annotations(dataset, dry_run=True)
    dataset.reload()
    assert (result.boxes_before, result.boxes_after, result.kept) == (1, 0, None)
    assert stored(dataset) == before
    assert dataset.list_runs() == runs


def test_an_unknown_snapshot_is_named_with_those_that_exist(loop):
    dataset, worker = loop
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    with pytest.raises(unseen.UnseenError, match=r"'nope'.*unseen_snapshot_0001"):
        unseen.undo_annotations(dataset, snapshot="nope")


def test_only_the_newest_snapshots_are_kept(loop, monkeypatch):
    from unseen.annotation import snapshots

    monkeypatch.setattr(snapshots, "KEPT", 3)
    dataset, worker = loop
    worker.set(state="completed")
    for corner in range(5):
        worker.draw(0, "particle", [corner, 16, corner + 8, 40])
        unseen.load_annotations(dataset)
    kept = [run for run in dataset.list_runs() if "snapshot" in run]
    assert kept == ["unseen_snapshot_0003", "unseen_snapshot_0004", "unseen_snapshot_0005"]


def test_an_undo_is_recorded_and_a_killed_one_can_be_repeated(loop, monkeypatch):
    from unseen.annotation import snapshots

    dataset, worker = loop
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    loaded = stored(dataset)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "restore", killed)
        with pytest.raises(KeyboardInterrupt):
            unseen.undo_annotations(dataset)
    assert not unseen.list_annotations(dataset).batches[0].closed
    assert unseen.list_annotations(dataset).batches[0].waiting
    unseen.undo_annotations(dataset)
    record = dataset.get_run_info("unseen_iter_01").config.serialize()
    assert "undo_annotations" in record["steps"]
    assert record["class_counts"].get("particle", 0) == sum(
        len([d for d in r["ground_truth"]["detections"] if d["label"] == "particle"])
        for i, r in stored(dataset).items()
        if r["ground_truth"] and "test" not in dataset[i].tags
    )
    assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]
    assert {i: bool(r["ground_truth"]) for i, r in stored(dataset).items()} == {
        i: bool(r["ground_truth"]) for i, r in loaded.items()
    }


def test_what_is_undone_after_its_task_was_deleted_can_be_sent_again(cvat, loop):
    dataset, worker = loop
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    cvat.delete_task(min(cvat.tasks))
    unseen.load_annotations(dataset)
    assert unseen.list_annotations(dataset).batches[0].complete
    unseen.undo_annotations(dataset)
    assert not unseen.list_annotations(dataset).batches[0].complete
    assert unseen.request_annotations(dataset).sent == 4
