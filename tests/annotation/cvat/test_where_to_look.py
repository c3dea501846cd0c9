"""Each way to show annotators where to look reaches them, alone and together with others."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from cvat_double import CvatDouble
from cvat_replay import Client
from cvat_traces import frames_of, ranked, ranked_names, sent_ids, state_of
from PIL import Image

import unseen
from unseen.annotation.cvat import server
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
ALL = ("particle", "scratch", "unseen")


@pytest.fixture
def uploaded(monkeypatch):
    """(name on the server, path, bytes) of every file that is sent."""
    seen = []
    form = server.form

    def look(files, *others):
        seen.extend((name, path, path.read_bytes()) for name, path in files)
        return form(files, *others)

    monkeypatch.setattr("unseen.annotation.cvat.api.form", look)
    return seen


def shapes_of(cvat: CvatDouble) -> list[dict]:
    return [s for number in sorted(cvat.jobs) for s in cvat.annotator(number).shapes()]


def with_heatmaps(dataset: fo.Dataset) -> None:
    """A heatmap of half the image's size, as scoring stores it."""
    kind = {"embedded_doc_type": fo.Heatmap}
    writing.declare(Loop(dataset, NAMES), NAMES.heatmap, fo.EmbeddedDocumentField, "heat", **kind)
    heat = np.zeros((32, 32), dtype=np.uint8)
    heat[8:16, 8:24] = 200
    for sample in ranked(dataset).iter_samples(autosave=True):
        sample[NAMES.heatmap] = fo.Heatmap(map=heat, range=[0, 255])


def with_predictions(dataset: fo.Dataset) -> None:
    """Predictions of iteration 0's detector on the batch: sure, unsure and of an unknown class."""
    loop = Loop(dataset, NAMES)
    loop.write_entry(0, "train_detector", {"parameters": {}})
    writing.declare_detections(loop, NAMES.predictions(0), "predictions")
    sure, box = {"particle": 0.9, "scratch": 0.3, "ghost": 0.9}, [0.25, 0.5, 0.125, 0.25]
    boxes = [(label, box, confidence) for label, confidence in sure.items()]
    ids = ranked(dataset).values("id")
    writing.save_detections(dataset, NAMES.predictions(0), dict.fromkeys(ids, boxes))


def guides(cvat: CvatDouble) -> list[str]:
    return [cvat.state.guides[t.guide_id].markdown for _, t in sorted(cvat.tasks.items())]


def originals(dataset: fo.Dataset) -> dict[str, Path]:
    return {Path(path).name: Path(path) for path in dataset.values("filepath")}


def test_suggestions_and_the_guide_of_a_plain_request(cvat, batch):
    dataset = batch(2)
    result = unseen.request_annotations(
        dataset, classes=("particle", "scratch", "crack"), instructions="Mind the **edges**."
    )
    first = ranked(dataset).first()
    shown = sorted(cvat.annotator(1).shapes(frame=0), key=lambda s: s["id"])
    assert [s["label"] for s in shown] == ["unseen", "unseen"]
    ids = [d.id for d in first.unseen_regions.detections]
    assert sent_ids(dataset, shown) == ids
    assert [s["values"] for s in shown] == [{"score": "90"}] * 2  # CVAT shows every attribute
    boxes = [[0.1, 0.1, 0.2, 0.2], [0.6, 0.55, 0.25, 0.3]]
    for shape, (x, y, w, h) in zip(shown, boxes, strict=True):
        assert shape["points"] == pytest.approx([64 * v for v in (x, y, x + w, y + h)])
    assert (result.suggestions, first.ground_truth) == (4, None)
    assert [label.name for label in cvat.tasks[1].labels] == [*ALL[:2], "crack", "unseen"]

    (text,) = guides(cvat)
    assert "Mind the **edges**." in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    counts = dataset.match_tags("initial").count_values("ground_truth.detections.label")
    for start in ("| crack | none yet", f"| particle | {counts['particle']}"):
        assert any(row.startswith(start) for row in rows)
    assert "Boxes of class `unseen` are suggestions" in text

    # In FiftyOne's own run suggestions have a field that nobody may change.
    schema = dataset.get_annotation_info("unseen_batch_01").config.label_schema
    assert set(schema) == {"ground_truth", "unseen_regions"}
    assert schema["unseen_regions"]["classes"] == ["unseen"]
    allowed = {k: v for k, v in schema["unseen_regions"].items() if k.startswith("allow_")}
    assert len(allowed) >= 4
    assert set(allowed.values()) == {False}
    assert schema["ground_truth"]["classes"] == ["particle", "scratch", "crack"]


