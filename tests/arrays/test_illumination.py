import pytest
import torch

from unseen.arrays.illumination import evened, fitted_plane


def _plane(height=80, width=100):
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    return (0.5 + 0.1 * down - 0.05 * across)[None, None]


def test_no_images_have_no_planes():
    assert fitted_plane(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1), (3, 4), (80, 100)])
def test_a_plane_is_fitted_exactly(size):
    plane = _plane()[:, :, : size[0], : size[1]]
    torch.testing.assert_close(fitted_plane(plane), plane, atol=1e-5, rtol=0)


def test_what_covers_a_small_part_does_not_tilt_the_plane():
    plane = _plane()
    image = plane.clone()
    image[:, :, 20:50, 10:40] += 0.4
    assert float((fitted_plane(image) - plane).abs().max()) < 0.01
    even = evened(image, torch.tensor([0.3]))
    expected = torch.full_like(even, 0.3)
    expected[:, :, 20:50, 10:40] = 0.7
    torch.testing.assert_close(even, expected, atol=0.01, rtol=0)


def test_two_materials_of_equal_area_share_the_level():
    board = (torch.arange(64)[:, None] // 8 + torch.arange(64) // 8) % 2
    fitted = fitted_plane(board.float()[None, None])
    torch.testing.assert_close(fitted, torch.full_like(fitted, 0.5), atol=0.02, rtol=0)


def test_each_image_and_channel_is_evened_on_its_own_and_not_in_place(rng):
    images = torch.from_numpy(rng.uniform(0, 1, (3, 2, 20, 30)).astype("float32"))
    before, mean = images.clone(), torch.tensor([0.2, 0.6])
    together = evened(images, mean)
    assert torch.equal(images, before)
    for i in range(3):
        for c in range(2):
            alone = evened(images[i : i + 1, c : c + 1], mean[c : c + 1])
            torch.testing.assert_close(alone[0, 0], together[i, c])
    torch.testing.assert_close(evened(together, mean), together, atol=1e-3, rtol=0)
