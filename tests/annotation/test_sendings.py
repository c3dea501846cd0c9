"""The record of what was handed to annotators."""

from __future__ import annotations

from dataclasses import replace

import bson
import fiftyone as fo
import pytest

from unseen.annotation import sendings
from unseen.annotation.sendings import Sending, SentTask
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.runs import update_run
from unseen.errors import AnnotationError

pytestmark = pytest.mark.fiftyone

CLASSES = ["1.5um", "$pike", "a.b", "1\uff0e5", "\uff04"]


def sending(**values):
    task = SentTask(
        task_id=3,
        name="task",
        sample_ids=["a", "b"],
        first_rank=1,
        url="http://x/tasks/3",
        labels={name: number for number, name in enumerate(CLASSES)},
        sent_at="2026-01-01",
        loaded={"7": {"at": "now", "updated": "then", "finished": True}},
    )
    facts = {
        "anno_key": "unseen_batch_01",
        "images": "batch",
        "iteration": 1,
        "backend": "cvat",
        "label_field": "ground_truth",
        "classes": CLASSES,
        "parameters": {"classes": CLASSES, "url": None},
        "token": "t",
        "started_at": "2026-01-01T00:00:00+00:00",
        "tasks": [task],
    }
    return Sending(**{**facts, **values})


def test_a_record_comes_back_as_it_was_whatever_the_classes_are_called(empty):
    sendings.write_sending(Loop(empty, Names()), sending())
    empty.reload()
    assert sendings.read_sending(Loop(empty, Names()), "unseen_batch_01") == sending()
    changed = sending(closed=True)
    sendings.write_sending(Loop(empty, Names()), changed)
    assert sendings.read_sendings(Loop(empty, Names())) == [changed]
    assert empty.list_runs() == ["unseen_batch_01_sending"]


def test_records_come_oldest_first_and_each_loop_has_its_own(empty):
    other = Names(series="b")
    late = sending(anno_key="unseen_a", started_at="2026-01-02T00:00:00+00:00")
    second = sending(anno_key="unseen_b", iteration=2)
    for one in (late, second, sending()):
        sendings.write_sending(Loop(empty, Names()), one)
    sendings.write_sending(Loop(empty, other), sending(anno_key="unseen_b_batch_01"))
    keys = [s.anno_key for s in sendings.read_sendings(Loop(empty, Names()))]
    assert keys == ["unseen_batch_01", "unseen_b", "unseen_a"]
    assert [s.anno_key for s in sendings.find_sendings(Loop(empty, other), None)] == [
        "unseen_b_batch_01"
    ]
    assert sendings.read_sendings(Loop(empty, Names(prefix="mine"))) == []
    with pytest.raises(AnnotationError, match=r"'unseen_b_batch_01'.*there are: unseen_batch_01"):
        sendings.find_sendings(Loop(empty, Names()), "unseen_b_batch_01")


def test_a_task_that_is_gone_has_no_images_out():
    gone = replace(sending().tasks[0], gone=True, sample_ids=["c"])
    mixed = sending(tasks=[sending().tasks[0], gone], sample_ids=["d"])
    assert mixed.sent_ids() == ["d", "a", "b"]
    assert [t.gone for t in mixed.live_tasks] == [False]


def test_labels_go_into_the_field_that_they_were_sent_from():
    sendings.check_label_field([sending()], Names())
    with pytest.raises(AnnotationError, match=r"pass label_field='ground_truth'"):
        sendings.check_label_field([sending()], Names(label_field="labels"))


def test_a_task_is_written_without_the_others(empty, monkeypatch):
    loop, sent, sizes = Loop(empty, Names()), sending(tasks=[]), []

    def noted(dataset, key, update):
        sizes.append(len(bson.encode(update)))
        update_run(dataset, key, update)

    monkeypatch.setattr(sendings, "update_run", noted)
    sendings.write_sending(loop, sent)
    for number in range(10):
        sent.tasks.append(replace(sending().tasks[0], task_id=number))
        sendings.write_task(loop, sent, sent.tasks[-1])
    sent.tasks[3].gone, sent.classes = True, [*CLASSES, "new"]
    sendings.write_task(loop, sent, sent.tasks[3])
    assert len(set(sizes[:-1])) == 1
    assert sendings.read_sending(loop, sent.anno_key) == sent
    sent.closed = True
    sendings.write_sending(loop, sent)
    assert sendings.read_sendings(loop) == [sent]


def test_a_write_leaves_samples_in_memory_alone(empty, monkeypatch):
    monkeypatch.setattr(fo.Dataset, "reload", lambda self: pytest.fail("all samples are reloaded"))
    sendings.write_sending(Loop(empty, Names()), sending())
