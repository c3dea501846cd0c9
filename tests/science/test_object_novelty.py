"""Objects that look unlike the other objects of the pool, whatever the labels say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import multivariate_normal

from unseen.errors import ShapeError
from unseen.science import object_novelty as novelty
from unseen.science.object_novelty import (
    SIDE,
    cut_outs,
    image_novelty,
    object_novelty,
    sharpness,
    usual_objects,
)

SIZE = 14


def scene(rng, odd: int | None = None):
    """Sixteen discs on a grid, one of them a bar instead, and a map of where they are."""
    y, x = np.mgrid[0:160, 0:160]
    image = rng.normal(0.4, 0.02, (160, 160)).astype(np.float32)
    foreground = np.zeros((160, 160), np.float32)
    for k in range(16):
        centre = 20 + 40 * (k // 4) + rng.uniform(-3, 3), 20 + 40 * (k % 4) + rng.uniform(-3, 3)
        away = np.hypot(y - centre[0], x - centre[1])
        is_odd = np.abs(y - x - centre[0] + centre[1]) < 3  # a diagonal bar instead of the disc
        shape = is_odd & (away < SIZE / 2) if k == odd else away < SIZE / 2
        image[shape] += 0.3 + rng.uniform(-0.05, 0.05)
        foreground[away < SIZE] = 1
    return image, foreground


def test_every_object_is_cut_out_once_around_its_middle(rng):
    objects = cut_outs(*scene(rng), SIZE)
    assert objects.shape == (16, SIDE, SIDE)
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    bright = np.clip(objects - objects.min(axis=(1, 2), keepdims=True) - 0.15, 0, None)
    weight = bright.sum(axis=(1, 2))
    middles = np.stack([(bright * axis).sum(axis=(1, 2)) / weight for axis in (y, x)])
    assert np.abs(middles).max() < 4


def test_nothing_is_cut_out_where_there_is_only_background(rng):
    image, foreground = scene(rng)
    assert cut_outs(image, 0 * foreground, SIZE).shape == (0, SIDE, SIDE)
    foreground[:80] = 0
    assert len(cut_outs(image, foreground, SIZE)) == 8


def test_cut_outs_do_not_depend_on_the_scale_of_the_picture(rng):
    image, foreground = scene(rng)
    double = [np.kron(part, np.ones((2, 2), np.float32)) for part in (image, foreground)]
    one, two = cut_outs(image, foreground, SIZE), cut_outs(*double, 2 * SIZE)
    assert len(one) == len(two) == 16
    likeness = np.corrcoef(one.reshape(16, -1), two.reshape(16, -1))[:16, 16:].max(axis=1)
    assert likeness.min() > 0.9


def test_the_image_with_the_odd_object_is_the_most_novel(rng):
    pool = [cut_outs(*scene(rng, odd=5 if i in (7, 23) else None), SIZE) for i in range(60)]
    usual = usual_objects(np.concatenate(pool))
    found = np.array([image_novelty(object_novelty(objects, usual)) for objects in pool])
    assert set(np.argsort(-found)[:2]) == {7, 23}


@pytest.fixture
def any_density(monkeypatch):
    """Use densities of noise too, which notices nothing."""
    monkeypatch.setattr(novelty, "SHARP", 0.0)


def test_novelty_is_minus_the_logarithm_of_the_fitted_density(rng, any_density):
    objects = rng.normal(size=(400, SIDE, SIDE))
    usual = usual_objects(objects)
    values = novelty._described(novelty._centred(objects), usual)
    density = sum(
        np.exp(weight) * multivariate_normal.pdf(values, mean, np.linalg.inv(factor @ factor.T))
        for weight, mean, factor in zip(usual.weights, usual.means, usual.factors, strict=True)
    )
    np.testing.assert_allclose(object_novelty(objects, usual), -np.log(density), rtol=1e-6)


def test_brightness_of_an_object_does_not_matter(rng, any_density):
    objects = rng.normal(size=(300, SIDE, SIDE))
    usual = usual_objects(objects)
    np.testing.assert_allclose(object_novelty(objects + 3, usual), object_novelty(objects, usual))


def test_the_same_pool_gives_the_same_density(rng, any_density):
    objects = rng.normal(size=(5000, SIDE, SIDE)).astype(np.float32)
    one, two = usual_objects(objects), usual_objects(objects)
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def test_too_few_objects_say_nothing_about_what_is_usual(rng):
    assert usual_objects(np.zeros((0, SIDE, SIDE))) is None
    assert usual_objects(rng.normal(size=(novelty.FEWEST - 1, SIDE, SIDE))) is None
    assert image_novelty([]) is None


def test_a_density_of_like_objects_notices_a_spoilt_one_and_is_used(rng):
    objects = np.concatenate([cut_outs(*scene(rng), SIZE) for _ in range(30)])
    usual = usual_objects(objects)
    assert usual is not None
    assert sharpness(objects, usual) > 0.9


def test_where_every_object_looks_different_no_density_is_used(rng):
    # Smooth noise of every kind: a disc more or less is nothing special.
    objects = [ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), s) / s for s in range(1, 6)]
    various = np.concatenate(
        [
            rng.normal(size=(900, 5)) @ np.reshape(objects, (5, -1)),
            0 * rng.normal(size=(0, SIDE**2)),
        ]
    ).reshape(-1, SIDE, SIDE)
    various += ndimage.gaussian_filter(rng.normal(size=various.shape), (0, 2, 2)) * 3
    assert usual_objects(various) is None


def test_sharpness_is_chance_where_nothing_is_taken_out(rng, monkeypatch):
    objects = np.concatenate([cut_outs(*scene(rng), SIZE) for _ in range(30)])
    usual = usual_objects(objects)
    monkeypatch.setattr(novelty, "BITE", (-1.0, -1.0))
    assert sharpness(objects, usual) == 0.5


def test_image_and_foreground_must_fit():
    with pytest.raises(ShapeError, match=r"\(5, 5\).*\(4, 5\)"):
        cut_outs(np.zeros((5, 5), np.float32), np.zeros((4, 5), np.float32), 8)
