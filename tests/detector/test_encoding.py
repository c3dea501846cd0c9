"""CenterNet's targets and losses by hand and by brute force, and back from maps to boxes."""

import itertools
import math

import numpy as np
import pytest
import torch

from unseen.arrays.boxes import iou
from unseen.detector.centernet import encoding
from unseen.detector.centernet.encoding import (
    CORE,
    MIN_OVERLAP,
    MIN_WIDTH,
    STRIDE,
    WIDTH,
    CentreTargets,
    cells_inside,
    decode,
    encode,
    gaussian_radius,
)
from unseen.detector.centernet.network import centernet_losses, penalty_reduced_focal_loss


def encoded(boxes, labels, *, n_classes=2, shape=(8, 8)):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.as_tensor(labels, dtype=torch.int64) + 1
    return encode([{"boxes": boxes, "labels": labels}], n_classes=n_classes, shape=shape)


def at_centres(truth):
    """Offsets and sides of the cells that hold a centre, by row and column."""
    values = zip(
        truth.cells.tolist(), truth.offsets.tolist(), truth.sizes.exp().tolist(), strict=True
    )
    return {
        (row, column): (offset, size)
        for (_, row, column), offset, size in values
        if truth.heat[0, :, row, column].max() == 1
    }


@pytest.mark.parametrize("sides", [(10, 10), (40, 3), (3, 40), (1, 1), (25, 17)])
def test_a_box_with_corners_within_the_radius_overlaps_enough_and_no_larger_radius_does(sides):
    sides = np.array(sides, dtype=float)
    radii = gaussian_radius(torch.from_numpy(sides)[None])[0].numpy()
    moves = np.array(list(itertools.product(np.linspace(-1, 1, 9), repeat=4)))

    def least_overlap(radii):
        return iou([[0, 0, *sides]], moves * [*radii, *radii] + [0, 0, *sides]).min()

    assert least_overlap(radii) == pytest.approx(MIN_OVERLAP, abs=1e-6)
    assert least_overlap(1.01 * radii) < MIN_OVERLAP


def test_an_image_without_boxes_has_no_heat_and_no_centre_and_nothing_is_decoded():
    truth = encoded([], [])
    assert truth.heat.shape == (1, 2, 8, 8)
    assert truth.heat.sum() == 0
    assert [len(values) for values in truth[1:]] == [0] * 4
    one = decoded([], [])
    assert one["boxes"].shape == (0, 4)
    assert one["labels"].shape == one["scores"].shape == (0,)


def test_one_box_gives_the_maps_that_one_computes_by_hand():
    # 48 x 16 px at stride 4: 12 x 4 cells, centre (30, 25) px = (7.5, 6.25) cells, cell (7, 6).
    truth = encoded([[6, 17, 54, 33]], [1], shape=(12, 16))
    radius = 12 * (1 - math.sqrt(MIN_OVERLAP)) / 2
    across, down = 2 * (WIDTH * radius) ** 2, 2 * max(WIDTH * radius / 3, MIN_WIDTH) ** 2
    heat = truth.heat[0, 1]
    assert truth.heat[0, 0].sum() == 0
    assert heat[6, 7] == 1
    assert heat[6, 9].item() == pytest.approx(math.exp(-4 / across))
    assert heat[4, 6].item() == pytest.approx(math.exp(-4 / down - 1 / across))
    assert at_centres(truth) == {(6, 7): ([0.5, 0.25], [pytest.approx(12), pytest.approx(4)])}
    # The cells around the centre point to it, with the weight of their heat.
    _, rows, columns = truth.cells.unbind(1)
    assert len(rows) == (heat >= CORE).sum() > 10
    around = heat[rows, columns]
    torch.testing.assert_close(truth.weights, around / around.sum(), rtol=1e-5, atol=0)
    centres = torch.stack([columns, rows], 1) + truth.offsets
    torch.testing.assert_close(centres, torch.tensor([[7.5, 6.25]]).expand(len(rows), 2))
    torch.testing.assert_close(truth.sizes.exp(), torch.tensor([[12.0, 4.0]]).expand(len(rows), 2))


def test_every_object_has_the_same_weight_however_many_cells_it_has():
    truth = encoded([[0, 0, 4, 4], [60, 60, 200, 150]], [0, 1], shape=(64, 64))
    is_small = truth.sizes[:, 0].exp() < 2
    assert 0 < is_small.sum() < (~is_small).sum()
    for one in (is_small, ~is_small):
        torch.testing.assert_close(truth.weights[one].sum(), torch.tensor(1.0))


