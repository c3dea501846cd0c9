"""Whatever annotators do, however often loads are repeated, undone, cut short or killed, and
whatever else is asked for meanwhile: in the end the labels are those of one clean load.

The histories run on one dataset and one double, which are put back after each, without HTTP and
without FiftyOne's conversions of records: so thousands can be tried. Other tests have all of that.
"""

from __future__ import annotations

import contextlib
import functools

import fiftyone as fo
import fiftyone.core.odm as foo
import pytest
from cvat_double import NEW, OLD
from cvat_double_direct import Direct
from cvat_double_things import Project
from cvat_fixtures import running
from cvat_traces import ranked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_runs import PlainRuns
from pymongo import ReplaceOne

import unseen
from unseen.annotation import sendings
from unseen.annotation.cvat import receive
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import ServerError, UnseenError
from unseen.progress import silent
from unseen.steps.load_annotations import LoadConfig

# A profile may ask for very many examples.
pytestmark = [pytest.mark.fiftyone, pytest.mark.timeout(0)]

CLASSES = ("particle", "scratch")
IMAGES, PER_JOB = 4, 2

EDITS = ("draw", "draw", "move", "relabel", "delete", "copy", "finish", "reopen")
MOVES = ("rename the class", "move into the project", "transfer", "remove", "restore")
#: A webhook wakes a load; one may be lost, arrive twice, or late, when other jobs have changed.
LOADS = ("load", "load all", "load twice", "load and lose the network", "load and be killed")
STEPS = {
    "load as a step": functools.partial(unseen.load_annotations, jobs="all"),
    "undo": unseen.undo_annotations,
    "undo the undo": unseen.undo_annotations,
    "send": unseen.request_annotations,
    "select": functools.partial(unseen.select_batch, budget=1, strategy="random"),
}
#: Events in the life of a batch: who does what, with numbers that choose image and shape.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from((*EDITS, *EDITS, *MOVES, *LOADS, *LOADS, *STEPS)),
        st.integers(0, IMAGES - 1),
        st.integers(0, 40),
    ),
    min_size=3,
    max_size=16,
)


