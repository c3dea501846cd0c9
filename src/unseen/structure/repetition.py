"""The pitch: how far apart a pattern repeats along the rows and columns of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal
from scipy.interpolate import CubicSpline

_Image = npt.NDArray[np.float32]  # (H, W) grey levels
_Correlation = npt.NDArray[np.float64]  # (L,) for lags of 0, 1, ... px

#: Blur before pixels are compared, px: a pattern with a pitch of 20.5 px falls between the pixels every
#: other time and looks different there unless its edges are softer than a pixel. It also removes most
#: of the noise.
BLUR = 1.0
#: Smallest pitch, px.
SHORTEST = 8.0
#: Pixels further from the mean than this many standard deviations are defects, not pattern.
_CLIP = 3.0
#: Largest lag as a share of the image's side: the rest still compares a quarter of the image.
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


def detrended(image: _Image) -> _Image:
    """The image minus its best-fitting quadratic surface, clipped and at unit deviation.

    All 0 for an image without contrast.
    """
    # Orthonormal polynomials along each axis turn the fit into two small products.
    down, across = (
        np.linalg.qr(np.vander(np.linspace(-1, 1, size), min(3, size), increasing=True))[0]
        for size in image.shape
    )
    weights = down.T @ image.astype(np.float64) @ across
    order = np.add.outer(np.arange(down.shape[1]), np.arange(across.shape[1]))
    return _clipped(image - down @ np.where(order <= 2, weights, 0.0) @ across.T, image)


def flattened(image: _Image, window: tuple[float, float]) -> _Image:
    """The image minus the mean over an (x, y) px window around each pixel, else as `detrended`.

    With the pitch as window this removes slow illumination and nothing of the pattern, wherever the
    image begins: unlike a fitted surface, even for a part of a die.
    """
    size = [2 * int(side / 2) + 1 for side in (window[1], window[0])]
    return _clipped(image - ndimage.uniform_filter(image, size, mode="reflect"), image)


def softened(image: _Image) -> _Image:
    """The image blurred by `BLUR`."""
    return np.asarray(ndimage.gaussian_filter(image, BLUR, truncate=3.0))


def autocorrelation(image: _Image, axis: int, farthest: int) -> _Correlation:
    """Pearson correlation of an image with itself shifted by 0 to `farthest` px along an axis.

    Lags are less than the image's side. Axis 0 shifts down, axis 1 to the right.
    """
    rows = image if axis == 1 else np.ascontiguousarray(image.T)
    size, lags = rows.shape[1], np.arange(farthest + 1)
    padded = fft.next_fast_len(size + farthest, real=True)
    spectrum = fft.rfft(rows, padded, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
    products = fft.irfft(power, padded)[: farthest + 1]
    # Each lag compares another part of the image, with its own mean and spread.
    sums, squares = (
        np.concatenate([[0.0], np.cumsum(values.sum(axis=0, dtype=np.float64))])
        for values in (rows, rows**2)
    )
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


def mean_autocorrelations(images: Sequence[_Image]) -> tuple[_Correlation, _Correlation]:
    """The mean autocorrelations along x and along y of one or more images, sizes may differ.

    For lags up to three quarters of the smallest image.
    """
    farthest = [int(_FARTHEST * min(image.shape[axis] for image in images)) for axis in (0, 1)]
    total = [np.zeros(size + 1) for size in farthest]
    for image in images:
        soft = softened(detrended(image))
        for axis in (0, 1):
            total[axis] += autocorrelation(soft, axis, farthest[axis]) / len(images)
    return total[1], total[0]


def repeats(correlation: _Correlation, longest: float) -> list[Repeat]:
    """All repeats of a pattern from `SHORTEST` to `longest` px, the nearest first."""
    # A smooth peak half a pixel off a lag is still a local maximum beside it.
    peaks, about = signal.find_peaks(correlation, prominence=0)
    between = _interpolated(correlation)
    repeated = []
    for peak, prominence in zip(peaks, about["prominences"], strict=True):
        near = peak + np.linspace(-0.5, 0.5, 51)
        values = between(near)
        best = int(values.argmax())
        gain = float(values[best] - correlation[peak])
        if SHORTEST <= near[best] <= longest:
            repeated.append(
                Repeat(float(near[best]), float(values[best]), float(prominence) + gain)
            )
    return repeated


def fundamental(correlation: _Correlation, longest: float) -> Repeat | None:
    """The pitch of a pattern, at most `longest` px: the nearest of its strongest repeats.

    A pattern with pitch P also repeats at 2 P, 3 P, ...; a regular part of it repeats at shorter
    lags, but more weakly. None if nothing repeats strongly enough, or not a second time.
    """
    strong = [
        repeat
        for repeat in repeats(correlation, longest)
        if repeat.strength >= REQUIRED_STRENGTH and repeat.prominence >= _REQUIRED_PROMINENCE
    ]
    strongest = max((repeat.strength for repeat in strong), default=0.0)
    for repeat in strong:
        again = correlation[int(2 * repeat.lag) - 1 : int(2 * repeat.lag) + 3]
        goes_on = len(again) < 4 or again.max() >= _REMAINS * repeat.strength
        if repeat.strength >= _AS_STRONG * strongest and goes_on:
            return repeat
    return None


def strength_at(correlation: _Correlation, lag: float) -> float:
    """The correlation at any lag, px; 0 beyond the known ones, where the images cannot tell."""
    if lag > len(correlation) - 1:
        return 0.0
    return float(np.clip(_interpolated(correlation)(lag), -1, 1))


def refined(correlation: _Correlation, pitch: float) -> float:
    """The pitch near the given one, px, whose multiples correlate best.

    An error of e px, at most half a pixel, grows to k e at the k-th multiple.
    """
    between = _interpolated(correlation)
    reach, multiples, last = 0.5, 1, int((len(correlation) - 1.5) / pitch)
    while True:
        multiples = min(multiples, max(last, 1))
        trials = pitch + np.linspace(-reach, reach, 101)
        order = np.arange(1, multiples + 1)
        values = between(np.minimum(trials[:, None] * order, len(correlation) - 1)).sum(axis=1)
        pitch = float(trials[values.argmax()])
        if multiples >= last:
            return pitch
        # What the best k multiples leave open is narrow enough for twice as many.
        reach, multiples = 0.5 / multiples, 2 * multiples


def _interpolated(correlation: _Correlation) -> CubicSpline:
    return CubicSpline(np.arange(len(correlation)), correlation)


def _clipped(residual: npt.NDArray[np.floating[Any]], image: _Image) -> _Image:
    """Without extremes, at unit deviation; all 0 if only rounding errors are left of the image."""
    deviation = float(residual.std(dtype=np.float64))
    if deviation <= 1e-5 * float(np.abs(image).max(initial=0)):
        return np.zeros(image.shape, dtype=np.float32)
    clipped = np.clip(residual, -_CLIP * deviation, _CLIP * deviation)
    return np.asarray(clipped / clipped.std(dtype=np.float64), dtype=np.float32)
