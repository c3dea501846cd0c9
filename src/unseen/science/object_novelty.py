"""How unusual the single objects of an image look among all objects of the pool.

The unseen score of a pixel separates an object from what the labels show. Where hundreds of small
objects resemble each other, and a rare class resembles them as well, that is too coarse: every object
has some unseen pixels at its rim. Here every object is cut out, and what is compared is its appearance
among the thousands of objects of the whole pool, labelled or not: a density is fitted to all cut-outs,
and the least likely ones are novel. No label says what is rare, but what is rare is unlikely.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.errors import ShapeError
from unseen.science.auroc import auroc

#: Side of a cut-out, in samples; it shows 1.5 times the typical object.
SIDE = 22
EXTENT = 1.5
#: Cut-outs are taken where the UNet sees something other than background with this probability. With
#: less, pieces of background come along, and the rarest of those hide the rare objects.
FOREGROUND = 0.8
#: At most this many cut-outs per image, those with the strongest contrast.
MOST = 64
#: Typical objects are taken to be at least so large, px: below it a cut-out shows the grain.
SMALLEST = 8.0
#: Numbers that describe a cut-out, and the clusters of their density.
COMPONENTS, CLUSTERS = 20, 8
#: Cut-outs that the density is fitted to at most; with fewer than this no density is fitted.
FITTED, FEWEST = 4000, 200
#: The rehearsal: a density is used when it tells this share of spoilt objects from whole ones (AUROC).
SHARP = 0.9
#: Cut-outs in the rehearsal, and the radius of what is taken out of them, as parts of the object.
REHEARSED, BITE = 600, (0.15, 0.25)
_REGULARISATION = 1e-2

Array = npt.NDArray[np.float32]


class UsualObjects(NamedTuple):
    """A density of cut-outs: principal components, and a mixture of normal distributions."""

    mean: npt.NDArray[np.float64]  #: (SIDE^2,)
    basis: npt.NDArray[np.float64]  #: (SIDE^2, COMPONENTS)
    scale: npt.NDArray[np.float64]  #: (COMPONENTS,) standard deviation along each
    rest: npt.NDArray[np.float64]  #: (2,) mean and deviation of the logarithm of what is left over
    weights: npt.NDArray[np.float64]  #: (CLUSTERS,) logarithms
    means: npt.NDArray[np.float64]  #: (CLUSTERS, COMPONENTS + 1)
    factors: npt.NDArray[
        np.float64
    ]  #: (CLUSTERS, COMPONENTS + 1, COMPONENTS + 1) of the precisions


def cut_outs(image: Array, foreground: Array, size: float) -> Array:
    """The objects of an image, each in a window of its own.

    Objects are where the local contrast peaks within what the UNet does not take for background.

    Args:
        image: (h, w) float32 grey, evenly lit.
        foreground: (h, w) float32 in [0, 1], 1 - P(background).
        size: of a typical object, px of the image.

    Returns:
        (M, SIDE, SIDE) float32, M <= MOST, the strongest contrast first.

    Raises:
        ShapeError: the arguments do not fit each other.
    """
    if image.ndim != 2 or image.shape != foreground.shape:
        raise ShapeError(
            f"the image has shape {image.shape} and its foreground {foreground.shape}; expected "
            "(h, w) twice"
        )
    typical = max(SMALLEST, size)
    is_object = foreground > FOREGROUND
    if not is_object.any():
        return np.zeros((0, SIDE, SIDE), np.float32)
    around = ndimage.uniform_filter(image, max(3, int(4 * typical) | 1), mode="reflect")
    contrast = ndimage.gaussian_filter((image - around) ** 2, typical / 4, truncate=3)
    contrast *= is_object
    is_peak = (contrast == ndimage.maximum_filter(contrast, int(typical) | 1)) & is_object
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-contrast[rows, columns], kind="stable")[:MOST]
    step = EXTENT * typical / SIDE
    smooth = ndimage.gaussian_filter(image, max(0.8, 0.4 * step), truncate=3)
    grid = (np.arange(SIDE) - (SIDE - 1) / 2) * step
    places = np.broadcast_arrays(
        rows[order, None, None] + grid[:, None], columns[order, None, None] + grid
    )
    return np.asarray(ndimage.map_coordinates(smooth, places, order=1, mode="reflect"), np.float32)


def usual_objects(
    objects: npt.ArrayLike, *, rng: np.random.Generator | None = None
) -> UsualObjects | None:
    """Fit the density to the cut-outs of a pool, or of a random part of it.

    Args:
        objects: (M, SIDE, SIDE).
        rng: draws the cut-outs that are fitted where there are many, and the start of the fit;
            default: the same one each time.

    Returns:
        The density, or None: with fewer than `FEWEST` cut-outs, which are too few to say what is
        usual, and where the density would not notice a spoilt object (`sharpness`).
    """
    # Imported late: it takes a second, and only scoring needs it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rng = rng or np.random.default_rng(0)
    values = _centred(objects)
    if len(values) < FEWEST:
        return None
    if len(values) > FITTED:
        values = values[np.sort(rng.choice(len(values), FITTED, replace=False))]
    mean = values.mean(axis=0)
    spread, directions = np.linalg.eigh(np.cov((values - mean).T))
    basis, scale = directions[:, ::-1][:, :COMPONENTS], np.sqrt(spread[::-1][:COMPONENTS] + 1e-12)
    found = UsualObjects(mean, basis, scale, np.array([0.0, 1.0]), *[np.zeros(0)] * 3)
    left_over = _described(values, found)[:, -1]
    found = found._replace(rest=np.array([left_over.mean(), max(float(left_over.std()), 1e-9)]))
    mixture = GaussianMixture(
        CLUSTERS,
        reg_covar=_REGULARISATION,
        max_iter=25,
        init_params="k-means++",
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        # The last digits of the fit do not matter; 25 rounds are enough, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(_described(values, found))
    found = found._replace(
        weights=np.log(mixture.weights_),
        means=mixture.means_,
        factors=mixture.precisions_cholesky_,
    )
    return found if sharpness(objects, found) >= SHARP else None


def object_novelty(objects: npt.ArrayLike, usual: UsualObjects) -> npt.NDArray[np.float64]:
    """How unlikely each cut-out is: minus the logarithm of its density.

    Args:
        objects: (M, SIDE, SIDE).
        usual: the density of the pool.

    Returns:
        (M,) float64, nats; higher = more unusual.
    """
    described = _described(_centred(objects), usual)
    logs = []
    for weight, mean, factor in zip(usual.weights, usual.means, usual.factors, strict=True):
        distance = ((described @ factor - mean @ factor) ** 2).sum(axis=1)
        logs.append(weight + np.log(np.diag(factor)).sum() - distance / 2)
    constant = described.shape[1] / 2 * np.log(2 * np.pi)
    return np.asarray(constant - np.logaddexp.reduce(logs, axis=0))


def image_novelty(novelty: npt.ArrayLike) -> float | None:
    """The least likely object of an image; None where it has none."""
    values = np.asarray(novelty, dtype=np.float64).reshape(-1)
    return float(values.max()) if len(values) else None


def sharpness(
    objects: npt.ArrayLike, usual: UsualObjects, *, rng: np.random.Generator | None = None
) -> float:
    """How well a density would notice a change of a single object, without any label.

    Objects of the pool are spoilt - a disc of a quarter of their width is replaced by what lies
    around them - and compared with whole ones. Where all objects look alike, every spoilt one is
    noticed; where each one looks different anyway, hardly any, and novelty would be noise.

    Args:
        objects: (M, SIDE, SIDE), M > 0.
        usual: the density.
        rng: draws the objects and the places; default: the same one each time.

    Returns:
        The AUROC of spoilt against whole objects, in [0, 1]; 0.5 is chance.
    """
    rng = rng or np.random.default_rng(0)
    whole = np.asarray(objects, dtype=np.float64).reshape(-1, SIDE, SIDE)
    if len(whole) > REHEARSED:
        whole = whole[rng.choice(len(whole), REHEARSED, replace=False)]
    width, middle = SIDE / EXTENT, (SIDE - 1) / 2
    angle, away = rng.uniform(0, 2 * np.pi, len(whole)), rng.uniform(0, width / 4, len(whole))
    radius = width * rng.uniform(*BITE, len(whole))
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    down = y - (middle + away * np.sin(angle))[:, None, None]
    across = x - (middle + away * np.cos(angle))[:, None, None]
    soft = np.clip(radius[:, None, None] + 0.5 - np.hypot(down, across), 0, 1)
    border = np.concatenate([whole[:, 0], whole[:, -1], whole[:, :, 0], whole[:, :, -1]], axis=1)
    spoilt = whole + soft * (np.median(border, axis=1)[:, None, None] - whole)
    return auroc(object_novelty(spoilt, usual), object_novelty(whole, usual)) or 0.0


def _centred(objects: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(M, SIDE^2): without brightness, and half of the contrast taken out."""
    values = np.asarray(objects, dtype=np.float64).reshape(-1, SIDE * SIDE)
    values = values - np.median(values, axis=1, keepdims=True)
    return np.asarray(values / np.sqrt(values.std(axis=1, keepdims=True) + 1e-3))


def _described(values: npt.NDArray[np.float64], usual: UsualObjects) -> npt.NDArray[np.float64]:
    """(M, COMPONENTS + 1): along the principal components, and how much they leave over."""
    away = values - usual.mean
    along = away @ usual.basis
    left = np.sqrt(np.maximum((away**2).sum(axis=1) - (along**2).sum(axis=1), 0))
    mean, deviation = usual.rest
    rest = (np.log(left + 1e-6) - mean) / deviation
    return np.concatenate([along / usual.scale, rest[:, None]], axis=1)
