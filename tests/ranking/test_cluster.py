"""On a Ray cluster of two nodes: every item once, the numbers of one process, whoever dies."""

import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import unseen
from unseen.arrays.packed import packed
from unseen.errors import ConfigError, LabelError
from unseen.ranking import cluster as cluster_module
from unseen.ranking import local, ray_scoring
from unseen.ranking.cluster import Cluster, Failed
from unseen.ranking.features import compute
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.local import LocalScoring
from unseen.ranking.ray_scoring import RayScoring
from unseen.ranking.scorer import Scorer, Thresholds
from unseen.steps.score_samples import ScoreConfig, writer
from unseen.unet.checkpoints import save_checkpoint
from unseen.unet.network import UNet, UNetSpec

ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def cluster(nodes):
    return Cluster(nodes.address)


def doubling(deadly=(), mark=None, wrong=()):
    """Doubles numbers; dies of some, of those in `mark` (a folder) only the first time."""

    def double(items):
        for item in items:
            first = mark and Path(mark, str(item))
            if item in deadly and not (first and first.exists()):
                if first:
                    first.touch()
                os._exit(1)
            if item in wrong:
                raise LabelError(f"item {item} is wrong")
        return [2 * item for item in items]

    return double


def test_every_item_once_on_all_nodes(cluster):
    def where(items):
        time.sleep(0.02)
        return [ray.get_runtime_context().get_node_id()] * len(items)

    results = list(cluster.map(lambda: where, range(200), size=5))
    assert sorted(item for item, _ in results) == list(range(200))
    assert len({node for _, node in results}) == cluster.room() == 2
    assert cluster.repeated == 0
    assert list(cluster.map(lambda: where, [], size=5)) == []


def test_what_kills_its_worker_is_named_and_costs_nothing_else(cluster):
    results = dict(cluster.map(partial(doubling, {5, 6}), range(20), size=4))
    assert {i for i, r in results.items() if isinstance(r, Failed)} == {5, 6}
    assert "workers died on it" in results[5].reason
    assert all(r == 2 * i for i, r in results.items() if not isinstance(r, Failed))
    assert len(results) == 20
    assert cluster.repeated > 0


def test_a_worker_that_dies_once_loses_nothing(cluster, tmp_path):
    results = dict(cluster.map(partial(doubling, {3, 30}, str(tmp_path)), range(50), size=8))
    assert results == {i: 2 * i for i in range(50)}
    assert cluster.repeated == 16  # the blocks that ran; those that waited did not


def test_an_error_of_the_function_reaches_the_caller(cluster):
    with pytest.raises(LabelError, match="item 7 is wrong"):
        list(cluster.map(partial(doubling, wrong={7}), range(50), size=8))


def test_a_block_may_take_longer_than_the_patience_with_a_cluster_without_workers(
    cluster, monkeypatch
):
    monkeypatch.setattr(cluster_module, "LOOK", 0.2)
    assert len(list(cluster.map(lambda: list, range(2), size=1))) == 2  # Ray is warm
    monkeypatch.setattr(cluster_module, "PATIENCE", 5.0)

    def slow(items):
        time.sleep(7)
        return items

    assert list(cluster.map(lambda: slow, [1], size=1)) == [(1, 1)]


def test_without_any_worker_the_run_ends_with_the_reason(cluster, monkeypatch):
    monkeypatch.setattr(cluster_module, "LOOK", 0.2)
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.5)
    with pytest.raises(ConfigError, match=r"no worker.*room for 0; .*ray start --address"):
        list(cluster.map(lambda: list, [1, 2], size=1, gpus=1.0))


def test_nodes_may_join_and_leave(nodes, cluster, monkeypatch):
    monkeypatch.setattr(cluster_module, "LOOK", 0.2)

    def slow(items):
        time.sleep(0.1)
        # So large that the result stays on its machine until it is fetched.
        return [(ray.get_runtime_context().get_node_id(), bytes(150_000)) for _ in items]

    here = {node["NodeID"] for node in ray.nodes()}
    joined, given, left = nodes.add_node(num_cpus=1), [], []

    def until_it_left():
        while len(left) < 10:
            given.append(len(given))
            yield given[-1]

    results = []
    for item, (where, _) in cluster.map(lambda: slow, until_it_left(), size=2):
        results.append(item)
        if where not in here and not left:
            nodes.remove_node(joined)
        left += [item] if left or where not in here else []
    assert sorted(results) == given
    assert cluster.repeated > 0


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    torch.manual_seed(0)
    spec = UNetSpec(channels=(4, 8), classes=("a", "b"))
    description = {"kind": "unet", "spec": spec.to_dict(), "scale": 1.0, "mean_areas": [30.0, 50.0]}
    folder = tmp_path_factory.mktemp("unet")
    path, _ = save_checkpoint(folder, "unet", UNet(spec).state_dict(), description)
    return Scorer(path, ScoreConfig(device="cpu", precision="fp32"))


