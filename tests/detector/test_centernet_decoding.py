import numpy as np
import torch

from unseen.detector.centernet_decoding import decode
from unseen.detector.centernet_targets import encode

STRIDE = 4


def maps_of(boxes, labels, *, n_classes, shape):
    """What a perfect network would say."""
    truth = encode(
        [torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)],
        [torch.as_tensor(labels, dtype=torch.int64)],
        n_classes=n_classes,
        shape=shape,
        stride=STRIDE,
    )
    image, row, column = truth.cells.unbind(1)
    offsets, sizes = torch.zeros(1, 2, *shape), torch.zeros(1, 2, *shape)
    offsets[image, :, row, column], sizes[image, :, row, column] = truth.offsets, truth.sizes
    return torch.logit(truth.heat, eps=1e-6), offsets, sizes


def found_in(boxes, labels, *, n_classes=3, shape=(32, 48), **settings):
    maps = maps_of(boxes, labels, n_classes=n_classes, shape=shape)
    size = (shape[0] * STRIDE, shape[1] * STRIDE)
    return decode(*maps, [size], stride=STRIDE, **{"least": 0.9, **settings})[0]


def in_order(boxes, labels):
    return sorted([*np.round(box, 3), label] for box, label in zip(boxes, labels, strict=True))


def test_nothing_is_found_in_cold_maps():
    found = found_in([], [])
    assert found["boxes"].shape == (0, 4)
    assert found["labels"].shape == found["scores"].shape == (0,)


def test_decoding_inverts_encoding_for_separated_boxes_of_any_size():
    rng = np.random.default_rng(1)
    for _ in range(20):
        # Centres at least three cells apart; sides from less than a cell to half the image.
        columns, rows = np.meshgrid(np.arange(14, 180, 22.3), np.arange(14, 115, 24.7))
        centres = np.stack([columns.ravel(), rows.ravel()], 1) + rng.uniform(-5, 5, (40, 2))
        room = np.minimum(centres, [192, 128] - centres)
        halves = np.minimum(room, np.exp(rng.uniform(np.log(0.4), np.log(60), (40, 2))))
        boxes = np.concatenate([centres - halves, centres + halves], 1)
        labels = rng.integers(0, 3, 40)
        found = found_in(boxes, labels)
        assert len(found["boxes"]) == 40
        expected = in_order(boxes, labels + 1)
        np.testing.assert_allclose(
            in_order(found["boxes"].tolist(), found["labels"].tolist()), expected, atol=2e-3
        )


def test_boxes_at_the_border_come_back_whole():
    boxes = [[0, 0, 2, 3], [180, 0, 192, 128], [0, 120, 9, 128], [191, 60, 192, 61]]
    found = found_in(boxes, [0, 1, 2, 0])
    assert in_order(found["boxes"].tolist(), found["labels"].tolist()) == in_order(
        boxes, [1, 2, 3, 1]
    )


def test_only_the_highest_of_neighbouring_cells_is_a_peak():
    heat = torch.full((1, 1, 6, 6), -9.0)
    heat[0, 0, 2:4, 2:4] = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    heat[0, 0, 5, 5] = 0.5
    found = decode(heat, torch.zeros(1, 2, 6, 6), torch.zeros(1, 2, 6, 6), [(24, 24)], stride=4)[0]
    torch.testing.assert_close(found["scores"], torch.sigmoid(torch.tensor([3.0, 0.5])))
    assert found["boxes"].tolist() == [[6, 10, 10, 14], [18, 18, 22, 22]]


def test_the_most_confident_come_first_and_there_are_no_more_than_asked_for():
    heat = torch.full((1, 2, 9, 9), -9.0)
    heat[0, 0, 1, 1], heat[0, 1, 4, 4], heat[0, 0, 7, 7] = 0.0, 2.0, 1.0
    maps = (heat, torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9))
    assert decode(*maps, [(36, 36)], stride=4)[0]["labels"].tolist() == [2, 1, 1]
    assert decode(*maps, [(36, 36)], stride=4, most=2)[0]["boxes"][:, 0].tolist() == [14, 26]
    assert len(decode(*maps, [(36, 36)], stride=4, least=0.6)[0]["boxes"]) == 2


def test_padding_holds_no_object_and_boxes_end_with_their_image():
    heat = torch.zeros(1, 1, 8, 8)
    heat[0, 0, 6, 6] = 5.0  # in the padding
    heat[0, 0, 1, 1] = 4.0
    found = decode(
        heat,
        torch.zeros(1, 2, 8, 8),
        torch.full((1, 2, 8, 8), 3.0),
        [(20, 13)],
        stride=4,
        least=0.9,
    )[0]
    assert found["boxes"].tolist() == [[0, 0, 13, 20]]


def test_a_box_beside_the_image_is_none():
    heat = torch.full((1, 1, 4, 4), -9.0)
    heat[0, 0, 1, 1] = 4.0
    offsets = torch.full((1, 2, 4, 4), -3.0)
    found = decode(heat, offsets, torch.zeros(1, 2, 4, 4), [(16, 16)], stride=4)[0]
    assert found["boxes"].shape == (0, 4)
    assert found["scores"].shape == (0,)


def test_logits_whose_probabilities_round_to_one_are_still_told_apart():
    heat = torch.full((1, 1, 4, 4), -9.0)
    heat[0, 0, 1, 1:3] = torch.tensor([40.0, 41.0])
    found = decode(heat, torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), [(16, 16)], stride=4)[0]
    assert found["boxes"][:, 0].tolist() == [6]
