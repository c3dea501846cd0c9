"""Threads of Python that compute side by side, each on one core."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import torch

#: Most networks at a time: each takes memory for its maps, and few threads read and finish images.
MOST_NETWORKS = 4


def networks_at_a_time(device: torch.device) -> int:
    """How many threads run a network: on a CPU one per core that torch may use, up to a limit.

    Together they do more than torch does with as many threads within a layer, and do not wait for
    each other where the machine has other work.
    """
    return min(torch.get_num_threads(), MOST_NETWORKS) if device.type == "cpu" else 1


def computing_threads(count: int, *, cores: int = 1) -> ThreadPoolExecutor:
    """Threads in each of which torch uses so many cores; elsewhere it keeps its number."""
    before = torch.get_num_threads()

    def use() -> None:
        torch.get_num_threads()  # else torch would set its own number as this thread first computes
        torch.set_num_threads(cores)
        # It is also what threads start with that have not computed yet, until one sets it anew.
        restore = threading.Thread(target=torch.set_num_threads, args=(before,))
        restore.start()
        restore.join()

    return ThreadPoolExecutor(count, initializer=use)


@contextlib.contextmanager
def opencv_on_one_core() -> Iterator[None]:
    """Small pictures are not worth OpenCV's own threads, which would wait for cores in use."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