def test_suggestions_carry_their_score_strongest_first_and_lose_it_as_labels(cvat, batch):
    dataset = batch(1)
    sample = ranked(dataset).first()
    weak, strong = sample.unseen_regions.detections
    weak.confidence, strong.confidence = 0.104, 0.875
    sample.save()
    unseen.request_annotations(dataset, classes=("particle",))
    person = cvat.annotator(1)
    shown = sorted(person.shapes(), key=lambda s: s["id"])
    sent = {"unseen": [strong.id, weak.id]}
    assert sent_ids(dataset, shown) == sent["unseen"]
    assert [s["values"]["score"] for s in shown] == ["88", "10"]
    (spec,) = [a for a in cvat.tasks[1].label("unseen").attributes if a.name == "score"]
    assert (spec.input_type, spec.values) == ("number", ["0", "100", "1"])
    assert "score" not in [a.name for a in cvat.tasks[1].label("particle").attributes]
    person.relabel(shown[0]["id"], "particle")
    person.set(state="completed")
    result = unseen.load_annotations(dataset)
    assert (result.suggestions_accepted, result.suggestions_left) == ({"particle": 1}, 1)
    dataset.reload()
    (label,) = ranked(dataset).first().ground_truth.detections
    assert not label.has_field("score")
    assert dataset.get_field("ground_truth.detections.score") is None
    assert unseen.load_annotations(dataset).written == 0


def test_a_project_whose_suggestions_have_no_score_takes_them_without(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, project="wafers", suggestions=False, images="initial")
    project = cvat.projects[1]
    project.labels.append(cvat.state.make_label({"name": "unseen"}))
    unseen.request_annotations(dataset, project="wafers")
    assert [s["values"] for s in cvat.annotator(2).shapes()] == [{}, {}]
    # The missing score is no edit of an annotator.
    cvat.annotator(2).set(state="completed")
    result = unseen.load_annotations(dataset)
    assert (result.suggestions_left, result.empty) == (2, 1)


def test_images_of_floats_which_cvat_shows_black_are_sent_as_copies(
    cvat, batch, uploaded, tmp_path
):
    dataset = batch(3)
    sample = ranked(dataset).first()
    path = tmp_path / "float.tif"
    ramp = np.linspace(0, 1e-4, 64 * 48, dtype=np.float32).reshape(48, 64)
    Image.fromarray(ramp).save(path)
    sample.filepath = str(path)
    sample.save()
    note = "1 images hold floats, which CVAT shows black: copies in 8 bits are sent."
    assert note in unseen.request_annotations(dataset, dry_run=True).notes
    result = unseen.request_annotations(dataset)
    assert (note in result.notes, result.sent, result.overlays) == (True, 3, 0)
    (name, _, content), *others = uploaded
    assert (name, [Path(p).suffix for _, p, _ in others]) == ("float.tif", [".png", ".png"])
    with Image.open(io.BytesIO(content)) as shown:
        assert (shown.mode, shown.size, shown.getextrema()[0]) == ("RGB", (64, 48), (0, 255))
    assert np.array_equal(np.asarray(Image.open(path)), ramp)


def test_overlays_predictions_and_suggestions_reach_the_annotator_together(cvat, batch, uploaded):
    dataset = batch(3)
    with_heatmaps(dataset)
    with_predictions(dataset)
    files = originals(dataset)
    digests = {name: hashlib.sha256(path.read_bytes()).digest() for name, path in files.items()}
    result = unseen.request_annotations(dataset, overlay=True, predictions=True)
    assert (result.suggestions, result.predictions, result.overlays) == (6, 3, 3)
    assert result.labels == 0
    # Overlays have the image's size and name; the images stay as they are.
    assert originals(dataset) == files
    assert digests == {n: hashlib.sha256(p.read_bytes()).digest() for n, p in files.items()}
    assert [name for name, _, _ in uploaded] == ranked_names(dataset) == frames_of(cvat)
    for name, path, content in uploaded:
        assert content != files[name].read_bytes()
        with Image.open(path) as drawn:
            assert drawn.size == (64, 64)
    assert {(f.width, f.height) for f in cvat.tasks[1].frames} == {(64, 64)}
    # Predictions go where the detector is sure, as labels under new ids.
    shown = shapes_of(cvat)
    assert sorted(s["label"] for s in shown) == ["particle"] * 3 + ["unseen"] * 6
    predicted = [s for s in shown if s["label"] == "particle"]
    assert [s["points"] for s in predicted] == [[16, 32, 24, 48]] * 3
    known = dataset.values(f"{NAMES.predictions(0)}.detections.id", unwind=True)
    assert not set(sent_ids(dataset, predicted)) & set(known)
    assert ranked(dataset).values("ground_truth") == [None] * 3
    (text,) = guides(cvat)
    for part in ("`unseen` are suggestions", "Colours mark", "drawn by a detector"):
        assert part in text


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ("predictions", "run train_detector and apply_detector"),
        ("structure", "run mark_structure first"),
        ("auto_labels", "run auto_label first"),
    ],
)
def test_what_does_not_exist_cannot_be_shown(cvat, batch, asked, match):
    dataset = batch(2)
    before = state_of(dataset)
    with pytest.raises(AnnotationError, match=match):
        unseen.request_annotations(dataset, **{asked: True})
    assert (state_of(dataset), cvat.tasks) == (before, {})


