import numpy as np
import pytest
from scipy.ndimage import distance_transform_cdt

from unseen.unet.outlier_exposure import IGNORE, PatchSource

UNSEEN = 3


def _crop(rng, channels):
    image = np.clip(rng.normal(0.5, 0.1, (96, 96, channels)), 0, 1).astype(np.float32)
    target = np.zeros((96, 96), dtype=np.int64)
    target[20:45, 30:60] = 1
    target[70:80, 5:15] = 2
    target[:, 90:] = IGNORE
    return image, target


def _source(rng, channels, ring):
    donors = [rng.uniform(0, 1, (40, 50, channels)).astype(np.float32) for _ in range(3)]
    return PatchSource(donors, np.full(channels, 0.1, np.float32), unseen=UNSEEN, ring=ring)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ring", [0, 5])
def test_patches_keep_their_promises(rng, channels, ring):
    source = _source(rng, channels, ring)
    sizes = []
    for _ in range(60):
        image, target = _crop(rng, channels)
        before, truth = image.copy(), target.copy()
        source.paste(image, target, max_radius=20, rng=rng)
        patch = target == UNSEEN
        sizes.append(patch.sum())
        changed = (image != before).any(axis=2)
        ringed = (target == IGNORE) & (truth != IGNORE)
        kept = ~patch & ~ringed
        # What is neither unseen nor ring keeps its label; only background becomes ring.
        np.testing.assert_array_equal(target[kept], truth[kept])
        assert (truth[ringed] == 0).all()
        assert not (patch & (truth == IGNORE)).any()
        # The image changes only in the patch and within the ring's width around it.
        near = patch.any() & (distance_transform_cdt(~patch, "chessboard") <= ring)
        assert not (changed & ~near).any()
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
    assert np.mean(np.asarray(sizes) > 0) > 0.9
    assert max(sizes) < 96 * 96


def test_what_would_hardly_change_the_image_is_not_pasted(rng):
    # Against a standard deviation of 100 no change within [0, 1] is worth a patch.
    image, target = _crop(rng, 1)
    before, truth = image.copy(), target.copy()
    source = PatchSource([image.copy()], np.full(1, 100, np.float32), unseen=UNSEEN, ring=2)
    for _ in range(20):
        source.paste(image, target, max_radius=10, rng=rng)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(target, truth)


def test_tiny_crops_and_tiny_donors_are_no_problem(rng):
    for size in (1, 3, 9):
        image = rng.uniform(0, 1, (size, size, 1)).astype(np.float32)
        target = np.zeros((size, size), np.int64)
        donors = [rng.uniform(0, 1, (1, 1, 1)).astype(np.float32)]
        source = PatchSource(donors, np.full(1, 0.2, np.float32), unseen=1, ring=3)
        for _ in range(20):
            source.paste(image, target, max_radius=1, rng=rng)
        assert np.isfinite(image).all()
