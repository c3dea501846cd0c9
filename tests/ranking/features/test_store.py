"""Stored features: computed once per content, never mixed with those of another source."""

import multiprocessing
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.arrays.images import read_image
from unseen.errors import Cancelled, StoreError
from unseen.ranking.features import compute
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features, feature_name
from unseen.ranking.features.image_features import (
    ImageFeatures,
    batch_features,
    image_features,
)
from unseen.ranking.features.store import FeatureStore, packed, row, unpacked

PLAIN = find_backbone("statistics")[0]


@pytest.fixture
def files(tmp_path, rng):
    """Seven images of several sizes; the last one has the content of the first."""
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for path, size in zip(paths, [(40, 40), (64, 90), (100, 70)] * 2, strict=False):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    paths[6].write_bytes(paths[0].read_bytes())
    return [str(path) for path in paths]


@pytest.fixture
def counted(monkeypatch):
    """The shapes of the images whose features were computed."""
    calls = []

    def count(backbone, images):
        calls.extend(image.shape for image in images)
        return batch_features(backbone, images)

    monkeypatch.setattr(compute, "batch_features", count)
    return calls


def make(tmp_path, backbone=PLAIN):
    return Features(backbone, tmp_path / "store")


def test_stored_features_are_the_computed_ones(tmp_path, files):
    features = make(tmp_path)
    assert features.vectors([]).shape == (0, 91)
    assert list(features.patches([])) == []
    vectors, patches = features.vectors(files), dict(features.patches(files))
    assert vectors.dtype == np.float32
    assert list(patches) == list(range(len(files)))
    for i, path in enumerate(files):
        one = image_features(PLAIN, read_image(path, channels=3))
        np.testing.assert_allclose(vectors[i], one.vector, rtol=1e-3, atol=1e-6)
        half_step = np.abs(one.patches).max(axis=(0, 1)) / 254
        assert (np.abs(patches[i] - one.patches) <= half_step * 1.002 + 1e-6).all()


@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (5, 4, 3)])
@pytest.mark.parametrize("largest", [0, 1e-9, 1, 1e6])
def test_packing_costs_at_most_half_a_step(rng, shape, largest):
    patches = (largest * rng.uniform(-1, 1, shape)).astype(np.float32)
    data = packed(patches)
    back = unpacked(data)
    assert back.shape == shape
    steps = np.frombuffer(data, np.float16, shape[2], offset=12).astype(np.float32)
    assert (np.abs(back - patches) <= steps / 2 * (1 + 1e-5) + 1e-40).all()
    # And the step is as small as the largest number and float16 allow.
    exact = np.abs(patches).max(axis=(0, 1), initial=0) / 127
    assert (steps <= exact * 1.001 + 6e-8).all()


def test_features_are_computed_once_per_content_and_backbone(tmp_path, files, counted, monkeypatch):
    features = make(tmp_path)
    features.compute(files)
    assert len(counted) == 6  # of seven files two are the same
    before = features.vectors(files)
    list(make(tmp_path).patches(files[::-1]))
    renamed = Path(files[1]).rename(tmp_path / "renamed.png")
    Path(files[2]).write_bytes(renamed.read_bytes())
    for path in (str(renamed), files[2]):
        np.testing.assert_array_equal(features.vectors([path])[0], before[1])
    assert len(counted) == 6
    Image.fromarray(np.zeros((33, 44), np.uint8)).save(files[2])
    assert not np.array_equal(features.vectors([files[2]])[0], before[1])
    assert len(counted) == 7
    tuned, other = replace(PLAIN, digest="f" * 16), replace(PLAIN, name="other")
    make(tmp_path, tuned).compute(files[3:6])
    assert len(counted) == 10
    names = {feature_name(backbone) for backbone in (PLAIN, tuned, other)}
    monkeypatch.setattr(compute, "VERSION", 99)
    assert len(names | {feature_name(PLAIN)}) == 4


def test_unchanged_files_are_not_read_again_by_whatever_path(tmp_path, files, monkeypatch):
    make(tmp_path).compute(files)
    for name in ("content_digest", "read_pixels"):
        monkeypatch.setattr(compute, name, lambda path: pytest.fail(f"{path} is read"))
    monkeypatch.chdir(tmp_path)
    for paths in (files, [Path(f).name for f in files]):
        assert np.isfinite(make(tmp_path).vectors(paths)).all()


def test_deep_images_share_the_range_that_is_given(tmp_path, rng):
    path = tmp_path / "deep.png"
    pixels = rng.integers(0, 4096, (80, 80)).astype(np.uint16)
    Image.fromarray(pixels).save(path)
    stored = [
        Features(PLAIN, tmp_path / "store", value_range=given).vectors([str(path)])[0]
        for given in (None, (0.0, 4095.0), None)
    ]
    expected = image_features(PLAIN, pixels[:, :, None] / np.float32(4095)).vector
    np.testing.assert_allclose(stored[1], expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_array_equal(stored[0], stored[2])
    assert not np.allclose(stored[0], stored[1])


def test_unreadable_images_get_nan_and_a_reason(tmp_path, files):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    paths = [files[0], str(broken), str(tmp_path / "gone.png"), files[1]]
    features = make(tmp_path)
    vectors = features.vectors(paths)
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True, False]
    assert [i for i, _ in features.patches(paths)] == [0, 3]
    assert set(features.failures) == set(paths[1:3])
    assert "cannot be read" in features.failures[paths[1]]
    assert "No such file" in features.failures[paths[2]]
    broken.write_bytes(Path(files[2]).read_bytes())
    assert np.isfinite(features.vectors([str(broken)])).all()
    assert features.failures == {}


