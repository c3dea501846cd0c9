"""The database goes away in the middle of a step and comes back.

In the middle of a few steps by default; UNSEEN_RESTARTS=1 does it in every step, at four places.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from database_commands import WRITES
from quick_steps import QUICK, contents

import unseen
from unseen.errors import DatabaseError, DatasetError

pytestmark = pytest.mark.fiftyone

#: Of the others, one runs these, and two change only labels.
STEPS = {k: v for k, v in QUICK.items() if k not in ("simulate", "repair_labels", "rename_classes")}
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
        assert contents(disturbed) == contents(quiet), step
    assert said
    for message in said.values():
        assert database.uri in message
        assert "run the same again" in message
