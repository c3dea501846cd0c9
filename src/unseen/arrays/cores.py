"""How many cores PyTorch computes with: those that nobody else is using.

The threads of a layer wait for each other, hundreds of times per training step. One that has to share
its core stops them all, so that on a busy machine two threads are many times slower than one. Letting
them sleep while they wait (OMP_WAIT_POLICY) is no way out: waking them takes longer than a small layer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import joblib
import psutil

from unseen.progress import Progress

#: Seconds from one look at the machine to the next, and for the first look.
_INTERVAL, _FIRST = 1.0, 0.1


@contextlib.contextmanager
def free_cores(progress: Progress) -> Iterator[Progress]:
    """Within it, PyTorch takes the cores that are free; it looks again as the progress is reported.

    At least one, and at most those that this process may use (affinity, cgroup) and that PyTorch was
    set to. Where the user decides by OMP_NUM_THREADS, nothing changes. Report from the thread that
    computes: the number of threads is each thread's own.
    """
    import torch

    before = torch.get_num_threads()
    most = min(before, joblib.cpu_count())
    if before == 1 or "OMP_NUM_THREADS" in os.environ:
        yield progress
        return
    load = _Load()
    time.sleep(_FIRST)

    def report(done: float, total: float, label: str = "") -> None:
        if load.seconds >= _INTERVAL:
            torch.set_num_threads(load.free(most))
        progress(done, total, label)

    try:
        torch.set_num_threads(load.free(most))
        yield report
    finally:
        torch.set_num_threads(before)


class _Load:
    """What other processes take of the cores that this one may use, since the last look."""

    def __init__(self) -> None:
        process = psutil.Process()
        everything = range(psutil.cpu_count())
        # macOS does not know of affinity.
        self._cores = process.cpu_affinity() if hasattr(process, "cpu_affinity") else everything
        self._look()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._since

    def free(self, most: int) -> int:
        """Cores from 1 to `most`; looks."""
        seconds, busy, own = self.seconds, self._busy, self._own
        self._look()
        others = (self._busy - busy - (self._own - own)) / max(seconds, 1e-3)
        return max(1, min(most, round(len(self._cores) - others)))

    def _look(self) -> None:
        self._since, self._own = time.perf_counter(), time.process_time()
        times = psutil.cpu_times(percpu=True)
        parts = ("user", "nice", "system", "steal")
        self._busy = sum(getattr(times[i], part, 0.0) for i in self._cores for part in parts)