def test_each_guide_tells_what_its_own_task_holds(cvat, batch):
    dataset = batch(4)
    with_heatmaps(dataset)
    unseen.request_annotations(dataset, task_size=3, overlay=True, suggestions=False)
    texts = guides(cvat)
    assert "numbers 1 to 3 of the batch" in texts[0]
    assert "number 4 of the batch" in texts[1]
    assert all("Colours mark what" in t and "suggestions" not in t for t in texts)


def test_everything_switched_off_sends_the_plain_images(cvat, batch, uploaded):
    dataset = batch(2)
    with_heatmaps(dataset)
    result = unseen.request_annotations(dataset, suggestions=False, guide=False)
    assert shapes_of(cvat) == []
    assert cvat.state.guides == {}
    assert [label.name for label in cvat.tasks[1].labels] == ["particle", "scratch"]
    files = originals(dataset)
    assert all(content == files[name].read_bytes() for name, _, content in uploaded)
    assert (result.suggestions, result.predictions, result.labels, result.overlays) == (0, 0, 0, 0)
    assert not [r for r in cvat.requests if r.method == "PUT"]


def test_known_structure_is_drawn_into_the_copies_and_explained(cvat, batch, uploaded):
    dataset = batch(2)
    unseen.mark_structure(dataset, pitch=(32.0, 32.0), origin=(16.0, 16.0))
    result = unseen.request_annotations(dataset, structure=True, suggestions=False)
    assert result.overlays == 2
    files = originals(dataset)
    lines = np.zeros((64, 64), bool)
    lines[[16, 48]] = lines[:, [16, 48]] = True
    for name, path, _ in uploaded:
        with Image.open(path) as drawn, Image.open(files[name]) as original:
            changed = np.any(np.asarray(drawn) != np.asarray(original.convert("RGB")), axis=2)
        np.testing.assert_array_equal(changed, lines)
    assert not shapes_of(cvat)  # nothing that could come back as a label
    (text,) = guides(cvat)
    assert "Thin blue lines" in text
    assert "Colours mark" not in text


def test_automatic_labels_go_for_review_instead_of_all_predictions(cvat, batch):
    dataset = batch(2)
    with_predictions(dataset)
    writing.declare_detections(Loop(dataset, NAMES), NAMES.auto_labels, "test")
    # Below the confidence that predictions need: these were chosen already.
    chosen = [("scratch", [0.5, 0.25, 0.25, 0.125], 0.2)]
    ids = ranked(dataset).values("id")
    writing.save_detections(dataset, NAMES.auto_labels, dict.fromkeys(ids, chosen))
    result = unseen.request_annotations(dataset, auto_labels=True, suggestions=False)
    expected = [("scratch", [32, 16, 48, 24])] * 2
    assert [(s["label"], s["points"]) for s in shapes_of(cvat)] == expected
    assert result.predictions == 2
    assert ranked(dataset).values("ground_truth") == [None, None]


def test_a_box_that_sticks_out_is_cut_and_one_outside_is_left_out(cvat, batch):
    dataset = batch(1)
    for sample in dataset.match_tags("batch_01").iter_samples(autosave=True):
        boxes = [[-0.1, 0.5, 0.2, 0.6], [1.2, 0.1, 0.1, 0.1], [0.5, 0.5, 0.0, 0.1]]
        sample.unseen_regions = fo.Detections(
            detections=[fo.Detection(label="unseen", bounding_box=b) for b in boxes]
        )
    unseen.request_annotations(dataset)
    assert [s["points"] for s in shapes_of(cvat)] == [pytest.approx([0, 32, 6.4, 64])]


# projects


