import numpy as np
import pytest
import torch

from unseen.errors import ShapeError
from unseen.science.texture import (
    KINDS,
    LEVELS,
    stands_out,
    texture_features,
    texture_novelty,
    usual_texture,
)


def _grain(count, seed=0, height=128, width=128):
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.05 * torch.randn(count, 1, height, width, generator=generator)


def _waves(period, *, across, size=128):
    phase = 2 * np.pi * torch.arange(size) / period
    wave = torch.sin(phase)[None, :].expand(size, size)
    return 0.5 + 0.1 * (wave if across else wave.T)[None, None]


def _typical(images):
    """(B, LEVELS, KINDS) of the typical cell."""
    return texture_features(images)[:, : LEVELS * KINDS].reshape(-1, LEVELS, KINDS)


def test_no_images_have_no_features():
    assert texture_features(torch.zeros(0, 1, 64, 64)).shape == (0, 2 * LEVELS * KINDS)


def test_an_image_does_not_depend_on_its_batch():
    images = _grain(3)
    alone = torch.cat([texture_features(image[None]) for image in images])
    torch.testing.assert_close(texture_features(images), alone)


def test_level_and_gradient_of_the_light_change_nothing():
    images = _grain(2)
    slope = torch.linspace(-0.2, 0.2, 128)
    lit = images + 0.1 + slope[None, None, None, :] + 0.5 * slope[None, None, :, None]
    # The plane is taken out up to the noise that it is fitted to.
    torch.testing.assert_close(texture_features(lit), texture_features(images), atol=0.02, rtol=0)


def test_twice_the_contrast_adds_the_logarithm_of_four():
    images = _grain(2)
    doubled = 0.5 + 2 * (images - 0.5)
    step = texture_features(doubled) - texture_features(images)
    torch.testing.assert_close(step, torch.full_like(step, float(np.log(4))), atol=0.01, rtol=0)


def test_a_turned_image_swaps_across_and_down():
    image = _waves(12, across=True) + 0.1 * (_grain(1) - 0.5)
    turned = _typical(image.transpose(2, 3))
    torch.testing.assert_close(turned[..., [1, 0]], _typical(image)[..., [0, 1]])


def test_a_wave_has_the_energy_of_its_derivative():
    # d/dx of a sin(2 pi x / p) by central differences is a sin(2 pi / p) cos(...), mean square half.
    expected = np.log((0.1 * np.sin(2 * np.pi / 16)) ** 2 / 2)
    across = _typical(_waves(16, across=True))[0, 0, 0]
    assert float(across) == pytest.approx(expected, abs=0.05)


def test_longer_waves_speak_at_coarser_scales():
    fine, coarse = (
        _typical(_waves(period, across=True))[0, :, KINDS - 1].argmax() for period in (4, 24)
    )
    assert fine < coarse


def test_small_marks_leave_the_typical_cell_alone():
    image = _grain(1)
    marked = image.clone()
    marked[..., 20:28, 20:28] += 0.4
    change = (texture_features(marked) - texture_features(image)).abs()[0]
    # The median of 16 cells moves by what one of them can move it; the strong cell sees the mark.
    assert change[: 3 * KINDS].max() < 0.2
    assert change[LEVELS * KINDS :].max() > 1


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 40)])
def test_any_size_has_finite_features(size):
    features = texture_features(torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)))
    assert features.shape == (2, 2 * LEVELS * KINDS)
    assert features.isfinite().all()


def test_another_grain_is_the_most_novel_although_a_drift_is_wider():
    generator = torch.Generator().manual_seed(3)
    drift = torch.linspace(0.85, 1.15, 60)[:, None, None, None]
    images = 0.5 + 0.05 * drift * torch.randn(60, 1, 128, 128, generator=generator)
    images[40] += 0.3 * (_waves(10, across=True)[0] - 0.5)  # root mean square .021 in noise of .05
    features = texture_features(images)
    assert int(np.argmax(texture_novelty(features.numpy()))) == 40


def test_no_novelty_in_an_empty_pool_or_among_equal_images():
    assert texture_novelty(np.zeros((0, 4))).shape == (0,)
    np.testing.assert_array_equal(texture_novelty(np.ones((5, 4))), np.zeros(5))


def test_novelty_is_the_distance_in_usual_deviations():
    # Median 0, median absolute deviation 1: a usual deviation of 1.4826 in each dimension.
    line = np.asarray([-2.0, -1, 0, 1, 2])
    features = np.stack([line, 10 * line], axis=1)
    expected = np.abs(line) / 1.4826 * np.sqrt(2)
    np.testing.assert_allclose(texture_novelty(features), expected)


def test_units_and_offsets_of_the_features_do_not_matter():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 6))
    scaled = features * rng.uniform(1, 9, 6) + rng.normal(size=6)
    np.testing.assert_allclose(texture_novelty(scaled), texture_novelty(features))


def test_images_without_features_have_no_novelty_and_change_none():
    features = np.random.default_rng(1).normal(size=(20, 3))
    with_missing = np.insert(features, 7, np.nan, axis=0)
    novelty = texture_novelty(with_missing)
    assert np.isnan(novelty[7])
    np.testing.assert_allclose(np.delete(novelty, 7), texture_novelty(features))


def test_novelty_of_a_part_can_be_measured_against_the_whole_pool():
    features = np.random.default_rng(2).normal(size=(40, 5))
    usual = usual_texture(features)
    whole = texture_novelty(features)
    np.testing.assert_allclose(texture_novelty(features[:7], usual), whole[:7])


def test_rare_images_do_not_widen_what_is_usual():
    features = np.random.default_rng(2).normal(size=(100, 5))
    spoilt = features.copy()
    spoilt[:6] += 100
    before, after = usual_texture(features), usual_texture(spoilt)
    assert np.abs(after.median - before.median).max() < 0.3
    assert np.abs(after.width / before.width - 1).max() < 0.3


def test_a_pool_without_features_takes_anything_for_usual():
    usual = usual_texture(np.full((3, 2), np.nan))
    assert np.isnan(texture_novelty(np.full((3, 2), np.nan), usual)).all()
    np.testing.assert_allclose(texture_novelty([[3.0, 4.0]], usual), [5])


def test_no_image_of_a_normal_pool_stands_out_and_every_odd_one_does():
    rng = np.random.default_rng(4)
    usual = np.exp(rng.normal(2, 0.3, 400))
    # Beyond 3 standard deviations there is .1 % of a normal distribution.
    assert stands_out(usual).mean() < 0.01
    odd = np.concatenate([usual, np.exp(2 + 0.3 * np.asarray([4.0, 6, 8]))])
    assert stands_out(odd)[-3:].all()
    np.testing.assert_array_equal(stands_out(7 * odd), stands_out(odd))  # whatever the unit


def test_nothing_stands_out_among_equals_or_unknowns():
    assert not stands_out(np.full(5, 3.0)).any()
    assert not stands_out(np.zeros(4)).any()
    assert stands_out([]).shape == (0,)
    assert stands_out([1.0, 1.1, np.nan, 0.9, 1.0, 9.0]).tolist() == [False] * 5 + [True]


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match=r"\(4, 4\)"):
        texture_features(torch.zeros(4, 4))
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        texture_novelty(np.zeros(4))
