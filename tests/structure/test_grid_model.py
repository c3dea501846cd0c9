"""The grid that was drawn is found again: pitch, street, and the phase of every image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage, signal

from unseen.benchmark.synthetic.dataset import KINDS, generate
from unseen.benchmark.synthetic.device_wafer import DIE
from unseen.errors import ShapeError, StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.grid_model import GridModel, learn_grid, locate

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
    phases = [
        np.random.default_rng([*stream, start + i]).uniform(0, DIE, 2)[::-1] for i in range(count)
    ]
    return np.asarray(phases) + STREET


def drawn(blocks, grid, *, height=240, width=300, rng=None, noise=0.1):
    """Dies made of `blocks`, streets of level 0: 8 x 8 samples per pixel, averaged."""
    fine = 8
    place = []
    for axis, size in ((0, width), (1, height)):
        position = (np.arange(size * fine) + 0.5) / fine
        phase = (position - grid.origin[axis]) % grid.pitch[axis]
        die = grid.pitch[axis] - grid.street[axis]
        count = blocks.shape[1 - axis]
        place.append(np.where(phase < die, np.minimum(phase / die * count, count - 1), count))
    x, y = (p.astype(int) for p in place)
    image = np.pad(blocks, (0, 1))[y][:, x]
    image = image.reshape(height, fine, width, fine).mean(axis=(1, 3))
    if rng is not None:
        image = image + noise * rng.standard_normal(image.shape)
    return image.astype(np.float32)


def off(found, expected, pitch):
    """Smallest distances between positions that repeat at the pitch."""
    pitch = np.asarray(pitch)
    return (np.subtract(found, expected) + pitch / 2) % pitch - pitch / 2


@pytest.fixture(scope="module")
def device_images():
    return wafer_images("device", 10)


@pytest.fixture(scope="module")
def device(device_images):
    return learn_grid(device_images)


def test_the_device_wafer_is_recovered_with_its_streets(device):
    assert device.pitch == pytest.approx((DIE, DIE), abs=0.1)
    assert device.street == pytest.approx((STREET, STREET), abs=0.6)
    assert min(device.strength) > 0.8
    assert device.tile.shape == (DIE, DIE)
    assert device.tile.dtype == np.float32


def test_every_image_of_the_device_wafer_is_located_where_it_was_drawn(device):
    images = wafer_images("device", 20, start=70)  # half of them never learned from
    found = [locate(image, device) for image in images]
    error = off([grid.origin for grid, _ in found], wafer_origins(20, start=70), device.pitch)
    assert np.abs(error).max() < 0.5
    assert np.ptp(error, axis=0).max() < 0.15  # what all images share is where the street was put
    assert min(fit for _, fit in found) > 0.8


def test_one_image_is_enough():
    model = learn_grid(wafer_images("device", 1))
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)


def test_a_saturated_particle_does_not_hide_the_grid(device_images):
    y, x = np.mgrid[:256, :256]
    image = np.where(np.hypot(x - 150, y - 90) < 10, 255, device_images[0]).astype(np.float32)
    model = learn_grid([image])
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)
    clean, _ = locate(device_images[0], model)
    assert np.abs(off(locate(image, model)[0].origin, clean.origin, DIE)).max() < 0.1


def test_noise_stronger_than_the_pattern_does_not_hide_the_grid(rng, device_images):
    noisy = [(i + rng.normal(0, 30, i.shape)).astype(np.float32) for i in device_images]
    model = learn_grid(noisy)
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)
    error = np.subtract([locate(i, model)[0].origin for i in noisy], wafer_origins(10))
    assert np.abs(off(error, error[0], DIE)).max() < 0.3
    assert min(locate(i, model)[1] for i in noisy) > 0.6


@pytest.mark.parametrize("street", [(0.0, 0.0), (3.3, 6.1)])
def test_a_pitch_between_pixels_is_found_to_a_twentieth_of_one(rng, street):
    for pitch in ((20.5, 31.3), (47.94, 60.2), (75.51, 40.63)):
        blocks = rng.uniform(0.2, 1, (7, 6))
        grids = [Grid(pitch, tuple(rng.uniform(0, 50, 2)), street) for _ in range(6)]
        images = [drawn(blocks, grid, rng=rng) for grid in grids]
        model = learn_grid(images)
        assert model.pitch == pytest.approx(pitch, abs=0.05)
        if any(street):
            assert model.street == pytest.approx(street, abs=0.6)
        found = [locate(image, model)[0].origin for image in images]
        error = np.subtract(found, [grid.origin for grid in grids])
        # Where a die without a street begins is anybody's guess, but the same one in all images.
        assert np.abs(off(error, error[0], pitch)).max() < 0.2


def test_moving_an_image_moves_the_origin_by_as_much(device):
    image = wafer_images("device", 1, size=384)[0]
    whole, _ = locate(image, device)
    for dx, dy in ((0, 1), (7, 0), (40, 13), (64, 64), (100, 71)):
        part, _ = locate(image[dy : dy + 250, dx : dx + 250], device)
        moved = np.subtract(whole.origin, (dx, dy))
        assert np.abs(off(part.origin, moved, device.pitch)).max() < 0.1


def test_turning_the_images_by_a_quarter_turns_the_grid(device_images, device):
    turned = learn_grid([image.T for image in device_images])
    assert turned.pitch == pytest.approx(device.pitch[::-1], abs=0.02)
    assert turned.street == pytest.approx(device.street[::-1], abs=0.1)


@pytest.mark.parametrize("size", [20, 48, 100])
def test_a_part_of_a_die_is_enough_to_locate_it(device, device_images, size):
    for image in device_images[:4]:
        whole, _ = locate(image, device)
        part, fit = locate(image[90 : 90 + size, 50 : 50 + size], device)
        assert np.abs(off(part.origin, np.subtract(whole.origin, (50, 90)), DIE)).max() < 1
        assert fit > 0.8


def test_illumination_noise_and_brightness_hardly_move_the_origin(rng, device, device_images):
    for image in device_images[:4]:
        calm, _ = locate(image, device)
        x = np.linspace(-1, 1, 256)
        lit = 3 * image * (1 + 0.5 * x[:, None] - 0.4 * x**2) + 40 + rng.normal(0, 45, image.shape)
        rough, fit = locate(lit.astype(np.float32), device)
        assert np.abs(off(rough.origin, calm.origin, DIE)).max() < 0.25
        assert 0.5 < fit < 1


def test_a_memory_array_in_the_die_is_not_taken_for_the_die(rng):
    count = 20  # lines at a tenth of the die's pitch, over four fifths of its area
    stripes = np.where(np.arange(count) % 2, 1.0, 0.4)
    blocks = stripes[None, :] * stripes[:, None]
    blocks[11:, 11:] = rng.uniform(0, 1.2, (9, 9))
    pitch, street = (100.3, 90.7), (4.0, 4.0)
    grids = [Grid(pitch, tuple(rng.uniform(0, 90, 2)), street) for _ in range(4)]
    model = learn_grid([drawn(blocks, g, rng=rng, height=300, noise=0.05) for g in grids])
    assert model.pitch == pytest.approx(pitch, abs=0.05)


def test_images_of_something_else_among_them_do_no_harm(device_images):
    others = [np.zeros((256, 256), np.float32), *wafer_images("bare", 2)]
    model = learn_grid([*others, *device_images[:6]])
    assert model.pitch == pytest.approx((DIE, DIE), abs=0.1)
    assert model.street == pytest.approx((STREET, STREET), abs=0.6)


def test_at_a_given_pitch_few_good_images_among_many_others_show_the_die(device_images):
    images = [*wafer_images("bare", 14), *device_images[:2]]
    model = learn_grid(images, pitch=(64.0, 64.0))
    assert model.street == pytest.approx((STREET, STREET), abs=0.6)
    assert min(locate(image, model)[1] for image in device_images) > 0.8


def test_an_image_of_something_else_does_not_fit(rng, device):
    bare = wafer_images("bare", 5)
    noise = rng.standard_normal((256, 256)).astype(np.float32)
    assert max(locate(image, device)[1] for image in [*bare, noise]) < 0.15
    assert locate(np.full((50, 60), 7, np.float32), device)[1] == 0


def test_a_given_pitch_and_street_are_taken_as_they_are(device_images):
    model = learn_grid(device_images[:3], pitch=(64.0, 64.0), street=(6.0, 0.0))
    assert model.pitch == (64.0, 64.0)
    assert model.street == (6.0, 0.0)
    own = learn_grid(device_images[:3], pitch=(64.0, 64.0))
    # A given street is laid around the middle of the one that is seen.
    for axis in (0, 1):
        middles = [
            locate(device_images[0], m)[0].origin[axis] - m.street[axis] / 2 for m in (model, own)
        ]
        assert np.abs(off(middles[0], middles[1], DIE)) < 0.01


def test_a_given_pitch_needs_no_strength(rng):
    noise = [rng.standard_normal((100, 100)).astype(np.float32) for _ in range(3)]
    model = learn_grid(noise, pitch=(30.0, 20.0))
    assert np.abs(model.strength).max() < 0.1
    assert learn_grid(noise, pitch=(90.0, 90.0)).strength == (0, 0)  # beyond what can be compared


def nothing_repeats(rng):
    y, x = np.mgrid[:200, :200].astype(np.float32)
    yield [rng.standard_normal((200, 200)).astype(np.float32) for _ in range(3)]
    for blur in (2, 6, 20):
        yield [ndimage.gaussian_filter(rng.standard_normal((200, 200)), blur).astype(np.float32)]
    yield [x + 2 * y, x - y]
    yield [x**2 + y**2]
    yield wafer_images("bare", 1)
    yield wafer_images("bare", 8)


def test_images_without_a_repeating_pattern_are_refused_with_the_way_out(rng):
    for images in nothing_repeats(rng):
        with pytest.raises(
            StructureError, match=r"no pattern repeats.*at least 0\.5.*Give the pitch"
        ):
            learn_grid(images)


def test_the_strongest_repeat_is_told_with_its_strength(rng):
    field = ndimage.gaussian_filter(rng.standard_normal((200, 200)), 3).astype(np.float32)
    with pytest.raises(
        StructureError, match=r"strongest repeat is \d+\.\d px with strength 0\.\d\d"
    ):
        learn_grid([field])


def test_a_pattern_that_changes_from_place_to_place_is_no_grid(rng):
    images = []
    for _ in range(6):
        # Squares of 40 px that resemble the one before: correlation .62 at 40 px, .38 at 80 px.
        squares = rng.standard_normal((16, 16, 40, 40))
        squares = ndimage.gaussian_filter(squares, (0, 0, 1.5, 1.5), mode="wrap")
        for axis in (0, 1):
            squares = signal.lfilter([1], [1, -0.62], squares, axis=axis)
        kept = squares[8:, 8:].transpose(0, 2, 1, 3).reshape(320, 320)
        images.append(kept.astype(np.float32))
    with pytest.raises(
        StructureError, match=r"40\.\d px with strength 0\.6|39\.9 px with strength 0\.6"
    ):
        learn_grid(images)


@pytest.mark.parametrize(("turned", "name"), [(False, "across"), (True, "down")])
def test_long_lines_repeat_along_one_axis_only(rng, turned, name):
    x = np.arange(200) + rng.uniform(0, 17)
    image = np.sin(2 * np.pi * x / 17)[None, :] + 0.1 * rng.standard_normal((200, 200))
    image = (image.T if turned else image).astype(np.float32)
    with pytest.raises(StructureError, match=rf"one axis only.*{name} it repeats every 17\.0 px"):
        learn_grid([image])


def test_without_contrast_nothing_is_learned():
    for images in ([], [np.full((100, 100), 3, np.float32)]):
        with pytest.raises(StructureError, match="contrast"):
            learn_grid(images)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"pitch": (300.0, 64.0)}, "one whole die"),
        ({"pitch": (64.0, 0.0)}, "pitch"),
        ({"pitch": (64.0, 64.0), "street": (64.0, 0.0)}, "street"),
        ({"street": (0.0, 70.0)}, "street"),
        ({"shortest": 1.0}, "shortest=1.0"),
        ({"shortest": 30.0, "longest": 20.0}, "longest=20.0"),
        ({"shortest": 150.0}, "256 x 256"),
        ({"longest": 50.0}, "from 8 px to 50 px"),
    ],
)
def test_values_out_of_range_are_named(device_images, options, named):
    with pytest.raises(StructureError, match=named):
        learn_grid(device_images[:1], **options)


def test_colour_images_are_refused_with_their_shape(device):
    with pytest.raises(ShapeError, match=r"\(9, 9, 3\)"):
        locate(np.zeros((9, 9, 3), np.float32), device)
    with pytest.raises(ShapeError, match=r"\(9, 9, 3\)"):
        learn_grid([np.zeros((9, 9, 3), np.float32)])
    with pytest.raises(ShapeError, match=r"\(0, 9\)"):
        locate(np.zeros((0, 9), np.float32), device)


def test_a_model_survives_being_stored(device, device_images):
    stored = json.loads(json.dumps(device.to_dict())), device.tile.tolist()
    again = GridModel.from_dict(*stored)
    assert again.to_dict() == device.to_dict()
    assert locate(device_images[0], again) == locate(device_images[0], device)


def test_a_damaged_model_is_refused(device):
    description = device.to_dict()
    with pytest.raises(StructureError, match="learn the grid again"):
        GridModel.from_dict({**description, "pitch": [64]}, device.tile)
    with pytest.raises(StructureError, match="offset"):
        GridModel.from_dict({k: v for k, v in description.items() if k != "offset"}, device.tile)
    with pytest.raises(StructureError, match="pitch"):
        GridModel.from_dict({**description, "pitch": [64, -1]}, device.tile)
    with pytest.raises(StructureError, match=r"Learn the grid again"):
        GridModel.from_dict(description, device.tile * np.nan)
