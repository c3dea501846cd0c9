"""Images that the server sees itself are named, in rank order, and nothing is uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from cvat_traces import frames_of, ranked, state_of

import unseen
from unseen.annotation.cvat import references
from unseen.errors import AnnotationError, ConfigError

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def folder(batch):
    """A batch of five images, and the folder that holds them."""
    dataset = batch(5)
    return dataset, Path(dataset.first().filepath).parent


def sent_data(cvat):
    return [r for r in cvat.requests if r.method == "POST" and r.path.endswith("/data")]


@pytest.mark.parametrize("storage", [None, 3])
def test_images_are_named_in_rank_order_and_come_back(cvat, folder, annotator, storage):
    dataset, here = folder
    if storage is None:
        cvat.share = here.parent
    else:
        cvat.clouds[storage] = here.parent
    there = here.name if storage is None else f"{storage}:{here.name}/"
    result = unseen.request_annotations(
        dataset, task_size=3, classes=("particle",), by_reference=f"{here}={there}"
    )
    images = ranked(dataset)
    names = [f"{here.name}/{Path(path).name}" for path in images.values("filepath")]
    assert frames_of(cvat) == names
    posts = sent_data(cvat)
    assert [name for r in posts for name in r.json["server_files"]] == names
    assert {(*r.files, r.json["sorting_method"]) for r in posts} == {("predefined",)}
    assert {r.json.get("cloud_storage_id") for r in posts} == {storage}
    assert (result.sent, "named on" in result.summary()) == (5, True)
    annotator(1).draw(1, "particle", [8, 16, 24, 32])
    annotator(1).set(state="completed")
    unseen.load_annotations(dataset)
    labels = images.values("ground_truth.detections.label")
    assert labels == [None, None, None, [], ["particle"]]


def test_copies_with_something_drawn_in_are_uploaded(cvat, folder):
    dataset, here = folder
    cvat.share = here
    options = {"regions_only": True, "by_reference": f"{here}=", "task_size": 2}
    plain = ranked(dataset).limit(2)
    plain.set_values("unseen_regions", [None, None])
    unseen.request_annotations(dataset, classes=("particle",), **options)
    assert [bool(r.files) for r in sent_data(cvat)] == [False, True, True]


@pytest.mark.parametrize(
    ("share", "mapping", "message"),
    [
        (True, "{here}=elsewhere", "cannot be listed .* is an invalid directory"),
        (False, "{here}=", "cannot be listed"),
        (True, "{here}=7:", "cloud storage 7 of CVAT.* cannot be listed"),
        (True, "/elsewhere={name}", "is not below /elsewhere"),
        (True, "{here}=other", "5 of 5 images are not on the share of CVAT, below 'other'"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_wrong_mapping_is_said_before_anything_is_made(
    cvat, folder, tmp_path, share, mapping, message, dry_run
):
    dataset, here = folder
    before = state_of(dataset)
    if share:
        cvat.share = tmp_path
        (tmp_path / "other").mkdir()
    wrong = mapping.format(here=here, name=here.name)
    with pytest.raises(AnnotationError, match=message):
        unseen.request_annotations(dataset, by_reference=wrong, dry_run=dry_run)
    assert (cvat.tasks, state_of(dataset)) == ({}, before)


@pytest.mark.parametrize("text", ["/data", "=fab", "/data=x:fab", "/data=1:2:3", "/data=a/../b"])
def test_a_mapping_that_cannot_be_read_is_said(text):
    with pytest.raises(ConfigError, match="expected HERE=THERE"):
        references.parse(text)


@pytest.mark.parametrize(
    ("text", "folder", "storage", "prefix"),
    [
        ("/data/images=fab/", "/data/images", None, "fab"),
        ("/data/images=/", "/data/images", None, "."),
        ("/data/images/=12:a/b", "/data/images", 12, "a/b"),
    ],
)
def test_a_mapping_is_read(text, folder, storage, prefix):
    read = references.parse(text)
    assert (str(read.folder), read.storage, str(read.prefix)) == (folder, storage, prefix)
