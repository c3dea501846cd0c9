"""What people do in CVAT's own pages with tasks, frames and tokens, in both versions."""

from __future__ import annotations

import pytest
from cvat_double import NEW
from cvat_double_things import Project
from cvat_fixtures import both_versions, running
from cvat_traces import BOX, SAME_BOX, finish, ranked, truth

import unseen
from unseen.errors import AnnotationError, ServerError

pytestmark = [pytest.mark.fiftyone]

CLASSES = ("particle", "scratch")


@pytest.fixture
def labelled(cvat, batch, annotator):
    """Two images in the test split with boxes, in two jobs of one task of an organization."""
    cvat.add_organization("fab", members=[cvat.username])
    dataset = batch(2)
    unseen.request_annotations(
        dataset, images="test", classes=CLASSES, segment_size=1, organization="fab"
    )
    return dataset


def labels_of(dataset):
    """What is stored as labels of each image of the test split."""
    return [s.ground_truth.to_dict() for s in dataset.match_tags("test").sort_by("filepath")]


# workspaces


@both_versions
@pytest.mark.parametrize("home", [None, "lab"])
def test_a_task_in_another_workspace_comes_back(cvat, labelled, annotator, home):
    cvat.add_organization("lab", members=[cvat.username])
    cvat.move_to_workspace(1, home)
    finish(annotator(0))
    status = unseen.list_annotations(labelled).batches[0]
    assert (status.problem, status.images_waiting) == (None, 1)
    assert unseen.load_annotations(labelled).added == {"particle": 1}
    annotator(1).set(state="completed")
    assert unseen.load_annotations(labelled).closed == ["unseen_test"]


@both_versions
def test_a_task_that_shows_no_jobs_is_told_and_the_others_come_back(cvat, batch, annotator):
    cvat.add_organization("fab", members=[cvat.username])
    cvat.add_organization("lab")
    dataset = batch(2)
    unseen.request_annotations(dataset, classes=CLASSES, task_size=1, organization="fab")
    cvat.state.user_named(cvat.username).is_admin = False
    cvat.move_to_workspace(1, "lab")
    finish(annotator(1))
    problem = r"task 1 \(.*\) is in organization 2 and shows 'fo_user' none of its jobs"
    for _ in range(2):
        with pytest.raises(ServerError, match=problem):
            unseen.load_annotations(dataset)
        assert truth(dataset) == [None, [SAME_BOX]]
    assert "none of its jobs" in unseen.list_annotations(dataset).batches[0].problem
    with pytest.raises(ServerError, match=problem):
        unseen.next_iteration(dataset)  # no silent wait


# projects


def project(cvat, names=("unseen", *CLASSES, "other")):
    """The id of a project made in CVAT, with labels of its own."""
    made = cvat.state.next_id("project")
    owner, now = cvat.state.user_named(cvat.username), cvat.state.clock.now()
    labels = [cvat.state.make_label({"name": name}) for name in names]
    cvat.projects[made] = Project(made, "theirs", owner, now, now, labels)
    return made


@both_versions
def test_a_task_that_moves_into_a_project_keeps_classes_and_loses_no_value(
    cvat, labelled, annotator
):
    first, second = annotator(0), annotator(1)
    label = cvat.tasks[1].label("particle")
    label.attributes.append(
        cvat.state.make_attribute({"name": "size", "values": [], "mutable": True})
    )
    drawn = first.draw(0, "particle", BOX, values={"size": "large"})
    first.set(state="completed")
    unseen.load_annotations(labelled)
    before = labels_of(labelled)

    cvat.move_to_project(1, project(cvat))
    result = unseen.load_annotations(labelled)
    assert (result.written, result.deleted, result.oddities) == (0, {}, {})
    assert "deleted on the server" not in result.summary()
    assert labels_of(labelled) == before

    # From now on deletions count again, and so do values.
    first.delete(drawn)
    first.set(state="completed")
    assert unseen.load_annotations(labelled).deleted == {"particle": 1}
    for worker in (first, second):
        worker.set(state="completed")
    finish(second, frame=1, label="scratch")
    assert unseen.load_annotations(labelled).added == {"scratch": 1}
    assert unseen.load_annotations(labelled).written == 0


def test_a_move_between_two_requests_deletes_nothing(cvat, labelled, annotator, monkeypatch):
    finish(annotator(0))
    unseen.load_annotations(labelled)
    held, number = labels_of(labelled), project(cvat)
    note, waiting = cvat.note, [1]

    def move(request):
        fault = note(request)
        if request.path.startswith("/api/labels") and waiting:
            cvat.move_to_project(waiting.pop(), number)
        return fault

    annotator(1).set(state="completed")
    monkeypatch.setattr(cvat, "note", move)
    assert unseen.load_annotations(labelled).deleted == {}
    assert not waiting
    assert labels_of(labelled) == held


def test_the_only_class_deleted_and_made_again_is_no_move(cvat, batch, annotator):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=["particle"], suggestions=False)
    finish(annotator())
    unseen.load_annotations(dataset)
    cvat.delete_label(1, "particle")
    cvat.add_label(1, "particle")
    annotator().set(state="completed")
    result = unseen.load_annotations(dataset)
    assert "was deleted on the server" in result.summary()
    assert truth(dataset) == [[SAME_BOX]]


# frames


@both_versions
def test_frames_removed_and_restored_after_the_end_are_noticed(cvat, labelled, annotator):
    for position in (0, 1):
        annotator(position).set(state="completed")
    assert unseen.load_annotations(labelled).closed == ["unseen_test"]
    worker = annotator(0)
    date = worker.job.updated_date
    for change, removed in ((worker.delete_frame, 1), (worker.restore_frame, 0)):
        change(0)
        assert worker.job.updated_date == date  # CVAT dates no such change
        assert unseen.list_annotations(labelled).batches[0].images_waiting == 1
        result = unseen.load_annotations(labelled)
        assert (result.jobs_loaded, result.removed) == (1, removed)
        states = labelled.match_tags("test").sort_by("filepath").values("unseen_annotation")
        assert states == [["loaded", "removed"][removed], "loaded"]
        assert not unseen.list_annotations(labelled).batches[0].waiting
        assert unseen.load_annotations(labelled).jobs_loaded == 0


# tokens and logins


def test_a_read_only_token_is_found_before_anything_is_sent(batch, monkeypatch, quick):
    with running(monkeypatch, NEW) as cvat:
        admin = cvat.state.user_named(cvat.username)
        monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", cvat.add_token(admin).value)
        dataset = batch(1)
        for dry_run in (True, False):
            with pytest.raises(AnnotationError, match=r"'token 2' .* is read-only.*switched off"):
                unseen.request_annotations(dataset, dry_run=dry_run)
        assert {request.method for request in cvat.requests} == {"GET"}
        monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", cvat.access_token)
        assert unseen.request_annotations(dataset, classes=CLASSES).sent == 1
        finish(cvat.annotator(1))
        # To take labels back it suffices.
        monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", cvat.add_token(admin).value)
        assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]
        assert len(ranked(dataset).first().ground_truth.detections) == 1


def test_a_login_is_repeated_while_a_proxy_says_that_the_server_is_not_up(cvat, batch):
    cvat.fail("POST", "/api/auth/login", status=502, times=2)
    assert unseen.request_annotations(batch(1)).sent == 1
