"""What was really labelled is on record, and views only choose samples."""

import shlex

import fiftyone as fo
import pytest
from fiftyone import ViewField as F

import unseen
from unseen.dataset import labelling, reading
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ConfigError, DatabaseError, DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

IS_PARTICLE = F("label") == "particle"


@pytest.fixture
def wafers(make_wafers):
    """Six pool images, three of them labelled, and two test images; set up, so there is a record."""
    dataset = make_wafers(6, labelled=3, test=2)
    unseen.prepare_dataset(dataset, initial=1, screen=False, initial_order="directory")
    return dataset


def paths(view):
    return sorted(view.values("filepath"))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.filter_labels("ground_truth", IS_PARTICLE, only_matches=False),
        lambda d: d.filter_field("ground_truth.detections.label", F() == "x", only_matches=False),
        lambda d: d.map_labels("ground_truth", {"particle": "dust"}),
        lambda d: d.set_field("ground_truth.detections", []),
        lambda d: d.limit_labels("ground_truth", 0),
        lambda d: d.exclude_labels(tags="none", fields="ground_truth"),
        lambda d: d.exclude_fields("ground_truth"),
        lambda d: d.select_fields("hidden_truth"),
        lambda d: d.mongo([{"$set": {"ground_truth": None}}]),
    ],
)
def test_a_view_chooses_samples_and_changes_nothing_else(wafers, change):
    view = change(wafers.match_tags("test", bool=False)).skip(1)
    opened = Loop(reading.open_collection(view))
    assert opened.view.values("id") == wafers.match_tags("test", bool=False).skip(1).values("id")
    assert opened.labelled.values("ground_truth") == wafers.limit(3).skip(1).values("ground_truth")
    backwards = change(wafers.sort_by("filepath", reverse=True))
    order = reading.open_collection(backwards).values("filepath")
    assert order == sorted(order, reverse=True)


def test_a_view_that_only_chooses_samples_stays_as_it_is(wafers):
    view = wafers.match(F("ground_truth").exists()).sort_by("filepath").limit(2)
    assert reading.open_collection(view) is view


def test_what_is_labelled_is_recorded_with_step_time_and_iteration(wafers):
    field = Names().labelled
    recorded = wafers.exists(field)
    assert paths(recorded) == paths(wafers.exists("ground_truth"))
    assert {r["step"] for r in recorded.values(field)} == {"prepare_dataset"}
    before = recorded.values(field)
    unseen.reveal_labels(wafers, iteration=0)
    unseen.prepare_dataset(wafers, initial=1, screen=False, initial_order="directory")
    assert recorded.values(field) == before  # who was first stays
    assert len(labelling.ids_until(Loop(wafers), 0)) == 5
    unseen.clean_dataset(wafers)
    assert wafers.get_field(field) is None


def test_empty_lists_that_nobody_answers_for_are_unlabelled_until_they_are_settled(wafers):
    loop = lambda: Loop(wafers)  # noqa: E731 - what a loop has seen is kept, and read anew here
    labelled, pool = paths(loop().labelled), paths(loop().pool)
    wafers.map_labels("ground_truth", {"scratch": "line"}).save()
    assert wafers.values("ground_truth").count(None) == 0  # what FiftyOne does
    assert paths(loop().labelled) == labelled
    assert paths(loop().pool) == pool
    trained = unseen.train_unet(wafers, steps=1)
    assert trained.images == 3
    assert "3 images have an empty list" in trained.summary()
    assert unseen.repair_labels(wafers, dry_run=True).images == 3

    confirmed = unseen.repair_labels(wafers.match({"filepath": pool[0]}), empty_lists="labelled")
    assert confirmed.images == 1
    assert paths(loop().pool) == pool[1:]
    assert unseen.repair_labels(wafers).images == 2
    assert wafers.values("ground_truth").count(None) == 2
    assert "nothing to repair" in unseen.repair_labels(wafers).summary()
    assert paths(loop().pool) == pool[1:]


def test_an_empty_list_is_an_answer_where_one_was_asked_for(wafers):
    unseen.split_dataset(wafers, initial=5)
    asked = wafers.match_tags("initial").exists("ground_truth", False).first()
    asked["ground_truth"] = fo.Detections()
    asked.save()
    assert asked.id in Loop(wafers).labelled_ids()
    wafers.map_labels("ground_truth", {"scratch": "line"}).save()  # nobody was asked all of that
    assert asked.id not in Loop(wafers).labelled_ids()


def test_without_a_record_every_list_counts(make_wafers):
    dataset = make_wafers(4, labelled=2, test=0)
    last = dataset.last()
    last["ground_truth"] = fo.Detections()
    last.save()
    assert len(Loop(dataset).labelled) == 3
    assert labelling.notes(Loop(dataset)) == []


def test_labels_that_disappeared_are_said(wafers):
    first = wafers.first()
    first["ground_truth"] = None
    first.save()
    assert len(Loop(wafers).labelled) == 2
    assert "1 images were labelled and have no labels" in " ".join(labelling.notes(Loop(wafers)))


def test_a_class_found_later_joins_and_is_named(wafers):
    wafers.classes = {"ground_truth": ["particle", "scratch"]}
    wafers.save()
    for view in (wafers, wafers.match_tags("test")):
        sample = view.first()
        sample.ground_truth.detections.append(
            fo.Detection(label="stain", bounding_box=[0, 0, 1, 1])
        )
        sample.save()
    loop = Loop(wafers)
    assert loop.classes() == ["particle", "scratch", "stain"]
    assert loop.classes(["particle"]) == ["particle"]
    assert labelling.notes(loop) == [
        "New class 'stain' (2 boxes) is not in the class list; it joins."
    ]


