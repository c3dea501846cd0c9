"""Features of real images -> what the criteria read."""

import numpy as np
import pytest
from PIL import Image

from unseen.ranking.feature_evidence import KnownImage, feature_evidence, prevalence, wanted_classes
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.rehearsal import Rehearsal

DOT, STRIPES = 0, 1
SIZE = 96
DOTS, LINES = (8, 8, 40, 40), (48, 48, 88, 88)
#: What the labelled images show; the last one is of a batch, the others are initial.
LABELLED = {"a": (DOT,), "b": (DOT,), "c": (DOT,), "d": (), "e": (DOT, STRIPES)}
#: What each image of the pool shows.
SHOWS = [(DOT,), (DOT,), (DOT, STRIPES), (DOT,), (), (DOT, STRIPES), (DOT,), (DOT,)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A function that tells the evidence; the paths of a pool; labelled images "a" to "e"."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(7)
    paths = {}
    for name, shows in {**LABELLED, **dict(enumerate(SHOWS))}.items():
        pixels = rng.normal(110, 4, (SIZE, SIZE))
        if DOT in shows:
            pixels[8:40, 8:40] += 90
        if STRIPES in shows:
            pixels[48:88, 48:88] += 60 * (-1) ** (np.arange(40) // 2)
        paths[name] = str(folder / f"{name}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[name])
    store = Features(find_backbone("statistics")[0], folder)
    known = [make_known(paths[n], shows, is_initial=n != "e") for n, shows in LABELLED.items()]
    return (
        lambda pool, known, count=2: feature_evidence(store, pool, known, count, seed=0),
        [paths[i] for i in range(len(SHOWS))],
        known,
    )


def make_known(path, shows, **more):
    boxes = [{DOT: DOTS, STRIPES: LINES}[k] for k in shows]
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return KnownImage(path, xyxy, np.asarray(shows, np.int64), (SIZE, SIZE), **more)


def test_evidence_is_there_for_a_new_class_only_and_tells_where_it_is(world):
    look, pool, known = world
    told = look(pool, known)
    assert told.space.shape[0] == len(pool)
    assert told.known.shape == (5, told.space.shape[1])
    assert told.wanted.tolist() == [0, 1]
    assert told.sought.tolist() == [False, True]
    assert np.isnan(told.evidence[:, DOT]).all()
    has = np.asarray([STRIPES in shows for shows in SHOWS])
    stripes = told.evidence[:, STRIPES]
    assert stripes[has].min() > max(0, stripes[~has].max())
    assert told.rehearsal.classes == 1  # too few images are without a dot
    assert 0 <= told.rehearsal.novelty <= 1


def test_without_a_wanted_class_or_a_label_there_are_only_features(world):
    look, pool, known = world
    told = look(pool, known[:4])
    assert told.wanted.tolist() == [0, 0]
    assert told.sought.tolist() == [False, True]  # nobody has labelled the second one
    assert np.isnan(told.evidence).all()
    told = look(pool, [], 0)
    assert told.evidence.shape == (len(pool), 0)
    assert told.known.shape == (0, told.space.shape[1])
    assert told.rehearsal == Rehearsal()
    assert np.isfinite(told.space).all()
    assert look([], []).evidence.shape == (0, 2)


def test_unreadable_images_are_unknown_and_teach_nothing(world, tmp_path):
    look, pool, known = world
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    told = look([*pool[:3], str(broken), *pool[4:]], known)
    assert np.flatnonzero(np.isnan(told.space).any(axis=1)).tolist() == [3]
    assert np.flatnonzero(np.isnan(told.evidence[:, STRIPES])).tolist() == [3]
    told = look(pool, [*known[:4], make_known(str(broken), (DOT, STRIPES))])
    assert np.isnan(told.known[4]).all()
    assert np.isnan(told.evidence).all()  # it was the only one of its class
    assert np.isfinite(told.space).all()


def test_images_out_for_labelling_are_known_and_teach_nothing(world):
    look, pool, known = world
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    waiting = KnownImage(pool[-1], *nothing, (1, 1), is_labelled=False)
    told, whole = look(pool[:-1], [*known, waiting]), look(pool, known)
    # The same files lie in the same space, whether as the pool or around it.
    np.testing.assert_allclose(told.known[-1], whole.space[-1], atol=1e-9)
    np.testing.assert_allclose(told.evidence, whole.evidence[:-1], atol=1e-9)
    assert told.rehearsal == whole.rehearsal
    assert told.wanted.tolist() == whole.wanted.tolist()


def test_the_order_of_the_pool_does_not_change_an_image(world, rng):
    look, pool, known = world
    turn = rng.permutation(len(pool))
    straight, other = look(pool, known), look([pool[i] for i in turn], known)
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
