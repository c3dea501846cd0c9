"""How far apart a pattern repeats along the rows and columns of images: the pitch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal
from scipy.interpolate import CubicSpline

#: Blur before pixels are compared, px: a pattern that repeats every 20.5 px falls between the pixels
#: every other time, and looks different there unless its edges are softer than a pixel. It also
#: takes most of the noise.
BLUR = 1.0
#: What is further from the mean than so many standard deviations is a defect rather than pattern.
_CLIP = 3.0
#: Lags go to this share of the image's side: the rest still compares a quarter of the image.
_FARTHEST = 0.75
#: The nearest repeat this close to the strongest one is the fundamental. A pitch and its multiples
#: differ by up to 3 % in single images of synthetic wafers with defects.
_AS_STRONG = 0.94
#: What counts as a repeat at all. Bare wafers reach .1; pictures of circuit boards, which are full of
#: parallel traces, .3 over 20 boards; patterned wafers .9, and .5 under noise of 1.6 times their contrast.
REQUIRED_STRENGTH = 0.5
_REQUIRED_PROMINENCE = 0.15
#: A pattern repeats at twice its pitch as well: at least this share of the strength remains there.
_REMAINS = 0.7


class Repeat(NamedTuple):
    """One repeat of a pattern along one axis."""

    lag: float  #: px
    strength: float  #: autocorrelation there, in [-1, 1]
    prominence: float  #: how far it stands above the lags around it


def detrended(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The image less the quadratic surface that fits it best, without extremes, at unit deviation.

    Args:
        image: (H, W) float32 grey levels.

    Returns:
        (H, W) float32, mean about 0; all 0 for an image without any contrast.
    """
    # Orthonormal polynomials along each axis make the fit of the surface two small products.
    down, across = (
        np.linalg.qr(np.vander(np.linspace(-1, 1, size), min(3, size), increasing=True))[0]
        for size in image.shape
    )
    weights = down.T @ image.astype(np.float64) @ across
    order = np.add.outer(np.arange(down.shape[1]), np.arange(across.shape[1]))
    surface = down @ np.where(order <= 2, weights, 0.0) @ across.T
    return _evened(image - surface, image)