def test_class_names_that_read_alike_are_named_with_the_way_to_join_them(wafers):
    loop = Loop(wafers)
    odd = iter([" particle", "PARTICLE", "particle ", "\uff50article"])
    for sample in wafers.limit(4):
        sample.ground_truth = fo.Detections(
            detections=[
                fo.Detection(label=label, bounding_box=[0.1, 0.1, 0.2, 0.2])
                for label in ("particle", next(odd))
            ]
        )
        sample.save()
    (note,) = labelling.notes(loop)
    assert "differ only in case, spaces or Unicode form" in note
    command = shlex.split(note.split("`")[1])
    assert command[:2] == ["unseen", "rename-classes"]
    done = unseen.rename_classes(command[2], rename=command[4])
    assert sum(done.renamed.values()) == 4
    assert labelling.notes(loop) == []
    assert "particle" in loop.classes()


def test_renaming_touches_boxes_and_lists_and_nothing_else(wafers):
    wafers.classes = {"ground_truth": ["particle", "scratch"]}
    wafers.save()
    before = wafers.values("ground_truth.detections.label")
    held = wafers.first()  # a sample that somebody holds
    planned = unseen.rename_classes(wafers, rename="particle=dust", dry_run=True)
    assert wafers.values("ground_truth.detections.label") == before
    assert planned.classes == ["dust", "scratch"]

    done = unseen.rename_classes(wafers, rename=("particle=scratch", "scratch=particle"))
    swap = {"particle": "scratch", "scratch": "particle"}
    after = [labels and [swap[x] for x in labels] for labels in before]
    assert wafers.values("ground_truth.detections.label") == after
    assert [d.label for d in held.ground_truth.detections] == after[0]
    assert wafers.values("ground_truth").count(None) == 3
    assert done.images == 5
    wafers.reload()
    assert wafers.classes["ground_truth"] == ["scratch", "particle"]


@pytest.mark.parametrize(
    ("rename", "error", "named"),
    [
        ("particle", ConfigError, "expected OLD=NEW"),
        ("=dust", ConfigError, "expected OLD=NEW"),
        ("particle=", ConfigError, "expected OLD=NEW"),
        ("particle=particle", ConfigError, "renames nothing"),
        ("particle=a,particle=b", ConfigError, "twice"),
        ("dust=x", LabelError, "no class 'dust'"),
        ("particle=unseen", LabelError, "class 'unseen'"),
    ],
)
def test_a_wrong_renaming_is_refused(wafers, rename, error, named):
    with pytest.raises(error, match=named):
        unseen.rename_classes(wafers, rename=rename)


def test_a_class_that_is_with_the_annotators_is_not_renamed(wafers):
    unseen.request_annotations(wafers, images="initial", backend="app", classes=("particle",))
    with pytest.raises(AnnotationError, match="load it first"):
        unseen.rename_classes(wafers, rename="particle=dust")


def test_tags_of_other_people_stay(make_wafers):
    dataset = make_wafers(8, labelled=0, test=0)
    dataset.limit(3).tag_samples(["initial", "excluded"])
    tags = dataset.values("tags")
    for step in (unseen.split_dataset, unseen.prepare_dataset):
        with pytest.raises(DatasetError, match=r"3 samples .*'initial'.*initial_tag"):
            step(dataset, initial=2)
    assert dataset.values("tags") == tags
    unseen.screen_images(dataset, min_contrast=0.9)  # everything is blank by that
    assert dataset.count_sample_tags()["excluded"] == 8
    unseen.clean_dataset(dataset)
    assert dataset.values("tags") == tags
    unseen.split_dataset(dataset, initial=2, initial_tag="unseen_initial", test_count=1)
    assert dataset.count_sample_tags()["unseen_initial"] == 2
    unseen.split_dataset(dataset, initial=3, initial_tag="unseen_initial")  # ours: written over
    unseen.clean_dataset(dataset)
    assert dataset.values("tags") == tags


def test_crowds_are_no_boxes_of_a_record_nor_of_a_reveal(wafers):
    """Also those that FiftyOne marked in the way of its older versions."""
    marks = ({"iscrowd": 1}, {"attributes": {"iscrowd": fo.BooleanAttribute(value=True)}})
    where = {"label": "particle", "bounding_box": [0, 0, 0.5, 0.5]}
    sample = wafers.match_tags("initial").first()
    crowds = [fo.Detection(**where, **mark) for mark in marks]
    boxes = [fo.Detection(**where, iscrowd=0), fo.Detection(**where), *crowds]
    sample["hidden_truth"] = fo.Detections(detections=boxes)
    sample["ground_truth"] = None
    sample.save()
    before = Loop(wafers).label_facts()
    result = unseen.reveal_labels(wafers, iteration=0)
    assert (result.boxes, result.class_counts) == (2, {"particle": 2})
    after = Loop(wafers).label_facts()
    assert after["labelled_images"] == before["labelled_images"] + 1
    assert after["class_counts"]["particle"] == before["class_counts"]["particle"] + 2
    assert len(wafers[sample.id].ground_truth.detections) == 4


def test_a_query_too_large_for_the_database_is_refused_with_the_remedy(wafers):
    view = wafers.mongo([{"$match": {"filepath": {"$ne": "x" * 17_000_000}}}])
    with pytest.raises(DatabaseError, match=r"16 MB .* 400,000 samples by id.*match_tags"):
        unseen.screen_images(view)
