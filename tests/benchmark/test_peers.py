"""The peers are what they claim to be: each against its definition."""

from pathlib import Path

import numpy as np
import pytest

from unseen.benchmark import peers
from unseen.benchmark.cases import read_cases
from unseen.benchmark.config import BenchmarkConfig, Strategy
from unseen.benchmark.detectors import confidence_margin
from unseen.benchmark.pools import make_pool
from unseen.detector.training import Detections
from unseen.errors import ConfigError, ImageError


@pytest.fixture
def pool(coco_folder):
    config = BenchmarkConfig(initial=6, budget=4)
    (case,) = read_cases([str(coco_folder())], config)
    return make_pool(case, config, 0)


def test_pretrained_embeddings_are_standardised_and_kept(pool, tmp_path):
    vectors = peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")
    assert vectors.shape == (len(pool.files), 944)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-6)
    spread = vectors.std(axis=0)
    assert (np.isclose(spread, 1) | (spread == 0)).all()
    (kept,) = (tmp_path / "features").glob("features-efficientnet_lite0-*.sqlite")
    before = kept.stat().st_size
    again = peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")
    np.testing.assert_array_equal(again, vectors)
    assert kept.stat().st_size == before
    Path(pool.files[3].path).write_bytes(b"no image")
    with pytest.raises(ImageError, match="cannot be read"):
        peers.pretrained_embeddings(pool, "cpu", tmp_path / "features")


def test_neighbour_distance_is_the_mean_over_the_three_nearest(rng):
    points = rng.normal(size=(30, 4))
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    expected = np.sort(distance, axis=1)[:, 1:4].mean(axis=1)
    np.testing.assert_allclose(peers.neighbour_distance(points), expected)
    assert peers.neighbour_distance(points[:2]) == pytest.approx([distance[0, 1]] * 2)


@pytest.mark.fiftyone
def test_brain_computes_one_number_per_image_and_leaves_no_dataset(pool, rng):
    import fiftyone as fo

    from unseen.dataset import brain

    before, paths = set(fo.list_datasets()), [f.path for f in pool.files]
    # Brain compares directions: one image points where no other does, five are copies.
    points = rng.normal([5, 0, 0], 0.5, (len(paths), 3))
    points[7] = [-5, 1, 1]
    points[10:15] = points[10]
    unique = brain.image_scores("uniqueness", paths, points)
    assert np.argmax(unique) == 7
    assert unique[10:15].max() < np.median(unique)
    typical = brain.image_scores("representativeness", paths, rng.normal(size=(len(paths), 4)))
    assert typical.shape == (len(paths),)
    assert len(np.unique(typical[~np.isnan(typical)])) > 5
    assert set(fo.list_datasets()) == before


@pytest.mark.parametrize(
    ("scores", "margin"), [([], 0), ([0.5], 1), ([1, 0], 0), ([0.25, 0.75, 0.5], 2)]
)
def test_a_detector_is_most_undecided_at_one_half(scores, margin):
    boxes, classes = np.zeros((len(scores), 4), np.float32), np.zeros(len(scores), int)
    detections = Detections(boxes, classes, np.asarray(scores, np.float32))
    assert confidence_margin(detections) == pytest.approx(margin)


def test_strategies_are_read_with_their_options():
    assert Strategy.of("uniqueness").embeddings == "simple"
    assert Strategy.of("k_center:unet").embeddings == "unet"
    metrics = {
        "plain:alpha": "alpha",
        "plain": "excess",
        "entropy": "entropy",
        "paper_bce": "alpha",
    }
    assert {text: Strategy.of(text).metric for text in metrics} == metrics
    for name in ("mixed", "novelty", "coverage"):
        assert Strategy.of(f"{name}:statistics").option == "statistics"
    for text, message in (
        ("best", "'best'.*mixed"),
        ("random:x", "random:x.*it has none"),
        ("uniqueness:alpha", "uniqueness:simple or uniqueness:unet"),
    ):
        with pytest.raises(ConfigError, match=message):
            BenchmarkConfig(strategies=(text,))
