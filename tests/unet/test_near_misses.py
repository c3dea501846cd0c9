import numpy as np
import pytest

from unseen.arrays.masks import BACKGROUND
from unseen.unet.near_misses import NearMissSource, bite, sweep
from unseen.unet.outlier_exposure import IGNORE, PatchSource

UNSEEN = 3
STD = np.asarray([0.05], np.float32)


def _crop(size=96):
    """Grain with a bright square of class 1 in a larger box, and a strip that the loss ignores."""
    rng = np.random.default_rng(7)
    image = (0.4 + 0.02 * rng.standard_normal((size, size, 1))).astype(np.float32)
    image[40:56, 40:56] += 0.4
    target = np.zeros((size, size), np.int64)
    target[32:64, 32:64] = 1
    target[:, -8:] = IGNORE
    return image, target


def _bitten(image, target, seed):
    return bite(image, target, std=STD, unseen=UNSEEN, rng=np.random.default_rng(seed))


def _swept(image, target, seed, ring=4):
    rng = np.random.default_rng(seed)
    return sweep(image, target, std=STD, unseen=UNSEEN, ring=ring, rng=rng)


def _outcomes(change, seeds=60):
    """Image, target and what they were before, for every seed that drew something."""
    for seed in range(seeds):
        image, target = _crop()
        before = image.copy(), target.copy()
        is_drawn = change(image, target, seed)
        yield is_drawn, image, target, *before


def test_without_known_objects_there_is_nothing_to_bite():
    image, _ = _crop()
    target = np.full(image.shape[:2], BACKGROUND)
    before = image.copy()
    assert not _bitten(image, target, 0)
    np.testing.assert_array_equal(image, before)
    assert (target == BACKGROUND).all()


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_what_is_refused_changes_nothing(change):
    for is_drawn, image, target, image_before, target_before in _outcomes(change):
        if not is_drawn:
            np.testing.assert_array_equal(image, image_before)
            np.testing.assert_array_equal(target, target_before)


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_most_attempts_succeed_and_leave_unseen_pixels(change):
    drawn = [(target == UNSEEN).sum() for ok, _, target, _, _ in _outcomes(change) if ok]
    assert len(drawn) > 30
    assert min(drawn) >= 5


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_ignored_pixels_stay_ignored(change):
    for _, _, target, _, before in _outcomes(change):
        assert (target[before == IGNORE] == IGNORE).all()


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_no_background_is_called_a_known_class(change):
    for _, _, target, _, before in _outcomes(change):
        assert not ((target > BACKGROUND) & (target != UNSEEN) & (before == BACKGROUND)).any()


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_the_picture_changes_only_where_the_target_does(change):
    for _, image, target, image_before, target_before in _outcomes(change):
        changed = np.abs(image - image_before)[:, :, 0] > 0.01
        # At its soft edge a known object keeps its class, as with every other unseen patch.
        assert not (changed & (target == BACKGROUND) & (target_before == BACKGROUND)).any()


@pytest.mark.parametrize("change", [_bitten, _swept])
def test_the_same_seed_draws_the_same(change):
    first, second = _crop(), _crop()
    change(*first, 11)
    change(*second, 11)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bite_lies_at_the_object_and_not_anywhere():
    for ok, _, target, _, before in _outcomes(_bitten):
        if ok:
            rows, columns = np.nonzero(target == UNSEEN)
            # Its centre is inside the box of the object; a bite has at most 9 + 1 px of radius.
            assert 31 - 10 <= rows.min() <= rows.max() <= 64 + 10
            assert 31 - 10 <= columns.min() <= columns.max() <= 64 + 10
            assert (before[target == UNSEEN] == 1).any()


def test_most_bites_take_the_object_away():
    darker = [
        image[target == UNSEEN].mean() < image_before[target == UNSEEN].mean() - 0.1
        for ok, image, target, image_before, _ in _outcomes(_bitten)
        if ok
    ]
    assert np.mean(darker) > 0.6


def test_sweeps_reach_from_edge_to_edge():
    for ok, _, target, _, _ in _outcomes(_swept):
        if ok:
            touched = target == UNSEEN
            sides = touched[0].any(), touched[-1].any(), touched[:, 0].any(), touched[:, -9].any()
            assert sum(sides) >= 2


def test_some_sweeps_cover_the_whole_picture_and_some_a_line():
    shares = [(target == UNSEEN)[:, :-8].mean() for ok, _, target, _, _ in _outcomes(_swept) if ok]
    assert min(shares) < 0.2
    assert max(shares) > 0.8


def test_known_objects_under_a_swept_area_count_neither_as_known_nor_as_unseen():
    for ok, _, target, _, before in _outcomes(_swept):
        if ok and (target == UNSEEN).mean() > 0.8:
            assert (target[before == 1] == IGNORE).all()


def test_a_flat_picture_of_one_colour_channel_or_three_is_fine():
    for channels in (1, 3):
        image = np.full((64, 64, channels), 0.5, np.float32)
        target = np.zeros((64, 64), np.int64)
        target[20:40, 20:40] = 2
        std = np.full(channels, 1 / 255, np.float32)
        for seed in range(10):
            rng = np.random.default_rng(seed)
            assert not bite(image, target, std=std, unseen=UNSEEN, rng=rng)  # nothing stands out
            sweep(image.copy(), target.copy(), std=std, unseen=UNSEEN, ring=2, rng=rng)


def _pasted(kind, seed):
    image, target = _crop()
    source = kind([image.copy()], STD, unseen=UNSEEN, ring=4)
    source.paste(image, target, max_radius=12.0, rng=np.random.default_rng(seed))
    return target == UNSEEN


def test_the_source_pastes_all_kinds_of_patches():
    unseen = [_pasted(NearMissSource, seed) for seed in range(80)]
    assert any(mask.mean() > 0.7 for mask in unseen)  # sweeps
    assert np.mean([mask[40:56, 40:56].any() for mask in unseen]) > 0.4  # bites
    assert any(mask.any() and not mask[32:64, 32:64].any() for mask in unseen)  # compact ones


def test_compact_patches_alone_never_cover_the_picture_nor_aim_at_objects():
    unseen = [_pasted(PatchSource, seed) for seed in range(80)]
    assert max(mask.mean() for mask in unseen) < 0.5
    bitten = np.mean([mask[40:56, 40:56].any() for mask in unseen])
    assert bitten < np.mean([_pasted(NearMissSource, s)[40:56, 40:56].any() for s in range(80)])


def test_the_source_repeats_for_the_same_seed():
    np.testing.assert_array_equal(_pasted(NearMissSource, 5), _pasted(NearMissSource, 5))
