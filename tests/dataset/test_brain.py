"""Brain runs over pretrained features: ours come and go, others' are never touched."""

from __future__ import annotations

import logging

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

import unseen
from unseen.dataset import brain
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

KEYS = ["unseen_similarity", "unseen_visualization"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return str(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(make_module_wafers, models):
    dataset = make_module_wafers()
    unseen.train_unet(dataset, steps=2, crop_size=32, channels=(4, 8), model_dir=models)
    return dataset


@pytest.fixture
def trained(model, copy_of):
    return copy_of(model)


@pytest.fixture
def score(trained, models):
    return lambda **more: unseen.score_samples(trained, model_dir=models, **more)


def named(dataset):
    return Loop(dataset).record(0)["steps"]["score_samples"]["brain_runs"]


def manual(dataset, key):
    points = np.zeros((len(dataset), 2))
    fob.compute_visualization(dataset, points=points, method="manual", brain_key=key)


def test_the_app_can_sort_and_draw_by_features(trained, score, capsys, caplog):
    caplog.set_level(logging.INFO)
    score()
    assert [r for r in caplog.records if "brain" in r.name] == []
    assert "isualization" not in capsys.readouterr().out
    assert sorted(trained.list_brain_runs()) == KEYS == named(trained)
    ours = trained.match_tags("test", bool=False)
    query = ours.skip(2).first().id
    nearest = trained.sort_by_similarity(query, k=3, brain_key=KEYS[0]).values("id")
    assert (len(nearest), nearest[0]) == (3, query)
    assert set(trained.load_brain_results(KEYS[0]).sample_ids) == set(ours.values("id"))
    plane = trained.load_brain_results(KEYS[1])
    assert (plane.points.shape, set(plane.sample_ids)) == ((12, 2), set(ours.values("id")))
    assert trained.get_brain_info(KEYS[1]).config.unseen_source


def test_a_second_run_replaces_ours_and_clean_removes_it(trained, score):
    score()
    manual(trained, "mine")
    before = {k: trained.get_brain_info(k).timestamp for k in KEYS}
    first = trained.match_tags("test", bool=False).first()
    first.tags.append("excluded")
    first.save()
    score(rescore=True)
    assert all(trained.get_brain_info(k).timestamp > before[k] for k in KEYS)
    assert first.id not in trained.load_brain_results(KEYS[0]).sample_ids
    score(rescore=True, embeddings=False)  # what there is, stays ours
    assert named(trained) == KEYS
    assert set(KEYS) <= set(unseen.clean_dataset(trained, dry_run=True).runs)
    unseen.clean_dataset(trained, keep_checkpoints=True)
    assert trained.list_brain_runs() == ["mine"]


@pytest.mark.parametrize("came", ["before ours", "in place of ours"])
def test_a_strangers_run_is_never_touched(trained, score, caplog, came):
    if came == "in place of ours":
        score()
        trained.delete_brain_run(KEYS[1])
    manual(trained, KEYS[1])
    score(rescore=True)
    assert f"{KEYS[1]!r} of dataset {trained.name!r} is not ours" in caplog.text
    unseen.clean_dataset(trained, keep_checkpoints=True)
    assert trained.list_brain_runs() == [KEYS[1]]
    assert trained.get_brain_info(KEYS[1]).config.method == "manual"


def test_none_where_nobody_wants_them(trained, score):
    score(embeddings=False)
    score(embeddings=True)  # nothing is left to score
    unseen.score_samples(trained.limit(6), rescore=True)  # a view is not the pool
    assert trained.list_brain_runs() == []


def test_images_without_features_are_left_out_and_what_fails_leaves_nothing(wafers, monkeypatch):
    ids = wafers.values("id")[:4]
    vectors = np.random.default_rng(0).normal(size=(4, 5))
    vectors[1] = np.nan
    assert brain.register_runs(Loop(wafers), ids, vectors, "drawn") == KEYS
    assert list(wafers.load_brain_results(KEYS[0]).sample_ids) == [ids[0], *ids[2:]]
    for key in KEYS:
        wafers.delete_brain_run(key)
    assert brain.register_runs(Loop(wafers), ids[:3], vectors[:3], "drawn") == []

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fob, "compute_visualization", stop)
    with pytest.raises(KeyboardInterrupt):
        brain.register_runs(Loop(wafers), ids, vectors, "drawn")
    assert wafers.list_brain_runs() == []


def test_long_vectors_are_stored_shorter_with_the_same_inner_products():
    rng = np.random.default_rng(0)
    long = rng.normal(size=(150, 100)) @ rng.normal(size=(100, 400))  # of rank 100
    dataset = fo.Dataset()
    dataset.add_samples((fo.Sample(filepath=f"/{i}.png") for i in range(150)), progress=False)
    brain.register_runs(Loop(dataset), dataset.values("id"), long, "drawn")
    stored = dataset.load_brain_results(KEYS[0]).embeddings
    assert stored.shape == (150, brain.LONGEST)
    np.testing.assert_allclose(stored @ stored.T, long @ long.T, rtol=1e-6, atol=1e-6)