def test_between_two_objects_each_cell_belongs_to_the_one_whose_peak_is_higher_there():
    truth = encoded([[0, 0, 32, 32], [32, 0, 64, 32]], [0, 1], shape=(8, 16))
    columns = truth.cells[:, 2]
    centres = columns + truth.offsets[:, 0]
    is_clear = columns != 8  # as far from cell 4 as from cell 12
    assert centres[is_clear].tolist() == torch.where(columns < 8, 4.0, 12.0)[is_clear].tolist()


def test_the_order_of_boxes_does_not_matter(rng):
    centres = rng.integers(2, 30, (40, 2))  # more boxes than cells they fall in
    halves = rng.integers(1, 12, (40, 2))
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    labels = rng.integers(0, 2, 40)
    first = encoded(boxes, labels)
    assert first.weights.sum() < 39
    for order in (rng.permutation(40) for _ in range(5)):
        for a, b in zip(first, encoded(boxes[order], labels[order]), strict=True):
            assert torch.equal(a, b)


def test_of_two_boxes_in_one_cell_the_smaller_is_learned_and_both_classes_stay():
    truth = encoded([[4, 4, 28, 28], [14, 15, 20, 19]], [0, 1])
    assert at_centres(truth) == {(4, 4): ([0.25, 0.25], [1.5, 1.0])}
    assert truth.heat[0, :, 4, 4].tolist() == [1, 1]


def test_boxes_smaller_than_a_cell_and_at_the_border_have_a_cell_of_their_own():
    truth = encoded([[31, 0, 32, 1], [32, 32, 32, 32], [0, 31.5, 0.5, 32]], [0, 0, 0])
    assert set(at_centres(truth)) == {(0, 7), (7, 7), (7, 0)}
    assert (truth.heat[0, 0] == 1).sum() == 3
    assert all(torch.isfinite(values).all() for values in truth)


def test_cells_that_show_only_padding_are_outside():
    is_inside = cells_inside([(8, 16), (9, 4)], torch.zeros(2, 1, 4, 4))
    assert is_inside[0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert is_inside[1].tolist() == [[True, False, False, False]] * 3 + [[False] * 4]


def decoded(boxes, labels, *, shape=(32, 48)):
    """What a perfect network's maps give."""
    truth = encoded(boxes, labels, n_classes=3, shape=shape)
    image, row, column = truth.cells.unbind(1)
    offsets, sizes = torch.zeros(1, 2, *shape), torch.zeros(1, 2, *shape)
    offsets[image, :, row, column], sizes[image, :, row, column] = truth.offsets, truth.sizes
    maps = torch.logit(truth.heat, eps=1e-6), offsets, sizes
    size = (shape[0] * STRIDE, shape[1] * STRIDE)
    return {k: v[: len(boxes)] for k, v in decode(*maps, [size], most=100)[0].items()}


def test_decoding_inverts_encoding_for_separated_boxes_of_any_size(rng):
    for _ in range(20):
        # Centres at least three cells apart; sides from less than a cell to half the image.
        columns, rows = np.meshgrid(np.arange(14, 180, 22.3), np.arange(14, 115, 24.7))
        centres = np.stack([columns.ravel(), rows.ravel()], 1) + rng.uniform(-5, 5, (40, 2))
        room = np.minimum(centres, [192, 128] - centres)
        halves = np.minimum(room, np.exp(rng.uniform(np.log(0.4), np.log(60), (40, 2))))
        boxes = np.concatenate([centres - halves, centres + halves], 1)
        labels = rng.integers(0, 3, 40)
        one = decoded(boxes, labels)
        nearest = iou(boxes, one["boxes"].numpy()).argmax(1)
        np.testing.assert_allclose(one["boxes"][nearest], boxes, atol=2e-3)
        np.testing.assert_array_equal(one["labels"][nearest], labels + 1)


def heated(side, *cells, classes=1, offset=0.0, size=0.0, image_size=None, most=100):
    """The boxes of cold maps with (class, row, column, logit) cells."""
    heat = torch.full((1, classes, side, side), -9.0)
    for label, row, column, logit in cells:
        heat[0, label, row, column] = logit
    maps = [heat, *(torch.full((1, 2, side, side), value) for value in (offset, size))]
    return decode(*maps, [image_size or (STRIDE * side, STRIDE * side)], most=most)[0]


def test_only_the_highest_of_neighbouring_cells_is_a_peak():
    one = heated(6, (0, 2, 2, 1.0), (0, 2, 3, 2.0), (0, 3, 2, 3.0), (0, 3, 3, 2.0), (0, 5, 5, 0.5))
    torch.testing.assert_close(one["scores"], torch.sigmoid(torch.tensor([3.0, 0.5])))
    assert one["boxes"].tolist() == [[6, 10, 10, 14], [18, 18, 22, 22]]
    # Probabilities that round to one are still told apart.
    assert heated(4, (0, 1, 1, 40.0), (0, 1, 2, 41.0))["boxes"][:, 0].tolist() == [6]


def test_the_most_confident_come_first_and_there_are_no_more_than_allowed(monkeypatch):
    cells = (0, 1, 1, 0.0), (1, 4, 4, 2.0), (0, 7, 7, 1.0)
    assert heated(9, *cells, classes=2)["labels"].tolist() == [2, 1, 1]
    assert heated(9, *cells, classes=2, most=2)["boxes"][:, 0].tolist() == [14, 26]
    monkeypatch.setattr(encoding, "LEAST_SCORE", 0.8)
    assert heated(9, *cells, classes=2)["boxes"][:, 0].tolist() == [14]


def test_padding_holds_no_object_and_boxes_end_with_their_image():
    cells = (0, 6, 6, 5.0), (0, 1, 1, 4.0)  # the first one in the padding
    assert heated(8, *cells, size=3.0, image_size=(20, 13))["boxes"].tolist() == [[0, 0, 13, 20]]
    beside = heated(4, (0, 1, 1, 4.0), offset=-3.0)
    assert beside["boxes"].shape == (0, 4)
    assert beside["scores"].shape == (0,)


EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)


