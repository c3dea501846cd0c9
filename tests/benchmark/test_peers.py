"""The peers are what they claim to be: each against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unseen.arrays.image_statistics import image_statistics, standardised
from unseen.benchmark import peers
from unseen.benchmark.cases import read_cases
from unseen.benchmark.config import BenchmarkConfig, Strategy
from unseen.benchmark.detectors import confidence_margin
from unseen.benchmark.pools import make_pool
from unseen.detector.training import Detections
from unseen.errors import ConfigError, ImageError
from unseen.progress import silent


@pytest.fixture
def pool(coco_folder, tmp_path):
    config = BenchmarkConfig(initial=6, budget=4)
    (case,) = read_cases([str(coco_folder())], config, tmp_path / "out", silent)
    return make_pool(case, config, 0)


def test_pretrained_embeddings_are_standardised_and_kept(pool, tmp_path):
    found = peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")
    assert found.shape == (len(pool.files), 944)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    spread = found.std(axis=0)
    assert (np.isclose(spread, 1) | (spread == 0)).all()
    (kept,) = (tmp_path / "features").glob("features-efficientnet_lite0-*.sqlite")
    before = kept.stat().st_size
    again = peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")
    np.testing.assert_array_equal(again, found)
    assert kept.stat().st_size == before
    Path(pool.files[3].path).write_bytes(b"no image")
    with pytest.raises(ImageError, match="cannot be read"):
        peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")


def test_k_center_takes_the_farthest_image_each_time(rng):
    points = rng.normal(size=(40, 5))
    labelled = [0, 1, 2]
    taken = list(labelled)
    for image in peers.k_center(points, labelled, 6):
        nearest = [min(np.linalg.norm(p - points[t]) for t in taken) for p in points]
        assert nearest[image] == pytest.approx(max(nearest))
        taken.append(image)
    assert len(set(taken)) == 9


def test_neighbour_distance_is_the_mean_over_the_three_nearest(rng):
    points = rng.normal(size=(30, 4))
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    expected = np.sort(distance, axis=1)[:, 1:4].mean(axis=1)
    np.testing.assert_allclose(peers.neighbour_distance(points), expected)
    assert peers.neighbour_distance(points[:2]) == pytest.approx([distance[0, 1]] * 2)


def test_k_center_never_takes_an_image_twice_even_among_copies():
    points = np.zeros((5, 2))
    assert sorted(peers.k_center(points, [2], 4)) == [0, 1, 3, 4]


@pytest.mark.fiftyone
def test_uniqueness_comes_from_brain_and_leaves_no_dataset(pool, rng):
    import fiftyone as fo

    from unseen.dataset import brain

    before = set(fo.list_datasets())
    # Brain compares directions: one image points where no other does, five are copies.
    points = rng.normal([5, 0, 0], 0.5, (len(pool.files), 3))
    points[7] = [-5, 1, 1]
    points[10:15] = points[10]
    found = brain.uniqueness([f.path for f in pool.files], points)
    assert np.argmax(found) == 7
    assert found[10:15].max() < np.median(found)
    assert set(fo.list_datasets()) == before


@pytest.mark.fiftyone
def test_representativeness_comes_from_brain_one_number_per_image(pool, rng):
    from unseen.dataset import brain

    found = brain.representativeness(
        [f.path for f in pool.files], rng.normal(size=(len(pool.files), 4))
    )
    assert found.shape == (len(pool.files),)
    assert len(np.unique(found[~np.isnan(found)])) > 5


def test_statistics_do_not_change_when_the_image_is_repeated_in_channels(rng):
    image = rng.uniform(size=(70, 90, 1)).astype(np.float32)
    one, three = image_statistics(image), image_statistics(np.repeat(image, 3, axis=2))
    assert one.shape == (41,)
    np.testing.assert_allclose(one, three, atol=1e-6)
    assert np.isfinite(image_statistics(image[:2, :2])).all()


def test_standardised_columns_have_mean_0_and_deviation_1(rng):
    values = rng.normal(5, 3, (50, 4))
    values[:, 2] = 7
    found = standardised(values)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 0, 1], atol=1e-12)


def test_a_detector_is_most_undecided_at_one_half():
    def margin(*scores):
        boxes = np.zeros((len(scores), 4), np.float32)
        return confidence_margin(
            Detections(boxes, np.zeros(len(scores), int), np.float32(list(scores)))
        )

    assert margin() == 0
    assert margin(0.5) == 1
    assert margin(1.0, 0.0) == pytest.approx(0)
    assert margin(0.25, 0.75, 0.5) == pytest.approx(2)


def test_strategies_are_read_with_their_options():
    assert Strategy.of("uniqueness").embeddings == "simple"
    assert Strategy.of("k_center:unet").embeddings == "unet"
    assert Strategy.of("plain:alpha").metric == "alpha"
    assert Strategy.of("mixed:near_misses").has_near_misses
    for name in ("mixed", "novelty", "coverage"):
        assert Strategy.of(f"{name}:statistics").option == "statistics"
    with pytest.raises(ConfigError, match=r"'best'.*mixed"):
        Strategy.of("best")
    with pytest.raises(ConfigError, match=r"random:x.*it has none"):
        Strategy.of("random:x")
    with pytest.raises(ConfigError, match=r"novelty:near_misses"):
        Strategy.of("novelty:near_misses")
    with pytest.raises(ConfigError, match=r"uniqueness:simple or uniqueness:unet"):
        BenchmarkConfig(strategies=("uniqueness:alpha",))
