"""The borrowed strategies do what their papers say, wherever the benchmark takes them."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from unseen.benchmark import borrowed, peers
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.compare import run_benchmark
from unseen.benchmark.config import BORROWED_STRATEGIES, Strategy
from unseen.benchmark.pools import Pool
from unseen.errors import ConfigError

NAN = np.nan


def labels_of(count, known):
    labels = np.full(count, NAN)
    labels[list(known)] = list(known.values())
    return labels


def choose(name, points, known, budget, seed=0):
    rng = np.random.default_rng(seed)
    return borrowed.choose(name, points, labels_of(len(points), known), budget, rng)


def test_an_image_stands_for_its_rarest_labelled_class():
    shown = [["dot", "dot", "line"], ["dot", "rare"], [], ["rare"], ["dot"], ["line", "rare"]]
    files = tuple(LabelledFile(f"{i}.png", 8, 8, [], names) for i, names in enumerate(shown))
    pool = Pool(files, (), ("dot", "rare", "line"), (), ())
    assert np.isnan(borrowed.image_labels(pool, [])).all()
    np.testing.assert_equal(borrowed.image_labels(pool, [0, 1, 2]), [2, 1, 3, NAN, NAN, NAN])
    # Two boxes are rare and two are lines: the class that is named first.
    np.testing.assert_equal(borrowed.image_labels(pool, [0, 1, 4, 5])[5], 1)
    # Only labelled boxes count: what is rare here is the most frequent class there.
    np.testing.assert_equal(borrowed.image_labels(pool, [1, 3, 5]), [NAN, 0, NAN, 1, NAN, 2])


def test_typiclust_takes_the_middle_of_each_cluster_without_a_label(rng):
    centres = np.repeat(np.eye(4) * 50, 15, axis=0)
    points = centres + rng.normal(size=(60, 4)) * np.tile([0.1, *[1] * 14], 4)[:, None]
    batch = choose("typiclust", points, {20: 0}, 3)
    # The image with the smallest spread of each cluster except the one of image 20.
    assert sorted(batch // 15) == [0, 2, 3]
    nearest = np.sort(np.linalg.norm(points[:, None] - points, axis=2), axis=1)[:, :6].sum(axis=1)
    for image in batch:
        assert nearest[image] == nearest[image // 15 * 15 :][:15].min()


@pytest.mark.parametrize("unit", [0.001, 1, 1000])
def test_probcover_covers_the_densest_places_first_in_any_unit(rng, unit):
    # 30, 20 and 10 images close together, far from each other, and one on its own.
    places = np.repeat([[0, 0], [9, 0], [0, 9], [9, 9]], [30, 20, 10, 1], axis=0)
    points = (places + rng.normal(0, 0.02, (61, 2))) * unit
    first, second, third = choose("probcover", points, {31: 0}, 3)
    assert first < 30  # not where 31 is labelled
    assert 50 <= second < 60
    assert third == 60


def test_badge_begins_with_the_longest_gradient_of_the_head(rng):
    points, known = rng.normal(size=(50, 6)), {i: i % 3 for i in range(12)}
    batch = choose("badge", points, known, 5)
    head = LogisticRegression(max_iter=1000).fit(points[:12], list(known.values()))
    chances = head.predict_proba(points)
    residual = chances - np.eye(3)[chances.argmax(axis=1)]
    length = np.linalg.norm(residual, axis=1) * np.linalg.norm(points, axis=1)
    assert batch[0] == 12 + np.argmax(length[12:])


def test_dropquery_asks_where_the_head_changes_its_mind(rng):
    # Far from the decision boundary features may be missing, near it they may not.
    side = np.repeat([-1.0, 1.0], 40)[:, None]
    points = side * np.r_[[3.0] * 30, [0.02] * 10, [0.02] * 10, [3.0] * 30][:, None]
    points = points + rng.normal(0, 0.1, (80, 8))
    known = {i: float(i >= 40) for i in (0, 1, 2, 77, 78, 79)}
    assert set(choose("dropquery", points, known, 4)) <= set(range(30, 50))


@pytest.mark.parametrize("name", ["badge", "dropquery"])
@pytest.mark.parametrize("known", [{}, {3: 1, 8: 1}])
def test_with_fewer_than_two_classes_the_batch_is_random(name, known, rng):
    points = rng.normal(size=(20, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = [choose(name, points, known, 6, seed).tolist() for seed in range(200)]
    assert batches[0] == choose(name, points, known, 6, 0).tolist()
    often = np.bincount(np.concatenate(batches), minlength=20)
    left = [i for i in range(20) if i not in known]
    assert often.sum() == often[left].sum()
    assert often[left].min() > 25  # of about 60


def test_k_center_is_the_core_set_of_the_library(rng):
    from skactiveml.pool import CoreSet

    for _ in range(5):
        points = rng.normal(size=(60, 8))
        labelled = rng.choice(60, 7, replace=False).tolist()
        labels = labels_of(60, dict.fromkeys(labelled, 0))
        expected = CoreSet(random_state=0).query(points, labels, batch_size=20)
        assert peers.k_center(points, labelled, 20).tolist() == expected.tolist()


def test_a_missing_library_is_said_before_the_first_run(coco_folder, tmp_path, small, monkeypatch):
    monkeypatch.setattr(borrowed, "find_spec", lambda _: None)
    output = tmp_path / "out"
    strategies = ("random", "probcover:unet")
    with pytest.raises(ConfigError, match=r"'probcover' needs scikit-activeml.*unseen\[benchmark"):
        run_benchmark(str(coco_folder()), strategies=strategies, output=str(output), **small)
    assert not output.exists()


def test_a_benchmark_runs_with_all_of_them(coco_folder, tmp_path, small):
    strategies = (*BORROWED_STRATEGIES, "typiclust:unet")
    output = str(tmp_path / "out")
    result = run_benchmark(str(coco_folder()), strategies=strategies, output=output, **small)
    assert (result.runs, result.failed) == (5, {})
    assert [Strategy.of(s).embeddings for s in strategies] == ["simple"] * 4 + ["unet"]