def project(cvat: CvatDouble, name: str, labels=ALL, attributes=(), **more) -> int:
    """A project that somebody made in CVAT; each label has these attributes."""
    text = {"input_type": "text", "mutable": True, "values": []}
    shared = {"attributes": [{"name": a, **text} for a in attributes], **more}
    body = {"name": name, "labels": [{"name": label, **shared} for label in labels]}
    answer = Client(cvat).call("POST", "/api/projects", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_new_project_gets_the_classes_and_one_guide_for_all_tasks(cvat, batch):
    unseen.request_annotations(batch(4), project="wafers", task_size=2)
    [made] = cvat.projects.values()
    assert (made.name, [label.name for label in made.labels]) == ("wafers", list(ALL))
    assert [t.project for t in cvat.tasks.values()] == [made, made]
    [guide] = cvat.state.guides.values()
    assert guide.id == made.guide_id
    assert "`unseen` are suggestions" in guide.markdown
    assert "This task holds" not in guide.markdown


def test_the_guide_of_a_project_has_the_open_batches_and_other_peoples_stays(cvat, batch):
    number = project(cvat, "wafers")
    unseen.request_annotations(batch(2), project="wafers", instructions="first")
    [guide] = cvat.state.guides.values()
    assert "first" in guide.markdown
    other = batch(2)
    unseen.request_annotations(other, project="wafers", instructions="second")
    assert cvat.projects[number].guide_id == guide.id
    # Each batch that is open has its section, of whatever dataset; a closed one has none.
    assert guide.markdown.index("second") < guide.markdown.index("first")
    cvat.annotator(2).set(state="completed")
    assert unseen.load_annotations(other).closed
    assert "second" not in guide.markdown
    assert "first" in guide.markdown
    guide.markdown = "# Written by hand"
    unseen.request_annotations(batch(2), project="wafers")
    assert guide.markdown == "# Written by hand"


@pytest.mark.parametrize("attributes", [["label_id"], []], ids=["with", "without"])
def test_boxes_reach_an_existing_project_with_and_without_the_attribute(cvat, batch, attributes):
    number = project(cvat, "made in CVAT", ("scratch", "unseen", "particle", "other"), attributes)
    dataset = batch(2)
    with_predictions(dataset)
    unseen.request_annotations(dataset, project="made in CVAT", predictions=True)
    assert list(cvat.projects) == [number]
    shown = cvat.annotator(1).shapes(frame=0)
    assert sorted(s["label"] for s in shown) == ["particle", "unseen", "unseen"]
    first = ranked(dataset).first()
    base = first["unseen_annotation_base"]["unseen_batch_01"]
    by_id = {s["id"]: s for s in shown}
    for box in base:
        x, y, w, h = box["box"]
        expected = [64 * v for v in (x, y, x + w, y + h)]
        assert by_id[box["shape_id"]]["points"] == pytest.approx(expected)
        assert by_id[box["shape_id"]]["label"] == box["label"]


def test_a_project_that_lacks_classes_is_refused_or_extended(cvat, batch):
    number = project(cvat, "wafers", ["particle"])
    dataset = batch(2)
    before = state_of(dataset)
    lacks = r"lacks the labels scratch, unseen; .*extend_project"
    with pytest.raises(AnnotationError, match=lacks):
        unseen.request_annotations(dataset, project="wafers")
    assert (state_of(dataset), cvat.tasks) == (before, {})
    assert [label.name for label in cvat.projects[number].labels] == ["particle"]
    unseen.request_annotations(dataset, project="wafers", extend_project=True)
    assert [label.name for label in cvat.projects[number].labels] == list(ALL)
    assert len(shapes_of(cvat)) == 4


def test_a_project_must_take_rectangles_and_without_suggestions_needs_no_class_for_them(
    cvat, batch
):
    project(cvat, "outlines", type="polygon")
    dataset = batch(2)
    with pytest.raises(AnnotationError, match="is for polygon shapes only"):
        unseen.request_annotations(dataset, project="outlines")
    assert cvat.tasks == {}
    project(cvat, "wafers", ["particle", "scratch"])
    unseen.request_annotations(dataset, project="wafers", suggestions=False)
    assert len(cvat.tasks) == 1


def test_of_projects_that_sound_alike_the_very_one_is_taken(cvat, batch):
    for name in ("Wafers", "wafers 2", "wafers"):
        project(cvat, name)
    unseen.request_annotations(batch(2), project="wafers")
    assert cvat.tasks[1].project.name == "wafers"


def test_overlays_that_were_sent_nowhere_are_taken_away_again(cvat, batch, tmp_path):
    dataset = batch(2)
    with_heatmaps(dataset)
    cvat.creation_error = "no space left on device"
    folder = tmp_path / "models"
    with pytest.raises(ServerError, match="no space left"):
        unseen.request_annotations(dataset, overlay=True, model_dir=str(folder))
    dataset.reload()
    assert [p for p in folder.rglob("*") if p.is_file()] == []
    assert dataset.get_field("unseen_overlay") is None
