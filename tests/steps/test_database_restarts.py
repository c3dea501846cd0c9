"""The database goes away in the middle of a step and comes back.

In the middle of a few steps by default; UNSEEN_RESTARTS=1 does it in every step, at four places.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from database_commands import WRITES

import unseen
from unseen.errors import DatabaseError, DatasetError

pytestmark = pytest.mark.fiftyone

#: In an order in which each step finds what it needs. The others ask an annotation server, or run
#: these.
STEPS = {
    "prepare_dataset": {"initial": 3, "screen": False, "initial_order": "directory"},
    "screen_images": {},
    "split_dataset": {"initial": 3},
    "mark_structure": {"pitch": (16, 16), "origin": (0, 0), "margin": 1},
    "reveal_labels": {},
    "train_unet": {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)},
    "score_samples": {"heatmap_size": 16},
    "select_batch": {"budget": 2},
    "rank_regions": {"count": 3},
    "train_detector": {"architecture": "small", "steps": 1, "batch_size": 1, "image_size": 64},
    "apply_detector": {},
    "evaluate_detector": {},
    "auto_label": {},
    "compare_iterations": {"pictures": False},
    "clean_dataset": {},
}
ALL = bool(os.environ.get("UNSEEN_RESTARTS"))
DISTURBED = list(STEPS) if ALL else ["score_samples", "select_batch"]


class Commands(list):
    """The commands of a step; the database restarts at the one with the number `at`."""

    def __init__(self, at, restart):
        super().__init__()
        self.at, self.restart = at, restart

    def append(self, name):
        super().append(name)
        if len(self) == self.at:
            self.restart()


def state(dataset):
    dataset.reload()
    return (
        sorted(dataset.get_field_schema()),
        dataset.count_sample_tags(),
        dataset.list_runs(),
        dataset.list_saved_views(),
        dataset.list_evaluations(),
    )


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95] if ALL else [0.6])
def test_a_step_can_be_run_again_after_the_database_was_gone(
    request, make_wafers, database_commands, tmp_path, share
):
    database = request.config.unseen_database
    quiet, disturbed = (make_wafers(7, labelled=0, test=2) for _ in range(2))
    said = {}
    for step in list(STEPS)[: list(STEPS).index(DISTURBED[-1]) + 1]:
        settings = {**STEPS[step], "model_dir": str(tmp_path / "quiet")}
        with database_commands.counted() as commands:
            getattr(unseen, step)(quiet, **settings)
        settings["model_dir"] = str(tmp_path / "disturbed")
        # A read is tried again by itself; a write fails.
        writes = [number for number, name in enumerate(commands, 1) if name in WRITES]
        place = writes[int(share * len(writes))] if step in DISTURBED and writes else None
        with database_commands.counted(Commands(place, database.restart)):
            try:
                getattr(unseen, step)(disturbed, **settings)
            except DatabaseError as error:
                said[step] = str(error)
        if step in said:
            # What was done but for its last command may find nothing left to do.
            with contextlib.suppress(DatasetError):
                getattr(unseen, step)(disturbed, **settings)
        assert state(disturbed) == state(quiet), step
    assert said
    for message in said.values():
        assert database.uri in message
        assert "run the same again" in message
