import numpy as np
import pytest

from unseen.ranking import screening
from unseen.ranking.screening import contrast, flat_border_share, partial_images


def make_wafer(rng, size=(256, 256), channels=1):
    image = rng.normal(0.45, 0.03, (*size, channels))
    image += np.linspace(0, 0.2, size[1])[None, :, None]  # illumination
    image[40:52, 60:70] += 0.3
    return image.clip(0, 1).astype(np.float32)


def test_partial_images_exceed_what_is_usual():
    for shares, positions in (
        ([], []),
        ([np.nan, np.nan], []),
        ([0.2] * 9 + [0.4], []),  # less than .25 above the median
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], []),  # as usual
        ([0.0] * 5 + [np.nan, 0.9], [6]),
    ):
        assert np.flatnonzero(partial_images(shares, 0.25)).tolist() == positions


def test_contrast_in_closed_form():
    assert contrast(np.full((8, 8, 3), 0.4, np.float32)) == pytest.approx(0, abs=1e-7)
    half = np.zeros((8, 8, 1), np.float32)
    half[:4] = 1
    assert contrast(half) == pytest.approx(0.5)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(("channels", "noise"), [(1, 0.0), (3, 0.004)])
def test_the_part_cut_off_is_measured(rng, share, channels, noise):
    image = make_wafer(rng, (200, 256), channels)
    edge = round(share * 256)
    image[:, :edge] = 0.05 + noise * rng.standard_normal((200, edge, channels))
    assert flat_border_share(image) == pytest.approx(share, abs=0.04)


def test_flat_regions_count_at_the_border_only_in_any_shape(rng):
    image = make_wafer(rng)
    assert flat_border_share(image) == 0
    assert flat_border_share(np.full((64, 64, 1), 0.2, np.float32)) == 1  # blank
    assert flat_border_share(np.zeros((5, 5, 1), np.float32)) == 0  # too small to tell
    island = image.copy()
    island[60:200, 60:200] = 0.9
    assert flat_border_share(island) == 0
    y, x = np.mgrid[:256, :256]
    outside = np.hypot(x - 10, y - 10) > 230
    image[outside] = 0.02  # a round wafer edge
    assert flat_border_share(image) == pytest.approx(outside.mean(), abs=0.06)


@pytest.mark.parametrize("shape", [(200, 130, 3), (67, 300, 1)])
def test_brightness_is_the_mean_and_parts_measure_what_the_whole_does(rng, monkeypatch, shape):
    image = rng.random(shape, np.float32)
    image[: shape[0] // 3] = 0.5
    np.testing.assert_array_equal(screening.brightness(image), image.mean(axis=2))
    whole = screening.flat_border_share(image)
    assert 0.2 < whole < 0.4
    monkeypatch.setattr(screening, "_PIXELS", 1)
    assert screening.flat_border_share(image) == whole