def test_the_numbers_are_those_of_one_process_bit_for_bit(
    cluster, scorer, tmp_path, rng, monkeypatch
):
    monkeypatch.setattr(local, "SAMPLE_IMAGES", 9)
    monkeypatch.setattr(ray_scoring, "BLOCK", 5)
    paths = [str(tmp_path / f"{i}.png") for i in range(40)]
    for i, path in enumerate(paths):
        size = (40, 40) if i % 3 else (31, 52)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    Path(paths[11]).write_bytes(b"no image")
    settings = dict(quantile=0.9, region_quantile=0.95, batch_size=4)
    settings["weights"] = lambda i: half if i % 2 else None
    one = LocalScoring(scorer, **settings)
    two = RayScoring(LocalScoring(scorer, **settings), cluster, ScoreConfig(precision="fp32"))
    expected, found = ({s.index: s for s in scoring.score(paths)} for scoring in (one, two))
    assert two.thresholds == one.thresholds
    assert sorted(found) == list(range(40))
    for index, scored in expected.items():
        same = found[index]
        assert same.error == scored.error
        assert (scored.score is None) == (index == 11)
        if scored.score is not None:
            for name in ("embedding", "heatmap"):  # workers have packed theirs
                value = getattr(same.score, name)
                is_packed = isinstance(value, bytes)
                assert (value if is_packed else packed(value)) == packed(
                    getattr(scored.score, name)
                )
            left_out = {"embedding": None, "heatmap": None}
            np.testing.assert_equal(vars(same.score) | left_out, vars(scored.score) | left_out)


