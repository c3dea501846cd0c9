"""A batch arrives on the server once, in the order of its ranking, and FiftyOne can work with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cvat_double import NEW, OLD
from cvat_fixtures import running
from cvat_traces import frames_of, ranked, ranked_names, sent_ids, state_of

import unseen
from unseen.annotation.cvat import server
from unseen.errors import AnnotationError, ServerError

pytestmark = pytest.mark.fiftyone


def test_frame_0_of_job_1_of_task_1_is_the_most_novel_image(cvat, batch):
    dataset = batch(7)
    unseen.request_annotations(dataset, task_size=4, segment_size=2)
    names = ranked_names(dataset)
    assert names != sorted(names)
    assert frames_of(cvat) == names
    jobs = [cvat.jobs[n] for n in sorted(cvat.jobs)]
    assert [(j.task.id, *j.frames) for j in jobs] == [(1, 0, 1), (1, 2, 3), (2, 0, 1), (2, 2)]
    uploads = [r for r in cvat.requests if r.method == "POST" and r.path.endswith("/data")]
    assert [name for r in uploads for _, name, _ in r.files] == names
    assert {r.form["sorting_method"] for r in uploads} == {"predefined"}
    assert [t.name.split(" ")[2] for t in cvat.tasks.values()] == ["1-4", "5-7"]
    # Each sample links to its own image in its own job.
    assert ranked(dataset).values("unseen_annotation_url") == [
        f"{cvat.url}/tasks/{job.task.id}/jobs/{job.id}?frame={frame}"
        for job in jobs
        for frame in job.frames
    ]


def test_names_that_occur_twice_and_names_in_any_script_keep_the_order(cvat, batch, tmp_path):
    dataset = batch(6, regions=False)
    names = {
        "b/defect.png": "defect.png",
        "a/defect.png": "defect-3.png",
        "c/defect-2.png": "defect-2.png",
        "a/Ä ö,ß 晶圆.png": "Ä ö,ß 晶圆.png",
        "a/x&amp;y.png": "x_amp;y.png",
        'a/q"q.png': "q_q.png",
    }
    for sample, name in zip(ranked(dataset), names, strict=True):
        target = tmp_path / "odd" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample.filepath, target)
        sample.filepath = str(target)
        sample.save()
    unseen.request_annotations(dataset)
    assert frames_of(cvat) == list(names.values())


def test_every_image_is_checked_against_what_the_server_has(cvat, batch, monkeypatch):
    dataset = batch(3)
    before = state_of(dataset)
    form = server.form
    monkeypatch.setattr("unseen.annotation.cvat.api.form", lambda files, *a: form(files[::-1], *a))
    with pytest.raises(ServerError, match="does not keep the order"):
        unseen.request_annotations(dataset)
    assert cvat.tasks == {}
    assert state_of(dataset) == before


def test_settings_reach_the_server_and_jobs_go_round_the_assignees(cvat, batch):
    cvat.add_organization("fab", [cvat.username])
    for name in ("ann", "bob", "chris"):
        cvat.add_user(name, organization="fab")
    people = {"assignees": ("bob", "ann"), "task_assignee": "chris", "organization": "fab"}
    tracker = "https://issues.example/7"
    unseen.request_annotations(
        batch(6), task_size=2, image_quality=100, issue_tracker=tracker, **people
    )
    assert [j.assignee.username for j in cvat.jobs.values()] == ["bob", "ann", "bob"]
    for task in cvat.tasks.values():
        assert task.assignee.username == "chris"
        assert (task.image_quality, task.bug_tracker) == (100, tracker)
        assert cvat.state.organizations[task.organization].slug == "fab"


def test_sending_twice_is_sending_once(cvat, batch):
    dataset = batch(4)
    first = unseen.request_annotations(dataset)
    cvat.clear_requests()
    second = unseen.request_annotations(dataset)
    assert (first.sent, second.sent, second.images) == (4, 0, 4)
    assert len(cvat.tasks) == 1
    assert {r.method for r in cvat.requests if "auth" not in r.path} == {"GET"}


def test_a_dry_run_checks_everything_and_changes_nothing(cvat, batch):
    dataset = batch(4)
    before = state_of(dataset)
    planned = unseen.request_annotations(
        dataset, dry_run=True, overlay=True, project="not there yet", suggestions=True
    )
    assert (planned.sent, planned.suggestions, planned.dry_run) == (4, 8, True)
    assert state_of(dataset) == before
    assert (cvat.tasks, cvat.projects) == ({}, {})
    assert {r.method for r in cvat.requests if "auth" not in r.path} == {"GET"}
    with pytest.raises(AnnotationError, match="no user 'nobody'"):
        unseen.request_annotations(dataset, dry_run=True, assignees=("nobody",))
    assert unseen.request_annotations(dataset).sent == planned.sent


@pytest.mark.parametrize(
    ("version", "path"), [(OLD, "/api/tasks/1/status"), (NEW, "/api/requests/")]
)
def test_a_server_is_asked_until_the_jobs_are_there(batch, monkeypatch, quick, version, path):
    with running(monkeypatch, version) as cvat:
        cvat.job_delay = 2
        dataset = batch(3)
        unseen.request_annotations(dataset)
        assert frames_of(cvat) == ranked_names(dataset)
        asked = [r for r in cvat.requests if r.path.startswith(path)]
        assert [r.status for r in asked] == [200, 200, 200]


def test_a_test_split_goes_with_its_labels_and_in_directory_order(cvat, batch):
    dataset = batch(2)
    result = unseen.request_annotations(dataset, images="test", suggestions=False)
    test = dataset.match_tags("test").sort_by("filepath")
    assert frames_of(cvat) == [Path(p).name for p in test.values("filepath")]
    ids = set(test.values("ground_truth.detections.id", unwind=True))
    shown = [s for n in cvat.jobs for s in cvat.annotator(n).shapes()]
    assert set(sent_ids(dataset, shown)) == ids
    assert result.labels == len(ids) > 0


LOAD = """
import sys, fiftyone as fo
dataset = fo.load_dataset(sys.argv[1])
dataset.load_annotations("unseen_batch_01", unexpected="ignore")
results = dataset.load_annotation_results("unseen_batch_01")
results.print_status()
results.cleanup()
assert not [name for name in sys.modules if name.startswith("unseen")], "this package was loaded"
"""


def test_fiftyone_alone_can_load_and_clean_up_the_run(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, task_size=2)
    cvat.annotator(1).draw(0, "particle", [8, 16, 24, 32])
    suggestions = ranked(dataset).first().unseen_regions
    done = subprocess.run(
        [sys.executable, "-c", LOAD, dataset.name],
        env=os.environ | {"FIFTYONE_DO_NOT_TRACK": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Status for label field 'ground_truth'" in output
    dataset.reload()
    best = ranked(dataset).first()
    drawn = [(d.label, d.bounding_box) for d in best.ground_truth.detections]
    assert drawn == [("particle", [0.125, 0.25, 0.25, 0.25])]
    assert best.unseen_regions == suggestions
    assert cvat.tasks == {}


#: Answers of the right status and another shape.
MALFORMED = [
    (
        "GET",
        r"/api/jobs\?",
        {"results": [{"id": 1}]},
        "start_frame is NoneType, expected a whole number",
    ),
    ("GET", r"/api/jobs\?", {"results": [7]}, r"results\[0\] is int, expected an object"),
    ("GET", r"/api/jobs\?", {"count": 1}, "results is NoneType, expected a list"),
    ("GET", "/data/meta", {"size": 2, "frames": {}, "deleted_frames": []}, "frames is dict"),
    ("GET", "/api/labels", {"results": [{"id": "1", "name": "a", "attributes": []}]}, "id is str"),
    ("PUT", "/annotations$", {"shapes": [{"id": True, "frame": 0}]}, "id is bool"),
    ("POST", "/api/tasks$", {"name": "task"}, "id is NoneType"),
]


def test_an_answer_of_another_shape_is_named_and_leaves_nothing(cvat, batch):
    dataset = batch(2)
    before = state_of(dataset)
    for method, path, answer, message in MALFORMED:
        cvat.fail(method, path, status=200, json=answer)
        with pytest.raises(AnnotationError, match=f"answered {method} /api/.*{message}"):
            unseen.request_annotations(dataset)
        assert (cvat.tasks, state_of(dataset)) == ({}, before), message
    assert unseen.request_annotations(dataset).sent == 2