def test_the_focal_loss_is_its_formula():
    p = torch.tensor([[[[0.9, 0.2], [0.6, 0.5]]]])
    truth = torch.tensor([[[[1.0, 0.0], [0.8, 1.0]]]])
    expected = -(
        0.1**2 * math.log(0.9)
        + 0.2**2 * math.log(0.8)
        + 0.2**4 * 0.6**2 * math.log(0.4)
        + 0.5**2 * math.log(0.5)
    )
    loss = penalty_reduced_focal_loss(torch.logit(p), truth, EVERYWHERE)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)
    # Without a centre it is the sum over the background.
    cold = penalty_reduced_focal_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), EVERYWHERE)
    assert cold.item() == pytest.approx(4 * 0.25 * math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_stay_finite_at_extreme_logits(dtype):
    logits = torch.tensor([[[[-1e4, 1e4], [-1e4, 1e4]]]], dtype=dtype, requires_grad=True)
    truth = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    loss = penalty_reduced_focal_loss(logits, truth, EVERYWHERE)
    loss.backward()
    assert loss.dtype == torch.float32
    # What is as wrong as can be is pulled with slope 1, divided by the two centres.
    torch.testing.assert_close(
        logits.grad.float(), torch.tensor([[[[-0.5, 0.5], [0.0, 0.0]]]]), rtol=1e-2, atol=1e-6
    )
    assert loss.item() == pytest.approx(1e4, rel=1e-2)


def test_padding_does_not_count():
    logits = torch.tensor([[[[-9.0, 9.0], [-9.0, 9.0]]]], requires_grad=True)
    is_inside = torch.tensor([[[True, False], [True, False]]])
    loss = penalty_reduced_focal_loss(logits, torch.zeros(1, 1, 2, 2), is_inside)
    loss.backward()
    assert loss.item() < 1e-6
    assert logits.grad[..., 1].abs().sum() == 0


def test_offset_and_size_are_weighted_absolute_differences_in_the_cells_that_count():
    truth = CentreTargets(
        heat=torch.zeros(1, 1, 2, 2),
        cells=torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1]]),
        weights=torch.tensor([0.75, 0.25, 1.0]),  # two cells of one object, one of another
        offsets=torch.tensor([[0.5, 0.5], [-0.5, 0.5], [0.0, 0.25]]),
        sizes=torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]]),
    )
    maps = torch.zeros(1, 2, 2, 2)
    maps[:, :, 1, 0] = 1e6  # a cell that does not count
    losses = centernet_losses(torch.zeros(1, 1, 2, 2), maps, maps, truth, EVERYWHERE)
    assert losses["loss_offset"].item() == pytest.approx((1.0 + 0.25) / 2)
    assert losses["loss_size"].item() == pytest.approx((3.0 + 3.0) / 2)
