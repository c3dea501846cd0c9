import numpy as np
import pytest

from unseen.arrays.heatmap import NOISE_FLOOR, heatmap


def test_nothing_unseen_is_all_zero():
    assert heatmap(np.zeros((5, 7), np.float32), 0.1, 96).tolist() == np.zeros((5, 7)).tolist()
    assert not heatmap(np.ones((5, 7), np.float32), 0.0, 96).any()


def test_values_are_shares_of_full_scale():
    score = np.asarray([[0, 0.05, 0.1, 0.5]], np.float32)
    found = heatmap(score, 0.1, 96)
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 128, 255, 255]]


def test_below_the_noise_floor_is_exactly_zero():
    score = np.asarray([[0.99 * NOISE_FLOOR, 1.01 * NOISE_FLOOR]], np.float32)
    found = heatmap(score, 1.0, 96)
    assert found[0, 0] == 0
    assert found[0, 1] > 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [((256, 256), (96, 96)), ((640, 480), (96, 72)), ((1000, 3), (96, 1)), ((50, 60), (50, 60))],
)
def test_the_longest_side_shrinks_and_the_aspect_stays(size, expected):
    assert heatmap(np.ones(size, np.float32), 1.0, 96).shape == expected


def test_a_defect_of_one_pixel_survives_at_its_place(rng):
    for _ in range(50):
        height, width = rng.integers(100, 400, 2)
        row, column = rng.integers(height), rng.integers(width)
        score = np.zeros((height, width), np.float32)
        score[row, column] = 1
        found = heatmap(score, 1.0, 64)
        (rows, columns) = np.nonzero(found)
        assert found.max() == 255
        assert len(rows) == 1
        assert abs((rows[0] + 0.5) / found.shape[0] - (row + 0.5) / height) < 1.5 / found.shape[0]
        assert (
            abs((columns[0] + 0.5) / found.shape[1] - (column + 0.5) / width) < 1.5 / found.shape[1]
        )
