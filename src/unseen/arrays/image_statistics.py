"""An image as one vector without any network: statistics of intensity, gradient and blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

#: Sides of the blocks whose means and spreads are compared, px; at most the shorter side of the image.
BLOCKS = (8, 16, 32, 64)


def image_statistics(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(41,) statistics of an (H, W, C) image of at least 2 x 2 px, averaged over its channels.

    7 quantiles, standard deviation, skewness and kurtosis of the intensity; 5 quantiles and the 2
    directions of the gradient; per block size 6 numbers about means and spreads.
    """
    if image.ndim != 3 or min(image.shape[:2]) < 2:
        raise ShapeError(
            f"the image has shape {image.shape}; expected (H, W, C), at least 2 x 2 px"
        )
    x = image.astype(np.float64).mean(axis=2)
    down, across = np.gradient(x)
    centred = x - x.mean()
    spread = max(float(x.std()), 1e-6)
    row = [
        *np.quantile(x, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]),
        spread,
        (centred**3).mean() / spread**3,
        (centred**4).mean() / spread**4,
        *np.quantile(np.hypot(down, across), [0.25, 0.5, 0.75, 0.95, 0.99]),
        np.abs(across).mean(),
        np.abs(down).mean(),
    ]
    for side in (min(b, *x.shape) for b in BLOCKS):
        rows, columns = x.shape[0] // side, x.shape[1] // side
        blocks = x[: rows * side, : columns * side].reshape(rows, side, columns, side)
        means, spreads = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
        row += [means.std(), spreads.mean(), spreads.std(), spreads.max()]
        row += [means.max() - np.median(means), np.median(means) - means.min()]
    return np.asarray(row, dtype=np.float64)


def standardised(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(N, D) with mean 0 and standard deviation 1 per column; constant columns become 0."""
    rows = np.asarray(values, dtype=np.float64)
    return np.asarray((rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-9))
