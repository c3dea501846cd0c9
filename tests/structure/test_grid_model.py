"""The grid that was drawn is found again: pitch, street, and the phase of every image."""

import numpy as np
import pytest

from unseen.benchmark.synthetic.dataset import KINDS, generate
from unseen.benchmark.synthetic.device_wafer import DIE
from unseen.errors import StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.grid_model import learn_grid, locate

#: The synthetic die begins with its street, this wide.
STREET = 4
SEED = 5


def wafer_images(kind, count, *, start=60, size=256):
    """Late images, which show every kind of defect."""
    images = generate(kind, count, seed=SEED, start=start, size=size)
    return [image.pixels.astype(np.float32) for image in images]


def wafer_origins(count, *, start=60):
    """(N, 2) x, y where a die begins behind its street: the first numbers that an image draws."""
    stream = [SEED, KINDS.index("device"), 0, 0]
    streams = [np.random.default_rng([*stream, start + i]) for i in range(count)]
    return np.asarray([stream.uniform(0, DIE, 2)[::-1] for stream in streams]) + STREET


def drawn(blocks, grid, *, height=240, width=300, rng, noise=0.1):
    """Dies made of `blocks`, streets of level 0: 8 x 8 samples per pixel, averaged, and noise."""
    fine = 8
    place = []
    for axis, size in ((0, width), (1, height)):
        position = (np.arange(size * fine) + 0.5) / fine
        phase = (position - grid.origin[axis]) % grid.pitch[axis]
        die = grid.pitch[axis] - grid.street[axis]
        count = blocks.shape[1 - axis]
        place.append(np.where(phase < die, np.minimum(phase / die * count, count - 1), count))
    x, y = (p.astype(int) for p in place)
    image = np.pad(blocks, (0, 1))[np.ix_(y, x)].reshape(height, fine, width, fine)
    noisy = image.mean(axis=(1, 3)) + noise * rng.standard_normal((height, width))
    return noisy.astype(np.float32)


def off(origins, expected, pitch):
    """Smallest distances between positions that repeat at the pitch."""
    pitch = np.asarray(pitch)
    return (np.subtract(origins, expected) + pitch / 2) % pitch - pitch / 2


def is_the_wafer(model):
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)
    assert model.street == pytest.approx((STREET, STREET), abs=0.6)


@pytest.fixture(scope="module")
def device_images():
    return wafer_images("device", 10)


@pytest.fixture(scope="module")
def device(device_images):
    return learn_grid(device_images)


# --- learning ----------------------------------------------------------------------------------------
def test_the_device_wafer_is_recovered_with_its_streets(device):
    is_the_wafer(device)
    assert min(device.strength) > 0.8
    assert (device.tile.shape, device.tile.dtype) == ((DIE, DIE), np.float32)


def test_noise_stronger_than_the_pattern_does_not_hide_the_grid(rng, device_images):
    noisy = [(i + rng.normal(0, 30, i.shape)).astype(np.float32) for i in device_images]
    model = learn_grid(noisy)
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)
    places = [locate(image, model) for image in noisy]
    error = np.subtract([grid.origin for grid, _ in places], wafer_origins(10))
    assert np.abs(off(error, error[0], DIE)).max() < 0.3
    assert min(fit for _, fit in places) > 0.6


@pytest.mark.parametrize("street", [(0.0, 0.0), (3.3, 6.1)])
@pytest.mark.parametrize("pitch", [(20.5, 31.3), (47.94, 60.2), (75.51, 40.63)])
def test_a_pitch_between_pixels_is_found_to_a_twentieth_of_one(rng, street, pitch):
    blocks = rng.uniform(0.2, 1, (7, 6))
    grids = [Grid(pitch, tuple(rng.uniform(0, 50, 2)), street) for _ in range(6)]
    images = [drawn(blocks, grid, rng=rng) for grid in grids]
    model = learn_grid(images)
    assert model.pitch == pytest.approx(pitch, abs=0.05)
    if any(street):
        assert model.street == pytest.approx(street, abs=0.6)
    origins = [locate(image, model)[0].origin for image in images]
    error = np.subtract(origins, [grid.origin for grid in grids])
    # Without a street a die may begin anywhere, but at the same place in all images.
    assert np.abs(off(error, error[0], pitch)).max() < 0.2


