"""What is left to label in the App: its order, what comes next, and "nothing here"."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.annotation import queue
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def loop(make_wafers):
    """Six unlabelled images, four of them initial, and two of the test split with labels."""
    dataset = make_wafers(6, labelled=0, test=2)
    unseen.split_dataset(dataset, initial=4)
    return Loop(dataset, Names())


def test_what_comes_next_is_behind_the_open_image_and_begins_anew_at_the_end():
    line = queue.Queue("initial", ["a", "b", "c", "d"], ["a", "c"])
    following = {"a": "c", "b": "c", "c": "a", "d": "a", "elsewhere": "a", None: "a"}
    assert {current: line.after(current) for current in following} == following
    assert queue.Queue("initial", ["a", "b"], ["b"]).after("b") == "b"
    assert queue.Queue("initial", ["a"], []).after("a") is None
    assert queue.Queue("initial", [], []).after(None) is None


def test_images_are_labelled_by_rank_else_by_path(loop):
    dataset = loop.dataset
    initial = queue.read_queue(loop, "initial")
    assert initial.ids == initial.waiting == dataset.match_tags("initial").values("id")
    assert queue.read_queue(loop, "test").waiting == []
    assert queue.read_queue(loop, "nowhere").ids == []
    unseen.request_annotations(dataset, images="initial", backend="app", classes=("particle",))
    queue.mark_empty(loop, initial.ids)
    unseen.load_annotations(dataset)
    unseen.select_batch(dataset, budget=2, strategy="random")
    batch = queue.read_queue(loop, "batch_01")
    assert batch.ids == dataset.load_saved_view("batch_01").values("id")
    dataset.select(batch.ids[0]).tag_samples("excluded")
    assert queue.read_queue(loop, "batch_01").waiting == batch.ids[1:]


def test_the_splits_have_views_that_follow_their_tags_and_go_with_the_rest(loop):
    dataset = loop.dataset
    for tag, count in (("initial", 4), ("test", 2)):
        assert queue.in_order(loop, tag).values("id") == queue.read_queue(loop, tag).ids
        assert len(dataset.load_saved_view(tag)) == count
    unseen.split_dataset(dataset, initial=3)
    assert len(dataset.load_saved_view("initial")) == 3
    unseen.clean_dataset(dataset)
    assert dataset.list_saved_views() == []


def test_a_view_of_the_user_stays(make_wafers):
    dataset = make_wafers(6, labelled=0, test=2)
    dataset.save_view("test", dataset.limit(1))
    unseen.split_dataset(dataset, initial=4)
    assert len(dataset.load_saved_view("test")) == 1
    assert len(queue.in_order(Loop(dataset, Names()), "test")) == 2


def test_nothing_here_is_an_answer_for_unlabelled_images_alone(loop):
    dataset, (first, second, *_) = loop.dataset, queue.read_queue(loop, "initial").ids
    with pytest.raises(DatasetError, match="no image is open or selected"):
        queue.mark_empty(loop, [])
    drawn = dataset[second]
    drawn["ground_truth"] = fo.Detections(
        detections=[fo.Detection(label="particle", bounding_box=[0, 0, 0.5, 0.5])]
    )
    drawn.save()
    with pytest.raises(LabelError, match=r"1 of 2 images have labels in 'ground_truth'"):
        queue.mark_empty(loop, [first, second])
    assert dataset[first].ground_truth is None
    assert queue.mark_empty(loop, [first]) == 1
    assert queue.mark_empty(loop, [first]) == 0
    assert dataset[first].ground_truth.detections == []
    assert dataset[first].unseen_ground_truth_labelled["step"] == "mark_empty"
    assert first not in queue.read_queue(loop, "initial").waiting


def test_nothing_here_can_be_said_of_any_image_of_the_pool(loop):
    (outside,) = loop.dataset.match_tags(["initial", "test"], bool=False).limit(1).values("id")
    queue.mark_empty(loop, [outside])
    assert outside in loop.labelled_ids()
