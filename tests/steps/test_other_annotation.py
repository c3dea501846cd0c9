"""Labelling without CVAT: in the App's Annotate tab, or through another backend of FiftyOne."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen

pytestmark = pytest.mark.fiftyone


def draw(dataset, sample_id, label="particle"):
    """What the Annotate tab does: write into the label field."""
    sample = dataset[sample_id]
    if sample.ground_truth is None:
        sample.ground_truth = fo.Detections()
    sample.ground_truth.detections.append(
        fo.Detection(label=label, bounding_box=[0.1, 0.1, 0.2, 0.2])
    )
    sample.save()


@pytest.fixture
def in_app(batch):
    """A batch of three that is to be labelled in the App, and its images in rank order."""
    dataset = batch(3)
    unseen.request_annotations(dataset, backend="app", classes=("particle", "scratch", "crack"))
    return dataset, dataset.match_tags("batch_01").sort_by("unseen_rank").values("id")


def test_the_annotate_tab_offers_the_classes(in_app):
    dataset, ids = in_app
    schema = dataset.label_schemas["ground_truth"]
    assert schema["classes"] == ["particle", "scratch", "crack"]
    assert "ground_truth" in dataset.active_label_schemas
    assert set(dataset.select(ids).values("unseen_annotation")) == {"sent"}


def test_a_batch_closes_once_every_image_has_labels(in_app):
    dataset, ids = in_app
    draw(dataset, ids[0])
    result = unseen.load_annotations(dataset)
    assert (result.labelled, result.unopened, result.closed) == (1, 2, [])
    assert "empty_is_labelled" in result.summary()
    assert dataset[ids[1]].ground_truth is None
    for sample_id in ids[1:]:
        draw(dataset, sample_id, "crack")
    result = unseen.load_annotations(dataset)
    assert result.added == {"crack": 2}
    assert result.closed == ["unseen_batch_01"]
    assert set(dataset.select(ids).values("unseen_annotation")) == {"loaded"}


def test_images_without_a_box_are_negatives_only_when_a_person_says_so(in_app):
    dataset, ids = in_app
    draw(dataset, ids[0])
    rehearsed = unseen.load_annotations(dataset, empty_is_labelled=True, dry_run=True)
    assert dataset[ids[1]].ground_truth is None
    result = unseen.load_annotations(dataset, empty_is_labelled=True)
    assert (result.labelled, result.empty) == (rehearsed.labelled, rehearsed.empty) == (1, 2)
    assert dataset[ids[1]].ground_truth.detections == []
    assert result.closed == ["unseen_batch_01"]
    unseen.undo_annotations(dataset)
    assert dataset[ids[1]].ground_truth is None
    assert len(dataset[ids[0]].ground_truth.detections) == 1


def test_asking_twice_hands_nothing_out_twice(in_app):
    dataset, _ = in_app
    again = unseen.request_annotations(dataset, backend="app", classes=("particle",))
    assert again.sent == 0
    status = unseen.list_annotations(dataset).batches
    assert [(b.backend, b.images) for b in status] == [("app", 3)]


def test_a_dry_run_prepares_nothing(batch):
    dataset = batch(3)
    result = unseen.request_annotations(dataset, backend="app", classes=("particle",), dry_run=True)
    dataset.reload()
    assert result.sent == 3
    assert dataset.label_schemas == {} or "ground_truth" not in dataset.label_schemas
    assert dataset.get_field("unseen_annotation") is None
    assert unseen.list_annotations(dataset).batches == []


def test_an_unknown_backend_is_named_with_those_that_exist(batch):
    dataset = batch(2)
    with pytest.raises(unseen.UnseenError, match=r"'paper'.*labelstudio"):
        unseen.request_annotations(dataset, backend="paper", classes=("particle",))
    assert dataset.list_annotation_runs() == []
    assert unseen.list_annotations(dataset).batches == []


def test_another_backend_without_a_server_leaves_nothing(batch, monkeypatch):
    dataset = batch(2)
    monkeypatch.setattr("builtins.input", lambda *a: pytest.fail("the terminal was asked"))
    monkeypatch.setattr("getpass.getpass", lambda *a, **k: pytest.fail("the terminal was asked"))
    with pytest.raises(unseen.UnseenError):
        unseen.request_annotations(dataset, backend="labelstudio", classes=("particle",))
    assert dataset.list_annotation_runs() == []
    assert unseen.list_annotations(dataset).batches == []


def test_clean_removes_what_was_recorded_of_annotations(in_app):
    dataset, ids = in_app
    draw(dataset, ids[0])
    unseen.load_annotations(dataset, empty_is_labelled=True)
    result = unseen.clean_dataset(dataset)
    assert not [f for f in dataset.get_field_schema() if f.startswith("unseen_annotation")]
    assert dataset.list_runs() == dataset.list_annotation_runs() == []
    assert "unseen_batch_01_sending" in result.runs
    assert len(dataset[ids[0]].ground_truth.detections) == 1  # labels stay


def test_a_batch_stays_with_the_tool_it_was_handed_to(in_app):
    dataset, _ = in_app
    with pytest.raises(unseen.UnseenError, match="was handed to app already"):
        unseen.request_annotations(dataset, backend="cvat", classes=("particle",))


def test_clean_removes_overlays_and_no_image(cvat, batch, tmp_path):
    import numpy as np

    dataset = batch(2)
    dataset.add_sample_field(
        "unseen_heatmap", fo.EmbeddedDocumentField, embedded_doc_type=fo.Heatmap
    )
    for sample in dataset.match_tags("batch_01"):
        sample["unseen_heatmap"] = fo.Heatmap(map=np.full((8, 8), 200, np.uint8), range=[0, 255])
        sample.save()
    unseen.request_annotations(dataset, overlay=True, model_dir=str(tmp_path / "models"))
    copies = [p for p in (tmp_path / "models").rglob("*") if p.is_file()]
    assert len(copies) == 2
    originals = dataset.values("filepath")
    unseen.clean_dataset(dataset, model_dir=str(tmp_path / "models"))
    assert [p for p in (tmp_path / "models").rglob("*") if p.is_file()] == []
    assert all(fo.core.storage.isfile(p) for p in originals)


def test_labels_drawn_in_the_app_are_counted_once_and_recorded(in_app):
    dataset, ids = in_app
    draw(dataset, ids[0])
    draw(dataset, ids[0], "crack")
    first = unseen.load_annotations(dataset)
    assert (first.added, first.written) == ({"crack": 1, "particle": 1}, 1)
    record = dataset.get_run_info("unseen_iter_01").config.serialize()
    assert record["class_counts"]["crack"] == 1
    sample = dataset[ids[0]]
    before = sample.last_modified_at
    again = unseen.load_annotations(dataset)
    assert (again.added, again.written) == ({}, 0)
    sample.reload()
    assert sample.last_modified_at == before
    sample.ground_truth.detections[0].label = "scratch"
    del sample.ground_truth.detections[1]
    sample.save()
    later = unseen.load_annotations(dataset)
    assert (later.added, later.changed, later.deleted) == ({}, {"scratch": 1}, {"crack": 1})
    assert later.snapshots == []


def test_labels_that_were_there_before_are_not_called_added(batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, backend="app", images="test", classes=("particle",))
    rehearsed = unseen.load_annotations(dataset, dry_run=True)
    result = unseen.load_annotations(dataset)
    assert (result.added, result.labelled, result.closed) == ({}, 2, ["unseen_test"])
    assert rehearsed.labelled == 2


@pytest.fixture
def in_tool(batch, monkeypatch):
    """A batch of two with another backend, and a server that can answer, fail or hold nothing."""
    from unseen.steps import other_annotation as module

    answers = []

    def load(dataset, anno_key):
        if not answers:
            raise unseen.errors.ServerError("the tool is down; start it")
        answers.pop()(dataset)

    monkeypatch.setattr(module.other_backends, "send", lambda *a: None)
    monkeypatch.setattr(module.other_backends, "load", load)
    dataset = batch(2)
    unseen.request_annotations(dataset, backend="labelstudio", classes=("particle",))
    return dataset, dataset.match_tags("batch_01").sort_by("unseen_rank").values("id"), answers


def test_only_a_load_that_changed_something_can_be_undone(in_tool):
    dataset, ids, answers = in_tool
    with pytest.raises(unseen.UnseenError, match="start it"):
        unseen.load_annotations(dataset)
    assert not [run for run in dataset.list_runs() if "snapshot" in run]
    answers.append(lambda dataset: None)
    assert unseen.load_annotations(dataset).snapshots == []
    assert not [run for run in dataset.list_runs() if "snapshot" in run]
    rehearsed = unseen.load_annotations(dataset, dry_run=True)
    assert any("dry run cannot look into labelstudio" in note for note in rehearsed.notes)
    answers.append(lambda dataset: draw(dataset, ids[0]))
    result = unseen.load_annotations(dataset, empty_is_labelled=True)
    assert (result.added, result.labelled, result.empty) == ({"particle": 1}, 1, 1)
    assert len(result.snapshots) == 1
    assert result.closed == ["unseen_batch_01"]
    assert unseen.undo_annotations(dataset).images == 2
    assert [dataset[i].ground_truth for i in ids] == [None, None]


def test_a_run_that_no_record_knows_is_named_with_the_way_out(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset)
    dataset.delete_run("unseen_batch_01_sending")
    with pytest.raises(unseen.UnseenError, match="delete_annotation_run"):
        unseen.request_annotations(dataset, backend="app", classes=("particle",))
