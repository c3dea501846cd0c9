"""Features of real images -> what the criteria read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.ranking.feature_evidence import (
    KnownImage,
    feature_evidence,
    prevalence,
    wanted_classes,
)
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.rehearsal import Rehearsal

DOT, STRIPES = 0, 1
SIZE = 96
DOTS, LINES = (8, 8, 40, 40), (48, 48, 88, 88)
#: What each image of the pool shows.
SHOWS = [(DOT,), (DOT,), (DOT, STRIPES), (DOT,), (), (DOT, STRIPES), (DOT,), (DOT,)]


@pytest.fixture
def draw(tmp_path, rng):
    """A factory: (name, classes) -> path."""

    def make(name, shows):
        pixels = rng.normal(110, 4, (SIZE, SIZE))
        if DOT in shows:
            pixels[8:40, 8:40] += 90
        if STRIPES in shows:
            pixels[48:88, 48:88] += 60 * (-1) ** (np.arange(40) // 2)
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        return str(path)

    return make


@pytest.fixture
def known(draw):
    """Four initial images with dots or nothing, and one of a batch with stripes as well."""
    rows = [("a", (DOT,)), ("b", (DOT,)), ("c", (DOT,)), ("d", ()), ("e", (DOT, STRIPES))]
    return [_known(draw(name, shows), shows, is_initial=name != "e") for name, shows in rows]


@pytest.fixture
def pool(draw):
    return [draw(f"pool{i}", shows) for i, shows in enumerate(SHOWS)]


@pytest.fixture
def features(tmp_path):
    return Features(find_backbone("statistics")[0], tmp_path / "store")


def _known(path, shows, **more):
    boxes = [{DOT: DOTS, STRIPES: LINES}[k] for k in shows]
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return KnownImage(path, xyxy, np.asarray(shows, np.int64), (SIZE, SIZE), **more)


def test_evidence_is_there_for_a_new_class_only_and_tells_where_it_is(features, pool, known):
    found = feature_evidence(features, pool, known, 2, seed=0)
    assert found.space.shape[0] == len(pool)
    assert found.known.shape == (5, found.space.shape[1])
    assert found.wanted.tolist() == [0, 1]
    assert np.isnan(found.evidence[:, DOT]).all()
    has = np.asarray([STRIPES in shows for shows in SHOWS])
    stripes = found.evidence[:, STRIPES]
    assert stripes[has].min() > max(0, stripes[~has].max())
    assert found.sought.tolist() == [False, True]
    assert found.rehearsal.classes == 1  # too few images are without a dot
    assert 0 <= found.rehearsal.novelty <= 1


def test_where_no_class_is_wanted_there_is_no_evidence(features, pool, known):
    found = feature_evidence(features, pool, known[:4], 2, seed=0)
    assert found.wanted.tolist() == [0, 0]
    assert np.isnan(found.evidence).all()
    assert found.sought.tolist() == [False, True]  # nobody has labelled the second one


def test_without_a_label_there_are_still_features(features, pool):
    found = feature_evidence(features, pool, [], 0, seed=0)
    assert found.evidence.shape == (len(pool), 0)
    assert found.known.shape == (0, found.space.shape[1])
    assert found.rehearsal == Rehearsal()
    assert np.isfinite(found.space).all()
    empty = feature_evidence(features, [], [], 2, seed=0)
    assert empty.evidence.shape == (0, 2)


def test_an_image_that_cannot_be_read_is_unknown(features, pool, known):
    Path(pool[3]).write_bytes(b"no image")
    found = feature_evidence(features, pool, known, 2, seed=0)
    assert np.flatnonzero(np.isnan(found.space).any(axis=1)).tolist() == [3]
    assert np.flatnonzero(np.isnan(found.evidence[:, STRIPES])).tolist() == [3]


def test_a_labelled_image_that_cannot_be_read_teaches_nothing(features, pool, known):
    Path(known[4].path).write_bytes(b"no image")
    found = feature_evidence(features, pool, known, 2, seed=0)
    assert np.isnan(found.known[4]).all()
    assert np.isnan(found.evidence).all()  # it was the only one of its class
    assert np.isfinite(found.space).all()


def test_images_out_for_labelling_are_known_and_teach_nothing(features, pool, known):
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    waiting = KnownImage(pool[-1], *nothing, (1, 1), is_labelled=False)
    found = feature_evidence(features, pool[:-1], [*known, waiting], 2, seed=0)
    # The same files lie in the same space, whether as the pool or around it.
    whole = feature_evidence(features, pool, known, 2, seed=0)
    np.testing.assert_allclose(found.known[-1], whole.space[-1], atol=1e-9)
    np.testing.assert_allclose(found.evidence, whole.evidence[:-1], atol=1e-9)
    assert found.rehearsal == whole.rehearsal
    assert found.wanted.tolist() == whole.wanted.tolist()


def test_what_is_outside_the_scope_is_no_background(features, pool, known):
    whole = feature_evidence(features, pool, known, 2, seed=0)
    none = np.zeros((0, 4), np.float32)
    limited = [
        _known(k.path, k.classes.tolist(), is_initial=k.is_initial, scope=none) for k in known
    ]
    found = feature_evidence(features, pool, limited, 2, seed=0)
    assert not np.allclose(found.evidence[:, STRIPES], whole.evidence[:, STRIPES])


def test_the_order_of_the_pool_does_not_change_an_image(features, pool, known, rng):
    straight = feature_evidence(features, pool, known, 2, seed=0)
    turn = rng.permutation(len(pool))
    other = feature_evidence(features, [pool[i] for i in turn], known, 2, seed=0)
    np.testing.assert_allclose(other.evidence, straight.evidence[turn], atol=1e-9)
    np.testing.assert_allclose(other.space, straight.space[turn], atol=1e-9)


@pytest.mark.parametrize(
    ("prevalence", "labelled", "initial", "expected"),
    [
        # On average .3: weights 1 / .01 and 1 / .04.
        ((0.6, 0.1, 0.2), (10, 2, 3), (10, 0, 0), (0, 0.8, 0.2)),
        # Seemingly in no image: as if in one of a thousand.
        ((0.5, 0.0, 1e-3), (5, 1, 1), (5, 0, 0), (0, 0.5, 0.5)),
        ((0.1, 0.6), (1, 9), (1, 9), (0, 0)),  # the initial images show both
        ((0.6, 0.0), (9, 0), (9, 0), (0, 0)),  # the second is not labelled
        ((0.1, 0.6), (9, 5), (9, 0), (0, 0)),  # the second is common
        ((0.0, 0.0), (0, 0), (0, 0), (0, 0)),
        ((), (), (), ()),
    ],
)
def test_new_classes_are_wanted_by_the_square_of_how_rare_they_are(
    prevalence, labelled, initial, expected
):
    wanted = wanted_classes(*map(np.asarray, (prevalence, labelled, initial)))
    np.testing.assert_allclose(wanted, expected)


def test_prevalence_goes_by_the_nearest_labelled_image(rng):
    space, known = rng.normal(size=(30, 3)), rng.normal(size=(7, 3))
    holds = rng.uniform(size=(7, 2)) < 0.4
    space[4] = known[3] = np.nan
    images = [p for p in np.concatenate([space, known]) if not np.isnan(p).any()]
    usable = [i for i in range(7) if i != 3]
    nearest = [min(usable, key=lambda i: np.linalg.norm(p - known[i])) for p in images]
    np.testing.assert_allclose(prevalence(space, known, holds), holds[nearest].mean(axis=0))
    none = np.full_like(known, np.nan)
    assert prevalence(space, none, holds).tolist() == [0, 0]  # no labelled image