class World:
    """A sent batch of `IMAGES` images, on a server and in a dataset, that can be put back."""

    def __init__(self, cvat, dataset, monkeypatch):
        self.cvat, self.dataset, self.monkeypatch = cvat, dataset, monkeypatch
        self.loop = Loop(dataset, Names())
        self.sent = dataset.match_tags("batch_01").values("id")
        self.send = {"classes": CLASSES, "segment_size": PER_JOB, "organization": "fab"}
        cvat.add_organization("fab", members=[cvat.username])
        cvat.state.start_ids(label=100)
        labels = [cvat.state.make_label({"name": name}) for name in ("unseen", *CLASSES)]
        owner, now = cvat.state.user_named(cvat.username), cvat.state.clock.now()
        cvat.projects[1] = Project(1, "theirs", owner, now, now, labels)
        unseen.request_annotations(dataset, **self.send)
        server, stored = cvat.state.save(), self.documents()
        cvat.annotator(1).set(state="completed")  # what loads and undos declare stays declared
        unseen.load_annotations(dataset)
        unseen.undo_annotations(dataset)
        description = self.documents()["datasets"][0]
        for name in ("runs", "annotation_runs"):
            description[name] = stored["datasets"][0][name]
        self.server, self.stored = server, {**stored, "datasets": [description]}
        self.records = PlainRuns(monkeypatch)

    def documents(self):
        """Everything that the database holds of the dataset."""
        database, mine = foo.get_db_conn(), {"_dataset_id": self.dataset._doc.id}
        return {
            "datasets": [database.datasets.find_one({"_id": self.dataset._doc.id})],
            "runs": list(database.runs.find(mine)),
            self.dataset._sample_collection_name: list(self.dataset._sample_collection.find()),
        }

    def put_back(self):
        """As it was when the batch was just sent."""
        self.cvat.state.restore(self.server)
        self.cvat.clear_requests()
        self.records.results.clear()
        database, mine = foo.get_db_conn(), {"_dataset_id": self.dataset._doc.id}
        for name, documents in self.stored.items():
            ids = [document["_id"] for document in documents]
            if name != "datasets":
                database[name].delete_many(
                    {"_id": {"$nin": ids}, **(mine if name == "runs" else {})}
                )
            writes = [ReplaceOne({"_id": d["_id"]}, d, upsert=True) for d in documents]
            database[name].bulk_write(writes)

    # what happens

    def act(self, event, frame, number):
        """Let an annotator do something."""
        job = next(j for j in self.cvat.jobs.values() if frame in j.frames)
        worker, task = self.cvat.annotator(job.id), job.task
        shapes = worker.shapes(frame)
        box = [number, number, number + 10 + frame, number + 12]
        names = [label.name for label in task.labels if label.name != "unseen"]
        if event == "draw":
            worker.draw(frame, names[number % 2], box)
        elif event == "finish":
            worker.set(state="completed")
        elif event == "reopen":
            worker.set(state="in progress")
        elif event == "remove":
            worker.delete_frame(frame)
        elif event == "restore":
            worker.restore_frame(frame)
        elif event == "transfer":
            self.cvat.move_to_workspace(task.id, None if task.organization else "fab")
        elif event == "move into the project":
            # A class that has another name by now is unknown after a move.
            if task.project is None and set(CLASSES) == set(names):
                self.cvat.move_to_project(task.id, 1)
        elif event == "rename the class":
            if task.project is None:
                self.cvat.rename_label(task.id, names[0], f"{names[0]}{number}")
        elif shapes:
            shape = shapes[number % len(shapes)]["id"]
            if event == "move":
                worker.move(shape, box)
            elif event == "relabel":
                worker.relabel(shape, [*names, "unseen"][number % 3])
            elif event == "delete":
                worker.delete(shape)
            elif event == "copy":
                worker.copy(shape, job.start_frame + (frame + 1) % PER_JOB)

    def ask(self, event):
        """Run a step, which may refuse; what was sent stays in its batch."""
        settings = {}
        if event == "undo the undo":
            undos = [key for key in self.dataset.list_runs() if "_snapshot_" in key]
            settings = {"snapshot": undos[-1] if undos else "none"}
        elif event == "send":
            settings = {"images": "batch", **self.send}
        with contextlib.suppress(UnseenError):
            STEPS[event](self.dataset, **settings)
        assert self.dataset.match_tags("batch_01").values("id") == self.sent

    def load(self, jobs="finished"):
        """Load without the step around it."""
        tally = receive.Tally()
        runs = sendings.read_sendings(self.loop)
        receive.load(self.loop, LoadConfig(jobs=jobs), runs, tally, silent)
        return tally

    def load_somehow(self, event, number):
        """Load as the event says; one that is cut short or killed does not end the history."""
        if event in ("load", "load twice"):
            self.load()
            if event == "load twice":
                self.load()
        elif event == "load all":
            self.load("all")
        elif event == "load and lose the network":
            self.cvat.fail("GET", "/api/jobs/", status=500, times=9, skip=number % 4)
            with contextlib.suppress(ServerError):
                self.load("all")
            self.cvat.clear_faults()
        else:
            original = fo.Dataset._bulk_write

            def killed(self, ops, ids=None, **kwargs):
                original(self, ops[: number % 3], ids=(ids or [])[: number % 3], **kwargs)
                raise KeyboardInterrupt

            with self.monkeypatch.context() as patch:
                patch.setattr(fo.Dataset, "_bulk_write", killed)
                with contextlib.suppress(KeyboardInterrupt):
                    self.load("all")

    # what is there in the end

    def on_the_server(self):
        """(class, box) of every shape of a real class, per frame, under the names that were sent."""
        (task,) = self.cvat.tasks.values()
        labels = [label for label in task.labels if label.name != "unseen"]
        sent = dict(zip((label.name for label in labels), CLASSES, strict=True))
        return [
            sorted(
                (sent[s["label"]], [round(v, 3) for v in s["points"]])
                for job in self.cvat.jobs.values()
                if frame in job.frames
                for s in self.cvat.annotator(job.id).shapes(frame)
                if s["label"] != "unseen"
            )
            for frame in range(IMAGES)
        ]

    def in_the_dataset(self):
        def corners(x, y, w, h):
            return [round(v * 64, 3) for v in (x, y, x + w, y + h)]

        return [
            sorted((d.label, corners(*d.bounding_box)) for d in boxes)
            for boxes in ranked(self.dataset).values("ground_truth.detections")
        ]

    def check(self):
        for job in self.cvat.jobs.values():
            worker = self.cvat.annotator(job.id)
            for frame in job.frames:
                worker.restore_frame(frame)
            if job.state != "completed":  # else nothing but the frames tells of a change
                worker.set(state="completed")
        self.load()
        assert self.in_the_dataset() == self.on_the_server()
        ids = ranked(self.dataset).values("ground_truth.detections.id", unwind=True)
        assert len(ids) == len(set(ids))
        suggestions = self.dataset.values("unseen_regions.detections.id", unwind=True)
        assert not set(ids) & set(suggestions)
        assert sendings.read_sendings(self.loop)[0].closed
        again = self.load()
        assert (again.written, again.jobs_loaded) == (0, 0)


@pytest.fixture
def world(version, batch, monkeypatch, quick):
    with running(monkeypatch, version) as cvat:
        direct = functools.partial(Direct, cvat)
        monkeypatch.setattr("unseen.annotation.cvat.server.HTTPAdapter", direct)
        monkeypatch.setattr("requests.sessions.get_environ_proxies", lambda *_, **__: {})
        monkeypatch.setenv("FIFTYONE_CVAT_ACCESS_TOKEN", cvat.access_token)
        yield World(cvat, batch(IMAGES), monkeypatch)


@pytest.mark.parametrize("version", [OLD, NEW])
@settings(
    max_examples=settings().max_examples // 2,
    deadline=None,
    derandomize=settings().max_examples <= 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=EVENTS, reissue=st.booleans())
def test_every_history_ends_like_one_clean_load(world, events, reissue):
    world.put_back()
    world.cvat.reissue_ids = reissue
    for event, frame, number in events:
        if event in LOADS:
            world.load_somehow(event, number)
        elif event in STEPS:
            world.ask(event)
        else:
            world.act(event, frame, number)
    world.check()
