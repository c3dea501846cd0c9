"""Stored features: once per content, never of another source, whole or computed again."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from unseen.arrays.images import read_image
from unseen.errors import Cancelled, StoreError
from unseen.ranking.features import compute as features_module
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features, feature_name
from unseen.ranking.features.image_features import ImageFeatures, image_features
from unseen.ranking.features.store import FeatureStore, FileState, content_digest, packed, unpacked

PLAIN = find_backbone("statistics")[0]


@pytest.fixture
def files(tmp_path, rng):
    """Seven images of several sizes; the last one has the content of the first."""
    paths = []
    for i in range(6):
        path = tmp_path / f"{i}.png"
        size = [(40, 40), (64, 90), (100, 70)][i % 3]
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
        paths.append(str(path))
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(paths[0]).read_bytes())
    return [*paths, str(copy)]


@pytest.fixture
def counted(monkeypatch):
    """How often features were computed."""
    calls = []

    def count(backbone, image):
        calls.append(image.shape)
        return image_features(backbone, image)

    monkeypatch.setattr(features_module, "image_features", count)
    return calls


def make(tmp_path, backbone=PLAIN):
    return Features(backbone, tmp_path / "store")


def expected(path):
    return image_features(PLAIN, read_image(path, channels=3))


def execute(features, question, *values):
    database = sqlite3.connect(features.store.path)
    with database:
        rows = database.execute(question, values).fetchall()
    database.close()
    return rows


def test_no_images_have_no_features(tmp_path):
    features = make(tmp_path)
    assert features.vectors([]).shape == (0, 91)
    assert list(features.patches([])) == []


def test_what_comes_back_is_what_was_computed(tmp_path, files):
    features = make(tmp_path)
    vectors = features.vectors(files)
    assert vectors.dtype == np.float32
    patches = dict(features.patches(files))
    assert list(patches) == list(range(len(files)))
    for i, path in enumerate(files):
        one = expected(path)
        np.testing.assert_allclose(vectors[i], one.vector, rtol=1e-3, atol=1e-6)
        half_step = np.abs(one.patches).max(axis=(0, 1)) / 254
        assert (np.abs(patches[i] - one.patches) <= half_step * 1.002 + 1e-6).all()


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
@settings(max_examples=200, deadline=None)
def test_packing_costs_at_most_half_a_step(patches):
    data = packed(patches)
    back = unpacked(data, patches.shape)
    steps = np.frombuffer(data, np.float16, patches.shape[2]).astype(np.float32)
    assert (np.abs(back - patches) <= steps / 2 * (1 + 1e-5) + 1e-40).all()
    # And the step is as small as the largest number and float16 allow.
    exact = np.abs(patches).max(axis=(0, 1)) / 127
    assert (steps <= exact * 1.001 + 6e-8).all()


def test_packing_keeps_what_is_zero_and_what_is_empty():
    assert unpacked(packed(np.zeros((2, 3, 4), np.float32)), (2, 3, 4)).tolist() == (
        np.zeros((2, 3, 4)).tolist()
    )
    assert unpacked(packed(np.zeros((0, 3, 4), np.float32)), (0, 3, 4)).shape == (0, 3, 4)


def test_features_are_computed_once_per_content(tmp_path, files, counted):
    features = make(tmp_path)
    features.compute(files)
    assert len(counted) == 6  # of seven files two are the same
    features.vectors(files)
    list(features.patches(files))
    make(tmp_path).vectors(files[::-1])
    assert len(counted) == 6


def test_a_renamed_file_keeps_its_features_and_a_changed_one_loses_them(tmp_path, files, counted):
    features = make(tmp_path)
    before = features.vectors(files)
    renamed = tmp_path / "renamed.png"
    Path(files[1]).rename(renamed)
    assert content_digest(renamed) in features.store.known([content_digest(renamed)])
    np.testing.assert_array_equal(features.vectors([str(renamed)])[0], before[1])
    assert len(counted) == 6
    Path(files[2]).write_bytes(renamed.read_bytes())
    np.testing.assert_array_equal(features.vectors([files[2]])[0], before[1])
    assert len(counted) == 6
    Image.fromarray(np.zeros((33, 44), np.uint8)).save(files[2])
    assert not np.array_equal(features.vectors([files[2]])[0], before[1])
    assert len(counted) == 7


def test_files_that_did_not_change_are_not_read_again(tmp_path, files, monkeypatch):
    make(tmp_path).compute(files)

    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr(features_module, "content_digest", refuse)
    monkeypatch.setattr(features_module, "read_image", refuse)
    assert np.isfinite(make(tmp_path).vectors(files)).all()


def test_relative_and_absolute_paths_are_one_file(tmp_path, files, monkeypatch):
    make(tmp_path).compute(files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(features_module, "content_digest", lambda path: pytest.fail(path))
    assert np.isfinite(make(tmp_path).vectors([Path(f).name for f in files])).all()


def test_the_order_of_a_pool_changes_nothing(tmp_path, files, rng):
    order = rng.permutation(len(files))
    vectors = make(tmp_path).vectors(files)
    shuffled = Features(PLAIN, tmp_path / "other").vectors([files[i] for i in order])
    np.testing.assert_array_equal(shuffled, vectors[order])


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
    assert "no such file" in features.failures[paths[2]]
    # Repaired, it is as any other.
    broken.write_bytes(Path(files[2]).read_bytes())
    assert np.isfinite(features.vectors([str(broken)])).all()
    assert features.failures == {}


def test_patches_are_not_all_in_memory(tmp_path, files, monkeypatch):
    monkeypatch.setattr(features_module, "GROUP", 2)
    features = make(tmp_path)
    features.compute(files)
    asked = []
    original = FeatureStore.patches

    def ask(self, digests):
        asked.append(len(digests))
        return original(self, digests)

    monkeypatch.setattr(FeatureStore, "patches", ask)
    stream = features.patches(files)
    next(stream)
    assert sum(asked) == 2
    assert [i for i, _ in stream] == [1, 2, 3, 4, 5, 6]


def test_progress_counts_every_image_and_a_stopped_run_keeps_what_it_has(tmp_path, files, counted):
    features = make(tmp_path)
    told = []

    def stop(done, total, label=""):
        told.append((done, total))
        if len(told) == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        features.compute(files, progress=stop)
    assert told == [(1, 7), (2, 7), (3, 7), (4, 7)]  # the copy counts as done
    told.clear()
    features.compute(files, progress=lambda done, total, label="": told.append((done, total)))
    assert told[-1] == (7, 7)
    assert len(counted) == 6


def test_features_of_two_backbones_never_mix(tmp_path, files, counted):
    tuned = replace(PLAIN, digest="f" * 16)
    make(tmp_path).compute(files)
    other = make(tmp_path, tuned)
    other.compute(files)
    assert len(counted) == 12
    assert other.store.path != make(tmp_path).store.path
    # Not even where somebody renames the file.
    make(tmp_path).store.path.rename(other.store.path)
    for beside in other.store.path.parent.glob("*-wal"):
        beside.unlink()
    with pytest.raises(StoreError, match=r"holds .*statistics-4.*expected .*statistics-f.*Delete"):
        make(tmp_path, tuned)


def test_the_name_tells_weights_and_recipe_apart(monkeypatch):
    before = feature_name(PLAIN)
    assert feature_name(replace(PLAIN, digest="f" * 16)) != before
    assert feature_name(replace(PLAIN, name="other")) != before
    monkeypatch.setattr(features_module, "VERSION", 99)
    assert feature_name(PLAIN) != before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE features SET vector = substr(vector, 1, 20)",
        "UPDATE features SET patches = zeroblob(length(patches))",
        "UPDATE features SET rows = rows + 1",
        "UPDATE features SET rows = 'x'",
        "UPDATE features SET vector_crc = vector_crc + 1",
        "UPDATE features SET patches_crc = patches_crc + 1",
        "DELETE FROM features",
    ],
)
def test_damaged_features_are_computed_again(tmp_path, files, counted, damage):
    features = make(tmp_path)
    vectors, patches = features.vectors(files), dict(features.patches(files))
    counted.clear()
    execute(features, damage)
    for _ in range(2):  # what is damaged is computed when it is read, and only then
        np.testing.assert_array_equal(features.vectors(files), vectors)
        again = dict(features.patches(files))
        assert again.keys() == patches.keys()
        for i, found in again.items():
            np.testing.assert_array_equal(found, patches[i])
        assert len(counted) == 6


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


def test_what_float16_cannot_hold_is_stored_as_its_largest(tmp_path):
    store = FeatureStore(tmp_path, "x", 2, 1)
    patches = np.zeros((1, 1, 1), np.float32)
    store.put({"a": ImageFeatures(np.asarray([1e9, -1e9], np.float32), patches)})
    assert store.vectors(["a"])["a"].tolist() == [65504, -65504]


def test_more_images_than_one_question_may_hold(tmp_path):
    store = FeatureStore(tmp_path, "x", 1, 1)
    names = [f"{i}" for i in range(1203)]
    one = ImageFeatures(np.ones(1, np.float32), np.ones((1, 1, 1), np.float32))
    store.put(dict.fromkeys(names, one))
    assert store.known([*names, "other"]) == set(names)
    assert len(store.vectors(names)) == 1203


def write(folder, number, barrier):
    """Opens the store at the same moment as others, and writes many small groups."""
    barrier.wait(30)
    store = FeatureStore(folder, "x", 1, 1)
    for i in range(40):
        vector, patches = np.full(1, i, np.float32), np.full((1, 1, 1), i, np.float32)
        names = (f"common {i}", f"{number} {i}")
        store.put(dict.fromkeys(names, ImageFeatures(vector, patches)))
        store.remember({f"/{number}/{i}": (FileState(i, i), names[0])})
        assert store.vectors(names).keys() == set(names)


def test_processes_write_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=write, args=(tmp_path, n, barrier)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = FeatureStore(tmp_path, "x", 1, 1)
    names = [f"{who} {i}" for who in ("common", 0, 1, 2) for i in range(40)]
    vectors, patches = store.vectors(names), store.patches(names)
    assert [vectors[name].tolist() for name in names] == [[i] for i in range(40)] * 4
    assert [round(float(patches[name][0, 0, 0])) for name in names] == [*range(40)] * 4
    assert len(store.digests([f"/{n}/{i}" for n in range(3) for i in range(40)])) == 120


def test_a_stopped_look_at_the_files_goes_on_where_it_was(tmp_path, files, monkeypatch, counted):
    monkeypatch.setattr(features_module, "PART", 2)
    features = make(tmp_path)

    def stop(done, total, label=""):
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        features.compute(files, progress=stop)
    assert len(counted) == 3
    assert np.isfinite(features.vectors(files)).all()
    assert len(counted) == 6


def test_an_image_takes_the_documented_room(tmp_path, rng):
    backbone, _ = find_backbone("efficientnet_lite0")
    for side, most in ((200, 33_000), (320, 70_000)):
        folder = tmp_path / str(side)
        folder.mkdir()
        paths = []
        for i in range(8):
            paths.append(str(folder / f"{i}.png"))
            pixels = rng.integers(0, 255, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(paths[-1])
        features = Features(backbone, folder)
        features.compute(paths)
        data = execute(features, "SELECT sum(length(vector) + length(patches)) FROM features")
        assert data[0][0] / 8 < features.store.path.stat().st_size / 8 < most
