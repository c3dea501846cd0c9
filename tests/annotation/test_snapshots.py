"""Labels that are kept before a load, and put back."""

from __future__ import annotations

import fiftyone as fo
import pytest

from unseen.annotation import snapshots, truth
from unseen.annotation.merge import KnownBox
from unseen.dataset.fields import LOADED, SENT, Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def dataset(empty):
    empty.add_samples([fo.Sample(filepath=f"/{i}.png") for i in range(3)])
    truth.declare_fields(Loop(empty, Names()))
    return empty


def change(dataset, ids, run="run", **values):
    empty = truth.merged_document(None, [])
    truth.write(
        Loop(dataset, Names()),
        run,
        {i: truth.Update(document=empty, state=LOADED, **values) for i in ids},
    )


def take(dataset, written, run="run", before="load"):
    key = snapshots.take(Loop(dataset, Names()), run, dataset.values("id"), before)
    if written:
        snapshots.note_written(dataset, key, written)
    return key


def put_back(dataset, key=None):
    chosen = snapshots.choose(Loop(dataset, Names()), key)
    snapshots.put_back(dataset, snapshots.difference(Loop(dataset, Names()), chosen))
    snapshots.note_restored(Loop(dataset, Names()), chosen)


def known():
    return KnownBox("label", "f" * 24, None, 7, "a", (0.0, 0.0, 1.0, 1.0))


def test_only_what_was_written_is_put_back(dataset):
    a, b, c = dataset.values("id")
    truth.write(
        Loop(dataset, Names()), "run", {i: truth.Update(state=SENT, base=[]) for i in (a, b, c)}
    )
    take(dataset, [a])
    change(dataset, [a, b], base=[known()])
    sample = dataset[a]
    put_back(dataset)
    assert dataset.values("unseen_annotation") == [SENT, LOADED, SENT]
    assert sample.ground_truth is None  # also in memory
    assert sample.unseen_annotation_base == {"run": []}
    assert dataset[b].ground_truth is not None


def test_what_other_runs_know_of_an_image_stays(dataset):
    a = dataset.values("id")[0]
    take(dataset, [a])
    change(dataset, [a], base=[known()])
    change(dataset, [a], run="other", base=[known()])
    put_back(dataset)
    assert set(dataset[a].unseen_annotation_base) == {"other"}


def test_samples_and_fields_that_are_gone_stop_no_undo(dataset):
    a, b, c = dataset.values("id")
    change(dataset, [c], base=[known()])
    take(dataset, [a, b, c])
    change(dataset, [a, b])
    dataset.delete_samples([a])
    dataset.clear_sample_field("unseen_annotation_base")
    put_back(dataset)
    assert len(dataset) == 2
    assert dataset[b].ground_truth is None
    assert len(dataset[c].unseen_annotation_base["run"]) == 1


def test_a_snapshot_that_nothing_was_written_after_is_nothing_to_undo(dataset):
    a = dataset.values("id")[0]
    first = take(dataset, [a])
    take(dataset, [])  # a load was killed before it wrote
    take(dataset, [a], before="undo")
    assert snapshots.choose(Loop(dataset, Names()), None).key == first
    put_back(dataset)
    with pytest.raises(AnnotationError, match="no load of annotations to undo"):
        snapshots.choose(Loop(dataset, Names()), None)
    assert snapshots.choose(Loop(dataset, Names()), first).restored


def test_snapshots_are_ordered_by_number_and_not_by_text(dataset, monkeypatch):
    monkeypatch.setattr(snapshots, "KEPT", 2)
    a = dataset.values("id")[0]
    first = take(dataset, [a])
    dataset.rename_run(first, "unseen_snapshot_9999")
    assert take(dataset, [a]) == "unseen_snapshot_10000"
    assert take(dataset, [a]) == "unseen_snapshot_10001"
    assert snapshots.choose(Loop(dataset, Names()), None).key == "unseen_snapshot_10001"
    assert dataset.list_runs() == ["unseen_snapshot_10000", "unseen_snapshot_10001"]


def test_a_snapshot_is_restored_into_its_own_field_only(dataset):
    a = dataset.values("id")[0]
    take(dataset, [a])
    with pytest.raises(AnnotationError, match=r"pass label_field='ground_truth'"):
        snapshots.choose(Loop(dataset, Names(label_field="other")), None)
    with pytest.raises(AnnotationError, match="there are: none"):
        snapshots.choose(Loop(dataset, Names(series="b")), "unseen_snapshot_0001")


def test_a_snapshot_can_be_narrowed_or_dropped(dataset):
    a, b, _ = dataset.values("id")
    key = take(dataset, [a, b])
    assert snapshots.narrow(dataset, key, [b])
    assert snapshots.choose(Loop(dataset, Names()), None).written == [b]
    snapshots.note_written(dataset, key, [a])
    assert snapshots.choose(Loop(dataset, Names()), None).written == sorted([a, b])
    assert not snapshots.narrow(dataset, key, [])
    assert dataset.list_runs() == []