def test_progress_counts_images_and_a_stopped_run_keeps_what_it_has(tmp_path, files, counted):
    features, told = make(tmp_path), []

    def stop(done, total, label=""):
        told.append((done, total))
        if done == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        features.compute(files, progress=stop)
    assert told == [(1, 7), (2, 7), (3, 7), (4, 7)]  # the copy counts as done
    counted.clear()
    features.compute(files, progress=lambda done, total, label="": told.append((done, total)))
    assert told[-1] == (7, 7)
    assert len(counted) == 3


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE features SET {0} = substr({0}, 1, 20)",
        "UPDATE features SET {0} = zeroblob(length({0}))",
        "UPDATE features SET {0} = 'x'",
        "DELETE FROM features",
    ],
)
def test_damaged_features_are_computed_again(tmp_path, files, counted, damage):
    features = make(tmp_path)
    reads = {
        "vector": lambda: dict(enumerate(features.vectors(files))),
        "patches": lambda: dict(features.patches(files)),
    }
    for column, read in reads.items():
        before = read()
        counted.clear()
        with closing(sqlite3.connect(features.store.path)) as database, database:
            database.execute(damage.format(column))
        for _ in range(2):
            np.testing.assert_equal(read(), before)
            assert len(counted) == 6  # and only once


def test_a_damaged_image_that_is_gone_too_has_no_features(tmp_path, files):
    features = make(tmp_path)
    stream = features.patches(files)
    next(stream)
    with closing(sqlite3.connect(features.store.path)) as database, database:
        database.execute("UPDATE features SET vector = zeroblob(9)")
    original = features.compute

    def compute(paths, *, progress):
        digests = original(paths, progress=progress)
        Path(files[1]).unlink()
        return digests

    features.compute = compute
    assert np.isnan(features.vectors(files)).any(axis=1).tolist() == [False, True] + 5 * [False]
    assert set(features.failures) == {files[1]}


@pytest.mark.parametrize("content", [b"this is no database, but long enough " * 9, b"SQLite"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, files, content):
    features = make(tmp_path)
    features.compute(files)
    features.store.path.write_bytes(content)
    for call in (lambda: make(tmp_path), lambda: features.vectors(files)):
        with pytest.raises(StoreError, match="delete the file") as caught:
            call()
        assert str(features.store.path) in str(caught.value)
    features.store.path.unlink()
    assert np.isfinite(make(tmp_path).vectors(files)).all()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="name another folder"):
        make(tmp_path)


def test_the_store_holds_extreme_numbers_and_many_images(tmp_path):
    store = FeatureStore(tmp_path, "x")
    features = ImageFeatures(np.asarray([1e9, -1e9], np.float32), np.zeros((1, 1, 1), np.float32))
    names = [f"{i}" for i in range(1203)]  # more than one query may hold
    store.put(dict.fromkeys(names, row(features)))
    assert store.known([*names, "other"]) == set(names)
    vectors = store.vectors(names)
    assert len(vectors) == 1203
    assert vectors["7"].tolist() == [65504, -65504]  # the largest of float16


def write(folder, number, barrier):
    """Opens the store at the same moment as others, and writes many small groups."""
    barrier.wait(30)
    store = FeatureStore(folder, "x")
    for i in range(40):
        vector, patches = np.full(1, i, np.float32), np.full((1, 1, 1), i, np.float32)
        names = (f"common {i}", f"{number} {i}")
        store.put(dict.fromkeys(names, row(ImageFeatures(vector, patches))))
        store.remember({f"/{number}/{i}": ((i, i), names[0])})
        assert store.vectors(names).keys() == set(names)


def test_processes_write_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=write, args=(tmp_path, n, barrier)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = FeatureStore(tmp_path, "x")
    names = [f"{who} {i}" for who in ("common", 0, 1, 2) for i in range(40)]
    vectors, patches = store.vectors(names), store.patches(names)
    assert [vectors[name].tolist() for name in names] == [[i] for i in range(40)] * 4
    assert [round(float(patches[name][0, 0, 0])) for name in names] == [*range(40)] * 4
    assert len(store.digests([f"/{n}/{i}" for n in range(3) for i in range(40)])) == 120


@pytest.mark.parametrize(("side", "most"), [(200, 33_000), (320, 70_000), (900, 70_000)])
def test_an_image_takes_the_documented_room(rng, side, most):
    image = rng.random((side, side, 1), dtype=np.float32)
    features = image_features(find_backbone("efficientnet_lite0")[0], image)
    room = len(packed(features.patches)) + features.vector.astype(np.float16).nbytes
    assert 0.8 * most < room < most
