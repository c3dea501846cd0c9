"""Scoring many files: every file once, the same numbers whatever the batches, sizes and threads."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from unseen.ranking import METRICS, local
from unseen.ranking.local import LocalScoring
from unseen.ranking.regions import shown_regions, unseen_regions
from unseen.ranking.scorer import Scorer, Thresholds
from unseen.steps.score_samples import ScoreConfig
from unseen.unet.checkpoints import save_checkpoint
from unseen.unet.network import UNet, UNetSpec


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    spec = UNetSpec(
        mode="recommended", paper_loss="mse", channels=(4, 8), classes=("a", "b"), in_channels=1
    )
    path, _ = save_checkpoint(
        tmp_path,
        "unet",
        UNet(spec).state_dict(),
        {
            "kind": "unet",
            "spec": spec.to_dict(),
            "scale": 0.5,
            "mean_areas": [30.0, 50.0],
            "iteration": 0,
        },
    )
    return path


@pytest.fixture
def files(tmp_path, rng):
    paths = []
    for i in range(23):
        size = [(40, 40), (31, 52), (40, 40), (64, 20)][i % 4]
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def scores(checkpoint, paths, **settings):
    scorer = Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32"))
    scoring = LocalScoring(scorer, quantile=0.9, region_quantile=0.95, **settings)
    return {s.index: s for s in scoring.score(paths)}, scoring


def raw_score(scorer, path):
    images = [scorer.read(path)]
    return scorer.reduce(scorer.infer(images), images)[0]


def test_no_file_gives_no_result(checkpoint):
    found, scoring = scores(checkpoint, [])
    assert found == {}
    assert scoring.thresholds is None


def test_batches_and_threads_do_not_change_the_numbers(checkpoint, files):
    single, one = scores(checkpoint, files, batch_size=1, workers=1)
    many, two = scores(checkpoint, files, batch_size=5, workers=4)
    assert sorted(single) == sorted(many) == list(range(len(files)))
    assert one.thresholds == two.thresholds
    for i in single:
        a, b = single[i].score, many[i].score
        for name in (*METRICS, "entropy", "foreground"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-3, abs=1e-3)
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-3)


def test_thresholds_are_quantiles_of_the_pool(checkpoint, files):
    scorer = Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32"))
    every = np.concatenate([raw_score(scorer, p).score.astype(np.float32).ravel() for p in files])
    _, scoring = scores(checkpoint, files)
    assert scoring.thresholds.metric == pytest.approx(np.quantile(every, 0.9), rel=2e-3)
    assert scoring.thresholds.region == pytest.approx(np.quantile(every, 0.95), rel=2e-3)


def test_regions_are_chosen_by_what_is_not_background(checkpoint, files):
    scorer = Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32"))
    maps = scorer.infer([scorer.read(files[3])]).maps
    raw = raw_score(scorer, files[3])
    np.testing.assert_allclose(raw.present / 255, 1 - maps.background[0].numpy(), atol=0.51 / 255)
    score = raw.score.astype(np.float32)
    threshold = float(np.quantile(score, 0.6))
    found, _ = scores(checkpoint, files[3:4], thresholds=Thresholds(0.2, threshold, 0.9))
    every = unseen_regions(score, threshold, present=raw.present / np.float32(255))
    shown = shown_regions(every, 5)
    regions = np.asarray(found[0].score.regions)
    assert 1 <= len(regions) <= 5
    np.testing.assert_allclose(regions[:, 4], shown.confidence, rtol=1e-6)
    assert (np.diff(regions[:, 4]) <= 0).all()
    np.testing.assert_allclose(regions[:, 0] * score.shape[1], shown.xyxy[:, 0], atol=1e-3)


def test_given_thresholds_are_kept(checkpoint, files):
    given = Thresholds(0.2, 0.3, 0.9)
    _, scoring = scores(checkpoint, files, thresholds=given)
    assert scoring.thresholds == given
    _, scoring = scores(checkpoint, files, threshold=0.125)
    assert scoring.thresholds.metric == 0.125


def test_thresholds_survive_the_record(checkpoint, files):
    _, scoring = scores(checkpoint, files)
    stored = json.loads(json.dumps(asdict(scoring.thresholds)))
    assert Thresholds(**stored) == scoring.thresholds


def test_an_unreadable_file_costs_nothing_but_itself(checkpoint, files):
    good, _ = scores(checkpoint, files, thresholds=Thresholds(0.2, 0.3, 0.9))
    broken = [*files[:7], "nowhere.png", *files[7:]]
    found, _ = scores(checkpoint, broken, thresholds=Thresholds(0.2, 0.3, 0.9))
    assert found[7].score is None
    assert "no such file" in found[7].error
    assert sum(s.score is not None for s in found.values()) == len(good)
    assert found[8].score.alpha == pytest.approx(good[7].score.alpha, rel=1e-4)


def test_a_pool_beyond_the_sample_is_still_scored_completely(checkpoint, files, monkeypatch):
    monkeypatch.setattr(local, "SAMPLE_IMAGES", 6)
    found, scoring = scores(checkpoint, files, batch_size=2)
    assert sorted(found) == list(range(len(files)))
    assert all(s.score is not None for s in found.values())
    again, other = scores(checkpoint, files, batch_size=2)
    assert scoring.thresholds == other.thresholds
    assert {i: s.score.excess for i, s in found.items()} == pytest.approx(
        {i: s.score.excess for i, s in again.items()}
    )


def test_areas_are_those_of_the_native_image(checkpoint, files):
    """At half scale every working pixel stands for four."""
    scorer = Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32", alpha=1))
    raw = raw_score(scorer, files[0])
    assert raw.alpha == pytest.approx(4 * raw.score.astype(np.float32).sum(), rel=1e-3)
