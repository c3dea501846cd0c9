"""Brain runs over pretrained features: ours come and go, others' are never touched."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import unseen
from unseen.dataset import brain
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

NAMES = Names()
KEYS = ["unseen_similarity", "unseen_visualization"]


@pytest.fixture
def trained(wafers, tmp_path):
    unseen.train_unet(wafers, steps=2, crop_size=32, channels=(4, 8), model_dir=str(tmp_path))
    return wafers


@pytest.fixture
def score(trained, tmp_path):
    return lambda **more: unseen.score_samples(trained, model_dir=str(tmp_path), **more)


def named(dataset):
    return Loop(dataset, NAMES).record(0)["steps"]["score_samples"]["brain_runs"]


def manual(dataset, key):
    import fiftyone.brain as fob

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
    found = trained.sort_by_similarity(query, k=3, brain_key=KEYS[0]).values("id")
    assert (len(found), found[0]) == (3, query)
    index = trained.load_brain_results(KEYS[0])
    assert set(index.sample_ids) == set(ours.values("id"))
    plane = trained.load_brain_results(KEYS[1])
    assert (plane.points.shape, set(plane.sample_ids)) == ((12, 2), set(ours.values("id")))
    assert trained.get_brain_info(KEYS[1]).config.unseen_source


def test_a_second_run_replaces_ours(trained, score):
    score()
    before = {k: trained.get_brain_info(k).timestamp for k in KEYS}
    first = trained.match_tags("test", bool=False).first()
    first.tags.append("excluded")
    first.save()
    score(rescore=True)
    assert all(trained.get_brain_info(k).timestamp > before[k] for k in KEYS)
    assert first.id not in trained.load_brain_results(KEYS[0]).sample_ids
    score(rescore=True, embeddings=False)  # what there is, stays ours
    assert named(trained) == KEYS


def test_a_strangers_run_is_never_touched(trained, score, caplog):
    manual(trained, KEYS[1])
    score()
    assert f"{KEYS[1]!r} of dataset {trained.name!r} is not ours" in caplog.text
    assert named(trained) == KEYS[:1]
    assert trained.get_brain_info(KEYS[1]).config.method == "manual"
    unseen.clean_dataset(trained)
    assert trained.list_brain_runs() == [KEYS[1]]


def test_a_run_that_took_the_place_of_ours_is_a_strangers(trained, score):
    score()
    trained.delete_brain_run(KEYS[1])
    manual(trained, KEYS[1])
    score(rescore=True)
    assert trained.get_brain_info(KEYS[1]).config.method == "manual"


def test_clean_removes_ours_and_says_so(trained, score):
    score()
    manual(trained, "mine")
    assert set(KEYS) <= set(unseen.clean_dataset(trained, dry_run=True).runs)
    assert set(KEYS) <= set(trained.list_brain_runs())
    unseen.clean_dataset(trained)
    assert trained.list_brain_runs() == ["mine"]


def test_none_where_nobody_wants_them(trained, score):
    score(embeddings=False)
    score(embeddings=True)  # nothing is left to score
    unseen.score_samples(trained.limit(6), rescore=True)  # a view is not the pool
    assert trained.list_brain_runs() == []


def test_images_without_features_are_left_out(wafers):
    ids = wafers.values("id")[:4]
    vectors = np.random.default_rng(0).normal(size=(4, 5))
    vectors[1] = np.nan
    assert brain.register_runs(Loop(wafers, NAMES), ids, vectors, "drawn") == KEYS
    assert list(wafers.load_brain_results(KEYS[0]).sample_ids) == [ids[0], *ids[2:]]
    for key in KEYS:
        wafers.delete_brain_run(key)
    vectors[2] = np.nan
    assert brain.register_runs(Loop(wafers, NAMES), ids, vectors, "drawn") == []
    assert wafers.list_brain_runs() == []


def test_what_fails_leaves_nothing(wafers, monkeypatch):
    import fiftyone.brain as fob

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fob, "compute_visualization", stop)
    vectors = np.random.default_rng(0).normal(size=(4, 5))
    with pytest.raises(KeyboardInterrupt):
        brain.register_runs(Loop(wafers, NAMES), wafers.values("id")[:4], vectors, "drawn")
    assert wafers.list_brain_runs() == []