def half(shape):
    weights = np.zeros(shape, np.float32)
    weights[: shape[0] // 2] = 0.5
    return weights


@pytest.mark.parametrize("name", ["statistics", "efficientnet_lite0"])
def test_features_are_those_of_one_process_bit_for_bit(cluster, tmp_path, rng, monkeypatch, name):
    monkeypatch.setattr(compute, "GROUP", 4)
    paths = [str(tmp_path / f"{i}.png") for i in range(18)]
    for i, path in enumerate(paths):
        size = (90, 64) if i % 3 else (200, 150)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    Path(paths[11]).write_bytes(b"no image")
    Path(paths[5]).write_bytes(Path(paths[4]).read_bytes())
    Path(paths[7]).unlink()
    backbone, _ = find_backbone(name)
    one = Features(backbone, tmp_path / "one")
    two = Features(backbone, tmp_path / "two", cluster=cluster)
    told = []
    vectors = two.vectors(paths, progress=lambda done, total, label="": told.append((done, total)))
    np.testing.assert_array_equal(vectors, one.vectors(paths))
    np.testing.assert_equal(dict(two.patches(paths)), dict(one.patches(paths)))
    assert two.failures == one.failures
    assert sorted(two.failures) == [paths[11], paths[7]]
    assert told[-1] == (18, 18)


@pytest.mark.fiftyone
def test_the_step_stores_the_same_on_a_cluster(nodes, wafers):
    dataset = wafers
    unseen.train_unet(dataset, steps=2)
    stored = []
    for engine in ("local", "ray"):
        result = unseen.score_samples(dataset, engine=engine, address=nodes.address, rescore=True)
        pool = dataset.exists("unseen_excess").sort_by("filepath")
        fields = ("unseen_excess", "unseen_alpha", "unseen_embedding")
        stored.append([np.asarray(pool.values(name)) for name in fields])
        chosen = unseen.select_batch(dataset, budget=3, strategy="plain", replace=True)
        stored[-1].append(dataset.load_saved_view(chosen.batch).values("id"))
        assert (result.scored, result.repeated) == (len(pool), 0)
    np.testing.assert_equal(*stored)


#: Few images decide the thresholds, and little is computed and written at a time.
SMALL = """
from unseen.ranking import local, ray_scoring
from unseen.steps.score_samples import writer
local.SAMPLE_IMAGES, ray_scoring.BLOCK, writer.CHUNK = 6, 2, 2
"""
#: A driver that is killed after 12 images.
KILLED = """
import os, sys, unseen
def kill(done, total, label=""):
    if done == 12:
        os.kill(os.getpid(), 9)
unseen.score_samples(sys.argv[1], engine="ray", address=sys.argv[2], progress=kill)
"""


@pytest.mark.fiftyone
def test_a_run_whose_driver_worker_and_database_die_ends_as_undisturbed(
    nodes, make_wafers, request, monkeypatch
):
    monkeypatch.setattr(local, "SAMPLE_IMAGES", 6)
    monkeypatch.setattr(ray_scoring, "BLOCK", 2)
    monkeypatch.setattr(writer, "CHUNK", 2)
    quiet, disturbed = (make_wafers(40, labelled=4, test=2) for _ in range(2))
    trained = unseen.train_unet(quiet, steps=2, crop_size=32, channels=(4, 8))
    given = {"checkpoint": trained.checkpoint, "embeddings": False}
    expected = unseen.score_samples(quiet, **given)
    unseen.train_unet(disturbed, steps=2, crop_size=32, channels=(4, 8))
    code = SMALL + KILLED.replace("engine=", f"checkpoint={trained.checkpoint!r}, engine=")
    command = [sys.executable, "-c", code, disturbed.name, nodes.address]
    assert subprocess.run(command).returncode == -9
    database = request.config.unseen_database
    away = threading.Thread(target=lambda: database.restart(away=3))

    def harm(done, total, label=""):
        if label == "score images" and done == 3:
            children = psutil.Process().children(recursive=True)
            workers = [child for child in children if child.name().startswith("ray::_Worker")]
            for worker in workers:  # stopped first, so that each holds something when it dies
                worker.suspend()
            threading.Timer(2, lambda: [worker.kill() for worker in workers]).start()
        if label == "score images" and done == 8:
            away.start()

    again = unseen.score_samples(
        disturbed, engine="ray", address=nodes.address, progress=harm, **given
    )
    away.join()
    assert again.already_scored >= 6
    assert again.scored + again.already_scored == expected.scored
    assert again.repeated in (2, 4)  # a block of each worker
    assert f"{again.repeated} were repeated" in again.summary()
    assert again.thresholds == expected.thresholds
    fields = ("filepath", "unseen_excess", "unseen_alpha", "unseen_embedding", "unseen_heatmap.map")
    one, two = (
        [d.exists("unseen_model").sort_by("filepath").values(f) for f in fields]
        for d in (quiet, disturbed)
    )
    names = [[Path(p).name for p in found.pop(0)] for found in (one, two)]
    assert names[0] == names[1]
    np.testing.assert_equal(two, one)


def test_an_image_that_kills_its_workers_is_skipped_with_the_reason(scorer, tmp_path):
    class Deadly:
        repeated = 0

        def map(self, factory, items, **_):
            score = factory()
            for item in items:
                yield item, Failed("3 workers died on it") if item[0] == 1 else score([item])[0]

    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path in paths:
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(path)
    known = Thresholds(0.1, 0.1, 0.9)
    one = LocalScoring(scorer, quantile=0.9, region_quantile=0.9, thresholds=known)
    found = {s.index: s for s in RayScoring(one, Deadly(), ScoreConfig()).score(paths)}
    assert found[1].error == f"{paths[1]}: 3 workers died on it; exclude the sample"
    assert [found[i].error for i in (0, 2)] == [None, None]


def test_without_a_cluster_or_ray_the_way_out_is_named(monkeypatch):
    ray.shutdown()
    with pytest.raises(ConfigError, match=r"127.0.0.1:1'.*ray start --head"):
        Cluster("127.0.0.1:1")

    def refuse(*_, **__):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59.0")

    with monkeypatch.context() as patch:
        patch.setattr(ray, "init", refuse)
        with pytest.raises(ConfigError, match=r"started with: Ray: 2.59.0\).*RAY_AUTH_MODE=token"):
            Cluster()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"unseen\[ray\].*engine='local'"):
        Cluster()
