import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unseen.arrays.illumination import evened
from unseen.errors import ShapeError
from unseen.structure.texture import CELL, KINDS, LEVELS, QUANTILES, texture_features


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


def _by_convolution(images):
    """The same numbers from torch's convolutions, pools and quantiles."""
    kernels = torch.zeros(KINDS, 3, 3)
    kernels[0, 1] = kernels[1, :, 1] = torch.tensor([-0.5, 0, 0.5])
    kernels[2, 0, 0] = kernels[3, 0, 2] = -0.5
    kernels[2, 2, 2] = kernels[3, 2, 0] = 0.5
    kernels[4] = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    blur = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    grey = images.mean(dim=1, keepdim=True)
    grey = evened(grey, torch.zeros(1))
    grid = [max(1, round(side / CELL)) for side in grey.shape[2:]]
    cells = []
    for _ in range(LEVELS):
        padded = F.pad(grey, (1,) * 4, mode="reflect")
        cells.append(F.adaptive_avg_pool2d(F.conv2d(padded, kernels[:, None]).square(), grid))
        padded = F.pad(grey, (2,) * 4, mode="reflect")
        grey = F.conv2d(padded, torch.outer(blur, blur)[None, None], stride=2)
    logs = torch.cat(cells, dim=1).flatten(2).log()
    return torch.cat([logs.quantile(q, dim=2) for q in QUANTILES], dim=1)


@pytest.mark.parametrize("size", [(128, 128), (150, 333), (63, 200)])
def test_they_are_convolutions_averaged_over_cells(size):
    generator = torch.Generator().manual_seed(5)
    images = 0.5 + 0.05 * torch.randn(2, 3, *size, generator=generator)
    found = texture_features(images)
    torch.testing.assert_close(found, _by_convolution(images), atol=1e-4, rtol=0)


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
    values = features.numpy()
    off = np.abs(values - np.median(values, axis=0))
    assert int(np.argmax(((off / np.median(off, axis=0)) ** 2).sum(axis=1))) == 40


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match=r"\(4, 4\)"):
        texture_features(torch.zeros(4, 4))
