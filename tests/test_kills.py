"""Each step is killed after each of its writes to the database; run again, it ends as undisturbed.

By default all writes of `select_batch` and some of others; `--all-kills` takes every one of all steps.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from database_commands import Killed
from kept_world import World, differences, new_process, state
from PIL import Image

import unseen
from unseen.steps.catalogue import catalogue

pytestmark = [pytest.mark.fiftyone, pytest.mark.timeout(1800)]

NAME = "killed"
UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}
DETECTOR = {"steps": 1, "image_size": 64, "architecture": "lite0"}


def blank_one(dataset):
    Image.new("L", (64, 64), 110).save(dataset.match_tags("initial").last().filepath)


def label(dataset):
    """What a person does in the Annotate tab."""
    import fiftyone as fo

    for sample in dataset.match_tags("batch_01").limit(1):
        box = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.2, 0.2])
        sample["ground_truth"] = fo.Detections(detections=[box])
        sample.save()


def label_test(dataset):
    images = dataset.match_tags("test")
    images.set_values("ground_truth", images.values("hidden_truth"))


def regions(dataset):
    ids = dataset.exists("unseen_regions").values("unseen_regions.detections.id", unwind=True)
    return {"wanted": ids[:1], "count": 2}


#: The loop in order: a step and its settings, or what a person does in between.
COURSE = (
    ("prepare_dataset", {"initial": 4, "test_count": 4}),
    ("split_dataset", {"initial": 4, "test_count": 4, "seed": 3}),
    blank_one,
    ("screen_images", {}),
    ("mark_structure", {"structure": "grid", "pitch": (16, 16), "street": (2, 2)}),
    ("reveal_labels", {"iteration": 0}),
    ("rename_classes", {"rename": ("scratch=line",)}),
    ("train_unet", UNET),
    ("score_samples", {}),
    ("rank_regions", {}),
    ("more_like_this", regions),
    ("select_batch", {"budget": 2, "strategy": "plain"}),
    ("request_annotations", {"backend": "app", "classes": ("particle", "line")}),
    ("list_annotations", {}),
    label,
    ("load_annotations", {"empty_is_labelled": True}),
    ("undo_annotations", {}),
    lambda dataset: unseen.load_annotations(dataset, empty_is_labelled=True),
    label_test,
    ("repair_labels", {}),
    ("train_detector", DETECTOR),
    ("apply_detector", {"target": "test"}),
    ("evaluate_detector", {}),
    ("auto_label", {}),
    ("compare_iterations", {"pictures": False}),
    ("next_iteration", {"budget": 2, "strategy": "random", "detector": False}),
    ("clean_dataset", {}),
    lambda dataset: dataset.clear_sample_field("ground_truth"),
    (
        "simulate",
        {"strategies": ("sequential", "random"), "iterations": 1, "budget": 2, "initial": 4}
        | {"detector_steps": 1, "image_size": 64, "architecture": "lite0"},
    ),
)
IN_COURSE = [stop[0] for stop in COURSE if isinstance(stop, tuple)]
#: What one run did is not what two did together: its counts, and the snapshots that it took.
OF_THE_RUN = "/steps/load_annotations/result/|/runs/unseen_snapshot_|/undo_annotations/kept"
#: Of each step, in the default run.
A_FEW = 1
#: The default run ends here; the rest trains detectors.
LAST = "request_annotations"


class Course:
    """The loop as it goes undisturbed, as far as it was asked for."""

    def __init__(self, folder, commands):
        self.folder, self.commands = folder, commands
        self.rest, self.known, self.front = iter(COURSE), {}, World(folder)

    def reach(self, step):
        """The world before a step, its settings, what it wrote, and the state after it."""
        import fiftyone as fo

        if step not in self.known:
            self.front.put_back()
        while step not in self.known:
            stop = next(self.rest)
            if not isinstance(stop, tuple):
                stop(fo.load_dataset(NAME))
                continue
            name, settings = stop
            if callable(settings):
                settings = settings(fo.load_dataset(NAME))
            before = World(self.folder)
            with self.commands.written() as writes:
                self.run(name, settings)
            self.known[name] = before, settings, list(writes), self.state()
            self.front = World(self.folder)
        return self.known[step]

    def run(self, name, settings):
        # Only a run in another process would find nothing in memory.
        new_process()
        return getattr(unseen, name)(NAME, **settings)

    def state(self):
        return state(NAME, self.folder)


@pytest.fixture(scope="module")
def course(request, tmp_path_factory, make_module_wafers):
    import fiftyone as fo

    dataset = make_module_wafers(12, labelled=0, test=0, name=NAME)
    folder = Path(fo.config.default_dataset_dir)
    yield Course(folder, request.config.unseen_commands)
    new_process()
    if fo.dataset_exists(NAME):
        fo.delete_dataset(NAME)
    del dataset


def test_every_step_is_in_the_course():
    assert set(IN_COURSE) == set(catalogue())


@pytest.mark.parametrize("step", IN_COURSE)
def test_a_killed_step_run_again_ends_as_undisturbed(course, step, request):
    takes_all = request.config.getoption("all_kills")
    if not takes_all and IN_COURSE.index(step) > IN_COURSE.index(LAST):
        pytest.skip("by --all-kills only")
    before, settings, writes, wanted = course.reach(step)
    moments = range(1, len(writes) + 1)
    if not takes_all and step != "select_batch":
        few = np.linspace(1, len(writes), A_FEW + 2).round().astype(int)[1:-1]
        moments = sorted(set(few.tolist())) if writes else []
    faults = []
    for moment in moments:
        before.put_back()
        with course.commands.written(kill_after=moment), contextlib.suppress(Killed):
            course.run(step, settings)
        new_process()
        found = differences(course.state(), wanted)
        if found:
            course.run(step, settings)
            found = differences(course.state(), wanted)
        found = [line for line in found if not re.search(OF_THE_RUN, line)]
        faults += [f"after write {moment} ({writes[moment - 1]}): {line}" for line in found]
    print(f"{step}: {len(writes)} writes, {len(moments)} kills")
    assert not faults, "\n".join(faults[:40])
