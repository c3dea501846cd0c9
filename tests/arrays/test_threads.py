"""Threads that compute on a core each leave the numbers of others alone."""

import threading

import cv2
import pytest
import torch

from unseen.arrays.threads import computing_threads, networks_at_a_time, opencv_on_one_core


@pytest.fixture
def three_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_only_the_threads_themselves_take_their_cores(three_cores):
    with computing_threads(2, cores=2) as threads:
        at_once = threading.Barrier(2, timeout=30)
        seen = threads.map(lambda _: (at_once.wait(), torch.get_num_threads())[1], range(2))
        assert list(seen) == [2, 2]
        assert torch.get_num_threads() == 3
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3]


def test_a_network_runs_on_each_core_of_a_processor_and_once_on_a_gpu(three_cores):
    assert networks_at_a_time(torch.device("cpu")) == 3
    assert networks_at_a_time(torch.device("cuda")) == 1


def test_opencv_gets_its_threads_back():
    before = cv2.getNumThreads()
    with opencv_on_one_core():
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
