"""PyTorch takes the cores that other processes leave free."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import unseen
from unseen.arrays import cores
from unseen.progress import silent

CORES = 4


class Machine:
    """Seconds of a clock that the test turns, and of the cores; two further cores are not ours."""

    def __init__(self) -> None:
        self.now = 0.0
        self.own = 0.0
        self.busy = 0.0

    def turn(self, seconds: float, *, others: float = 0.0, own: float = 0.0) -> None:
        self.now += seconds
        self.own += seconds * own
        self.busy += seconds * (others + own)

    def cpu_times(self, percpu: bool) -> list[SimpleNamespace]:
        own = [SimpleNamespace(user=self.busy / CORES, system=0.0, idle=1e9) for _ in range(CORES)]
        return [*own, *[SimpleNamespace(user=self.now, system=0.0)] * 2]


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    process = SimpleNamespace(cpu_affinity=lambda: list(range(CORES)))
    clock = SimpleNamespace(
        perf_counter=lambda: machine.now, process_time=lambda: machine.own, sleep=machine.turn
    )
    monkeypatch.setattr(cores, "time", clock)
    monkeypatch.setattr(cores.psutil, "Process", lambda: process)
    monkeypatch.setattr(cores.psutil, "cpu_times", machine.cpu_times)
    monkeypatch.setattr(cores.joblib, "cpu_count", lambda: CORES)
    yield machine
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("others", "own", "expected"),
    [(0, 0, 4), (0, 4, 4), (0.4, 3, 4), (1, 0, 3), (1, 3, 3), (2.6, 1, 1), (4, 0, 1), (9, 0, 1)],
)
def test_others_leave_so_many_cores(machine, others, own, expected):
    with cores.free_cores(silent) as progress:
        assert torch.get_num_threads() == CORES
        machine.turn(3, others=others, own=own)
        progress(1, 2)
        assert torch.get_num_threads() == expected
        machine.turn(3, own=1)
        progress(2, 2)
        assert torch.get_num_threads() == CORES


def test_the_first_look_decides_until_the_next(machine, monkeypatch):
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: machine.turn(seconds, others=3))
    with cores.free_cores(silent) as progress:
        assert torch.get_num_threads() == 1
        machine.turn(0.5)
        progress(1, 2)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == CORES


def test_afterwards_all_is_as_before_even_if_the_step_fails(machine):
    def step():
        with cores.free_cores(silent):
            torch.set_num_threads(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step()
    assert torch.get_num_threads() == CORES


def test_a_limit_of_the_group_counts(machine, monkeypatch):
    monkeypatch.setattr(cores.joblib, "cpu_count", lambda: 2)
    with cores.free_cores(silent):
        assert torch.get_num_threads() == 2


def test_what_the_user_set_stays(machine, monkeypatch):
    torch.set_num_threads(3)
    with cores.free_cores(silent):
        assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    torch.set_num_threads(4)
    monkeypatch.setattr(cores.joblib, "cpu_count", lambda: 1)
    with cores.free_cores(silent) as progress:
        assert progress is silent
        assert torch.get_num_threads() == 4


@pytest.mark.fiftyone
def test_steps_that_compute_take_free_cores(wafers, machine, monkeypatch):
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: machine.turn(seconds, others=3))
    used = []
    unseen.train_unet(
        wafers,
        **{"steps": 1, "crop_size": 32, "channels": (4, 8)},
        progress=lambda *_: used.append(torch.get_num_threads()),
    )
    assert set(used) == {1}
    assert torch.get_num_threads() == CORES