def flattened(
    image: npt.NDArray[np.float32], window: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """The image less the mean over a window around each pixel, without extremes, at unit deviation.

    With the pitch as window this takes slow illumination and nothing of the pattern, and it does the
    same to a pattern wherever the image begins: unlike a fitted surface, also for a part of a die.

    Args:
        image: (H, W) float32 grey levels.
        window: (x, y) size, px.

    Returns:
        (H, W) float32, mean about 0; all 0 for an image without any contrast.
    """
    size = [2 * int(side / 2) + 1 for side in (window[1], window[0])]
    return _evened(image - ndimage.uniform_filter(image, size, mode="reflect"), image)


def softened(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W) float32: the image blurred by `BLUR`."""
    return np.asarray(ndimage.gaussian_filter(image, BLUR, truncate=3.0))


def autocorrelation(
    image: npt.NDArray[np.float32], axis: int, farthest: int
) -> npt.NDArray[np.float64]:
    """Pearson's correlation of an image with itself, shifted along one axis.

    Args:
        image: (H, W) float32, less illumination, and softened.
        axis: 0 shifts down, 1 shifts to the right.
        farthest: largest lag, px; less than the image's side.

    Returns:
        (farthest + 1,) in [-1, 1] for lags 0, 1, ... px.
    """
    rows = image if axis == 1 else np.ascontiguousarray(image.T)
    size, lags = rows.shape[1], np.arange(farthest + 1)
    padded = fft.next_fast_len(size + farthest, real=True)
    spectrum = fft.rfft(rows, padded, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
    products = fft.irfft(power, padded)[: farthest + 1]
    # Each lag compares another part of the image, with a mean and a spread of its own.
    sums = np.concatenate([[0.0], np.cumsum(rows.sum(axis=0, dtype=np.float64))])
    squares = np.concatenate([[0.0], np.cumsum((rows**2).sum(axis=0, dtype=np.float64))])
    pixels = rows.shape[0] * (size - lags)
    first, second = sums[size - lags], sums[size] - sums[lags]
    spread = (squares[size - lags] - first**2 / pixels) * (
        squares[size] - squares[lags] - second**2 / pixels
    )
    correlation = np.divide(
        products - first * second / pixels,
        np.sqrt(np.maximum(spread, 0)),
        out=np.zeros(farthest + 1),
        where=spread > (1e-6 * squares[size]) ** 2,  # rounding leaves a little of what cancels
    )
    return np.asarray(np.clip(correlation, -1, 1))


def mean_autocorrelations(
    images: Sequence[npt.NDArray[np.float32]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How images repeat along x and along y, on average.

    Args:
        images: each (H, W) float32 grey levels, as they are; sizes may differ. At least one.

    Returns:
        (L,) each, for lags of 0, 1, ... px up to three quarters of the smallest image.
    """
    farthest = [int(_FARTHEST * min(image.shape[axis] for image in images)) for axis in (0, 1)]
    total = [np.zeros(size + 1) for size in farthest]
    for image in images:
        soft = softened(detrended(image))
        for axis in (0, 1):
            total[axis] += autocorrelation(soft, axis, farthest[axis]) / len(images)
    return total[1], total[0]


def repeats(correlation: npt.NDArray[np.float64], shortest: float, longest: float) -> list[Repeat]:
    """All repeats of a pattern, the nearest first.

    Args:
        correlation: (L,) of lags 0, 1, ... px.
        shortest: smallest lag that counts, px.
        longest: largest lag that counts, px.
    """
    # A smooth peak at a whole lag is a local maximum there; half a pixel off, it is one beside it.
    peaks, about = signal.find_peaks(correlation, prominence=0)
    between = CubicSpline(np.arange(len(correlation)), correlation)
    found = []
    for peak, prominence in zip(peaks, about["prominences"], strict=True):
        near = peak + np.linspace(-0.5, 0.5, 51)
        values = between(near)
        best = int(values.argmax())
        gain = float(values[best] - correlation[peak])
        if shortest <= near[best] <= longest:
            found.append(Repeat(float(near[best]), float(values[best]), float(prominence) + gain))
    return found


def fundamental(
    correlation: npt.NDArray[np.float64], shortest: float, longest: float
) -> Repeat | None:
    """The pitch of a pattern: the nearest of its strongest repeats.

    A pattern that repeats at P does so as well at 2 P, 3 P, ...; and a regular part of it at shorter
    lags, but only that part, and so more weakly.

    Args:
        correlation: (L,) of lags 0, 1, ... px.
        shortest: smallest pitch that counts, px.
        longest: largest pitch that counts, px.

    Returns:
        None where nothing repeats strongly enough, or not a second time.
    """
    found = [
        repeat
        for repeat in repeats(correlation, shortest, longest)
        if repeat.strength >= REQUIRED_STRENGTH and repeat.prominence >= _REQUIRED_PROMINENCE
    ]
    strongest = max((repeat.strength for repeat in found), default=0.0)
    for repeat in found:
        if repeat.strength >= _AS_STRONG * strongest and _goes_on(correlation, repeat):
            return repeat
    return None


def strength_at(correlation: npt.NDArray[np.float64], lag: float) -> float:
    """The correlation at any lag, px; 0 beyond the known ones, where the images cannot tell."""
    if lag > len(correlation) - 1:
        return 0.0
    return float(np.clip(CubicSpline(np.arange(len(correlation)), correlation)(lag), -1, 1))


def _goes_on(correlation: npt.NDArray[np.float64], repeat: Repeat) -> bool:
    near = slice(int(2 * repeat.lag) - 1, int(2 * repeat.lag) + 3)
    again = correlation[near]
    return len(again) < 4 or bool(again.max() >= _REMAINS * repeat.strength)


def refined(correlation: npt.NDArray[np.float64], pitch: float) -> float:
    """The pitch whose multiples correlate best: an error of e px grows to k e at the k-th of them.

    Args:
        correlation: (L,) of lags 0, 1, ... px.
        pitch: within about half a pixel of the true one, px.
    """
    between = CubicSpline(np.arange(len(correlation)), correlation)
    reach, multiples, last = 0.5, 1, int((len(correlation) - 1.5) / pitch)
    while True:
        multiples = min(multiples, max(last, 1))
        trials = pitch + np.linspace(-reach, reach, 101)
        order = np.arange(1, multiples + 1)
        values = between(np.minimum(trials[:, None] * order, len(correlation) - 1)).sum(axis=1)
        pitch = float(trials[values.argmax()])
        if multiples >= last:
            return pitch
        # What the best k multiples left open is narrow enough for twice as many.
        reach, multiples = 0.5 / multiples, 2 * multiples


def _evened(
    residual: npt.NDArray[np.floating[Any]], image: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """(H, W) float32: without extremes, at unit deviation; all 0 if only rounding errors are left."""
    deviation = float(residual.std(dtype=np.float64))
    if deviation <= 1e-5 * float(np.abs(image).max(initial=0)):
        return np.zeros(image.shape, dtype=np.float32)
    clipped = np.clip(residual, -_CLIP * deviation, _CLIP * deviation)
    return np.asarray(clipped / clipped.std(dtype=np.float64), dtype=np.float32)
