"""A detector trained by processes of a Ray cluster, through the step."""

import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch

import unseen
from unseen.detector import ray_training
from unseen.detector.models import detector_spec
from unseen.detector.ray_training import fit_on_cluster
from unseen.detector.training import fit_detector
from unseen.errors import Cancelled, ConfigError, TrainingError
from unseen.ranking.cluster import Cluster
from unseen.steps.train_detector import TrainDetectorConfig

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.fiftyone

GIVEN = {"architecture": "small", "precision": "fp32", "engine": "ray"}


@pytest.fixture(scope="module")
def address():
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def processes(name):
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith(f"ray::{name}")]


def test_one_worker_writes_the_checkpoint_of_this_process(address, wafers):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    given = {**GIVEN, "steps": 3}
    expected = unseen.train_detector(wafers, **{**given, "engine": "local"})
    torch.set_num_threads(threads)
    result = unseen.train_detector(wafers, address=address, **given)
    assert (result.digest, result.final_loss) == (expected.digest, expected.final_loss)


def test_when_a_worker_dies_both_go_on_at_the_last_snapshot(address, wafers, monkeypatch):
    monkeypatch.setattr(ray_training, "LOOK", 0.1)
    monkeypatch.setattr(ray_training, "SNAPSHOT", 0.0)
    told, killed = [], []

    def kill(done, total, label=""):
        if label == "training the detector":
            told.append(done)
            if done >= 20 and not killed:
                killed.append(processes("RayTrainWorker")[0])
                killed[0].kill()

    result = unseen.train_detector(
        wafers, workers=2, address=address, steps=60, detector="centernet", progress=kill, **GIVEN
    )
    assert killed
    assert all(after > 0 for before, after in pairwise(told) if after < before)
    assert (result.steps, told[-1]) == (60, 60)
    assert Path(result.checkpoint).is_file()


def test_whoever_stops_it_leaves_nothing_running_and_nothing_written(address, wafers, tmp_path):
    def stop(done, total, label=""):
        if label == "training the detector" and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        unseen.train_detector(
            wafers,
            workers=2,
            address=address,
            steps=10_000,
            progress=stop,
            model_dir=str(tmp_path / "models"),
            **GIVEN,
        )
    psutil.wait_procs(processes("RayTrainWorker") + processes("_Training"), timeout=30)
    assert not processes("RayTrainWorker")
    assert not list((tmp_path / "models").rglob("*.*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "local", "workers": 2}, r"workers=2 with engine='local'"),
        ({"workers": 5}, r"workers=5 with batch_size=4.*larger batch_size"),
        ({"workers": 3}, r"workers=3 do not start.* room for 2.*ray start"),
    ],
)
def test_what_cannot_be_done_is_said(address, wafers, given, message):
    with pytest.raises(ConfigError, match=message):
        unseen.train_detector(wafers, address=address, **{**GIVEN, "steps": 2, **given})


def test_what_the_training_says_reaches_the_user(address):
    spec, cpu = detector_spec("small", ("a",), 96), torch.device("cpu")
    fit = partial(fit_detector, [], [], [], spec=spec, config=TrainDetectorConfig())
    with pytest.raises(TrainingError, match="no labelled images"), Cluster(address) as cluster:
        fit_on_cluster(fit, spec, cluster=cluster, workers=1, device=cpu)