def test_a_memory_array_in_the_die_is_not_taken_for_the_die(rng):
    # Lines at a tenth of the die's pitch, over four fifths of its area.
    stripes = np.where(np.arange(20) % 2, 1.0, 0.4)
    blocks = stripes[None, :] * stripes[:, None]
    blocks[11:, 11:] = rng.uniform(0, 1.2, (9, 9))
    pitch, street = (100.3, 90.7), (4.0, 4.0)
    grids = [Grid(pitch, tuple(rng.uniform(0, 90, 2)), street) for _ in range(4)]
    model = learn_grid([drawn(blocks, g, rng=rng, height=300, noise=0.05) for g in grids])
    assert model.pitch == pytest.approx(pitch, abs=0.05)


def test_images_of_something_else_do_no_harm(device_images):
    others = [np.zeros((256, 256), np.float32), *wafer_images("bare", 14)]
    is_the_wafer(learn_grid([*others[:3], *device_images[:6]]))
    # At a given pitch few good images among many others are enough.
    model = learn_grid([*others[1:], *device_images[:2]], pitch=(64.0, 64.0))
    is_the_wafer(model)
    assert min(locate(image, model)[1] for image in device_images) > 0.8


def test_a_given_street_is_laid_around_the_middle_of_the_one_that_is_seen(device_images):
    given = learn_grid(device_images[:3], pitch=(64.0, 64.0), street=(6.0, 0.0))
    assert (given.pitch, given.street) == ((64.0, 64.0), (6.0, 0.0))
    seen = learn_grid(device_images[:3], pitch=(64.0, 64.0))
    first, second = (
        np.subtract(locate(device_images[0], m)[0].origin, np.divide(m.street, 2))
        for m in (given, seen)
    )
    assert np.abs(off(first, second, DIE)).max() < 0.01


# --- locating ----------------------------------------------------------------------------------------
def test_every_image_of_the_device_wafer_is_located_where_it_was_drawn(device):
    images = wafer_images("device", 20, start=70)  # none of them learned from
    places = [locate(image, device) for image in images]
    error = off([grid.origin for grid, _ in places], wafer_origins(20, start=70), device.pitch)
    assert np.abs(error).max() < 0.5
    assert np.ptp(error, axis=0).max() < 0.15  # what all images share is where the street was put
    assert min(fit for _, fit in places) > 0.8


@pytest.mark.parametrize(("size", "accuracy"), [(20, 1), (48, 1), (100, 1), (250, 0.1)])
def test_a_part_of_an_image_even_of_a_die_moves_the_origin_by_as_much(device, size, accuracy):
    for image in wafer_images("device", 4, size=384):
        whole, _ = locate(image, device)
        for dx, dy in ((0, 1), (40, 13), (50, 90), (100, 71)):
            part, fit = locate(image[dy : dy + size, dx : dx + size], device)
            moved = np.subtract(whole.origin, (dx, dy))
            assert np.abs(off(part.origin, moved, device.pitch)).max() < accuracy
            assert fit > 0.7


def test_an_image_of_something_else_does_not_fit(rng, device):
    noise = rng.standard_normal((256, 256)).astype(np.float32)
    assert max(locate(image, device)[1] for image in [*wafer_images("bare", 5), noise]) < 0.15
    assert locate(np.full((50, 60), 7, np.float32), device)[1] == 0


# --- refusals ----------------------------------------------------------------------------------------
def test_images_without_a_repeating_pattern_are_refused_with_the_way_out(rng):
    for images in ([], [np.full((100, 100), 3, np.float32)]):
        with pytest.raises(StructureError, match="contrast"):
            learn_grid(images)
    y, x = np.mgrid[:200, :200].astype(np.float32)
    noise = [rng.standard_normal((200, 200)).astype(np.float32) for _ in range(3)]
    for images in (noise, [x + 2 * y, x - y], [x**2 + y**2], wafer_images("bare", 8)):
        with pytest.raises(StructureError, match=r"no pattern repeats.*least 0\.5.*Give the pitch"):
            learn_grid(images)
    stripes = np.sin(2 * np.pi * x / 17) + 0.1 * noise[0]
    for image, name in ((stripes, "across"), (stripes.T, "down")):
        words = rf"one axis only.*{name} it repeats every 17\.0 px"
        with pytest.raises(StructureError, match=words):
            learn_grid([image])


@pytest.mark.parametrize(
    ("size", "options", "named"),
    [
        (256, {"pitch": (300.0, 64.0)}, "one whole die"),
        (256, {"pitch": (64.0, 64.0), "street": (64.0, 0.0)}, "street"),
        (15, {}, "15 x 15 px, too few"),
    ],
)
def test_values_out_of_range_are_named(device_images, size, options, named):
    with pytest.raises(StructureError, match=named):
        learn_grid([device_images[0][:size, :size]], **options)
