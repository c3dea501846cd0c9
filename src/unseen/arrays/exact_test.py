"""Fisher's exact test: did one group of images hold something more often than another?

Source: R. A. Fisher, *Statistical Methods for Research Workers*, 1925, section 21.02. Exact, so that
it may be used for batches of ten.
"""

from __future__ import annotations

from math import comb


def more_often(hits: int, size: int, other_hits: int, other_size: int) -> float:
    """The chance of at least so many hits in the first group if the groups do not differ.

    Args:
        hits: images of the first group that hold it.
        size: images of the first group.
        other_hits: images of the second group that hold it.
        other_size: images of the second group.

    Returns:
        The one-sided p value in (0, 1]; small = the first group holds it more often. 1 without
        any image in one of the groups.
    """
    total, all_hits = size + other_size, hits + other_hits
    if not size or not other_size:
        return 1.0
    ways = sum(
        comb(all_hits, k) * comb(total - all_hits, size - k)
        for k in range(hits, min(size, all_hits) + 1)
    )
    return ways / comb(total, size)
