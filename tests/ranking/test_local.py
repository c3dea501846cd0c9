"""Scoring many files: every file once, the same numbers whatever the batches, sizes and threads."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from unseen.arrays import read_ahead
from unseen.arrays.illumination import evened
from unseen.arrays.images import as_float
from unseen.ranking import METRICS, local
from unseen.ranking.local import LocalScoring
from unseen.ranking.scorer import Scorer, Thresholds
from unseen.steps.score_samples import ScoreConfig
from unseen.unet import inference
from unseen.unet.checkpoints import load_checkpoint, save_checkpoint
from unseen.unet.network import UNet, UNetSpec

GIVEN = Thresholds(0.2, 0.3, 0.9)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    spec = UNetSpec(channels=(4, 8), classes=("a", "b"))
    description = {"kind": "unet", "spec": spec.to_dict(), "scale": 0.5, "iteration": 0}
    description["mean_areas"] = [30.0, 50.0]
    folder = tmp_path_factory.mktemp("unet")
    return save_checkpoint(folder, "unet", UNet(spec).state_dict(), description)[0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(7)
    paths = [folder / f"{i}.png" for i in range(23)]
    for i, path in enumerate(paths):
        size = [(40, 40), (31, 52), (40, 40), (64, 20)][i % 4]
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def scorer(checkpoint):
    return Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32"))


def score(scorer, paths, **settings):
    scoring = LocalScoring(scorer, quantile=0.9, region_quantile=0.95, **settings)
    return {s.index: s for s in scoring.score(paths)}, scoring.thresholds


def raw_score(scorer, path):
    tiles = scorer.tiles([scorer.read(path)])
    return scorer.reduce([scorer.sums(scorer.run(tile), [None]) for tile in tiles], [None])[0]


@pytest.mark.parametrize("strip", [1, 2**18])
def test_the_numbers_are_those_of_the_plain_network(checkpoint, scorer, files, strip, monkeypatch):
    monkeypatch.setattr(inference, "_IN_CACHE", strip)  # in strips of a few rows, and in one
    weights, description = load_checkpoint(checkpoint, kind="unet")
    model = UNet(UNetSpec.from_dict(description["spec"])).eval()
    model.load_state_dict(weights)
    for path in files[:4]:
        image = torch.from_numpy(as_float(scorer.read(path))).permute(2, 0, 1)[None]
        height, width = image.shape[2:]
        padding = [(0, 0), (0, 0), (0, -height % model.stride), (0, -width % model.stride)]
        padded = np.pad(evened(image, model.mean).numpy(), padding, "symmetric")
        with torch.inference_mode():
            output = model(torch.from_numpy(padded))
        p = output.logits.softmax(dim=1)[:, :, :height, :width].double()
        raw = raw_score(scorer, path)
        np.testing.assert_allclose(raw.score, p[0, -1], atol=1e-3)
        np.testing.assert_allclose(raw.present, 255 * (1 - p[0, 0]), atol=0.51)
        mass = p.sum(dim=(2, 3))[0]  # at half scale: of areas of 4 px
        expected = {
            "alpha": 4 * (p[:, -1] ** 2).sum(),
            "entropy": -4 * (p * p.log()).sum(),
            "foreground": 4 * mass[1:-1].sum(),
            "mean_score": p[:, -1].mean(),
            "expected_counts": mass[1:] / torch.tensor([30.0, 50.0, 40.0]),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(raw, name), value, rtol=1e-4, err_msg=name)


def test_batches_and_threads_do_not_change_the_numbers(scorer, files, monkeypatch):
    single, one = score(scorer, files, batch_size=1, workers=1)
    monkeypatch.setattr(local, "networks_at_a_time", lambda device: 3)
    many, two = score(scorer, files, batch_size=5, workers=4)
    assert sorted(single) == sorted(many) == list(range(len(files)))
    assert one == two
    for i in single:  # bit for bit, so that a cluster chooses the same batch
        np.testing.assert_equal(vars(single[i].score), vars(many[i].score))


def test_thresholds_are_quantiles_of_the_pool_or_given(scorer, files):
    assert score(scorer, []) == ({}, None)
    every = np.concatenate([raw_score(scorer, p).score.astype(np.float32).ravel() for p in files])
    _, thresholds = score(scorer, files)
    assert thresholds.metric == pytest.approx(np.quantile(every, 0.9), rel=2e-3)
    assert thresholds.region == pytest.approx(np.quantile(every, 0.95), rel=2e-3)
    assert Thresholds(**json.loads(json.dumps(asdict(thresholds)))) == thresholds
    assert score(scorer, files, thresholds=GIVEN)[1] == GIVEN
    assert score(scorer, files, threshold=0.125)[1].metric == 0.125


def test_an_unreadable_file_costs_nothing_but_itself(scorer, files):
    good, _ = score(scorer, files, thresholds=GIVEN)
    scored, _ = score(scorer, [*files[:7], "nowhere.png", *files[7:]], thresholds=GIVEN)
    assert scored[7].score is None
    assert "no such file" in scored[7].error
    assert sum(s.score is not None for s in scored.values()) == len(good)
    assert scored[8].score.alpha == pytest.approx(good[7].score.alpha, rel=1e-4)


def test_a_pool_beyond_the_sample_is_still_scored_completely(scorer, files, monkeypatch):
    monkeypatch.setattr(local, "SAMPLE_IMAGES", 6)
    first, again = (score(scorer, files, batch_size=2) for _ in range(2))
    assert first[1] == again[1]
    assert sorted(first[0]) == list(range(len(files)))
    excess, repeated = ([s[i].score.excess for i in sorted(s)] for s, _ in (first, again))
    assert excess == pytest.approx(repeated)


def test_areas_are_those_of_the_native_image(scorer, files):
    scorer.alpha = 1
    raw = raw_score(scorer, files[0])
    # At half scale every working pixel stands for four.
    assert raw.alpha == pytest.approx(4 * raw.score.astype(np.float32).sum(), rel=1e-3)


def test_a_map_that_is_scored_in_tiles_gets_the_numbers_of_the_whole(checkpoint, tmp_path, rng):
    pixels = np.asarray(Image.fromarray(rng.random((60, 80), np.float32)).resize((920, 780)))
    path = str(tmp_path / "map.png")
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path)
    tiled, whole = (
        Scorer(checkpoint, ScoreConfig(device="cpu", precision="fp32", tile_size=size))
        for size in (256, 2048)
    )
    assert len(list(tiled.tiles([tiled.read(path)]))) > 4
    zone = np.ones((390, 460), np.float32)
    zone[:200, 100:] = 0.25
    for weights in (None, lambda index: lambda shape: zone):
        one, other = (score(s, [path], weights=weights)[0][0].score for s in (tiled, whole))
        for name in (*METRICS, "entropy", "foreground", "expected_counts", "embedding", "regions"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=2e-3, atol=1e-3, err_msg=name
            )
        np.testing.assert_allclose(one.heatmap.astype(int), other.heatmap.astype(int), atol=1)


def test_few_large_images_are_read_ahead(monkeypatch):
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 100)
    for size, most in ((1, 9), (40, 3), (1000, 3)):
        started = []
        found = read_ahead.read_ahead(
            lambda i, size=size, started=started: started.append(i) or np.zeros(size, np.uint8),
            range(30),
            workers=2,
            ahead=8,
        )
        for done, (item, _) in enumerate(found):
            assert item == done
            assert len(started) - done <= most
        assert sorted(started) == list(range(30))
