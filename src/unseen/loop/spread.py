"""A histogram of the ranking metric that outliers do not squeeze."""

from __future__ import annotations

import numpy as np

from unseen.loop.overview_data import Histogram

#: Bins at most.
BINS = 60
#: Of all values; what lies above goes into the last bin.
UPPER = 0.99
#: The axis never reaches further than this many times the upper quantile.
STRETCH = 4.0


def histogram(pool: np.ndarray, batch: np.ndarray) -> Histogram | None:
    """Counts of pool and batch over the same bins; the last bin is open.

    The axis ends at the 99 % quantile of all values, or at the batch's median where that is higher:
    the batch holds the highest values, and shall not lie in one bin.

    Args:
        pool: (N,) finite values, without those of the batch.
        batch: (M,) finite values.

    Returns:
        The histogram, or None without any value.
    """
    values = np.concatenate([pool, batch]).astype(np.float64)
    if not len(values):
        return None
    low, top = float(values.min()), float(values.max())
    reach = float(np.quantile(values, UPPER))
    if len(batch):
        reach = max(reach, min(float(np.median(batch)), low + STRETCH * (reach - low)))
    if reach <= low:  # nearly all are equal: one bin for them, one for the rest
        step = max(top - low, abs(low) * 1e-6, 1e-9)
        edges = np.asarray([low, low + step / 2, low + step])
    else:
        bins = int(min(BINS, max(5, 2 * len(values) ** 0.5)))
        edges = np.linspace(low, reach, bins + 1)
    counts = [_count(group, edges) for group in (pool, batch)]
    return Histogram(
        edges=[float(e) for e in edges],
        pool=counts[0],
        batch=counts[1],
        maximum=top,
        is_open=bool(top > edges[-1]),
    )


def _count(values: np.ndarray, edges: np.ndarray) -> list[int]:
    """Values per bin; the last bin takes all from its lower edge on."""
    bins = len(edges) - 1
    where = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return [int(n) for n in np.bincount(where, minlength=bins)]
