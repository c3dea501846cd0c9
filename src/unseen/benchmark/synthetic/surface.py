"""What a surface looks like without marks: grain, streaks, mottling, illumination."""

from __future__ import annotations

import numpy as np
from scipy import fft


def turned(
    x: np.ndarray | float, y: np.ndarray | float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of (x, y) along and across a direction given in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(x * cos + y * sin), np.asarray(-x * sin + y * cos)


def random_field(
    rng: np.random.Generator, size: int, components: list[tuple[float, float, float, float]]
) -> np.ndarray:
    """A Gaussian random field whose spectrum is a sum of elongated Gaussians.

    Each component is (standard deviation in grey levels, correlation length along the angle in px,
    correlation length across it in px, angle in radians). Returns (size, size) float64 with mean 0
    that tiles seamlessly.
    """
    fy = fft.fftfreq(size)[:, None]
    fx = fft.rfftfreq(size)[None, :]
    # All frequencies but those of the first and the last column stand for two conjugate ones.
    weight = np.full(fx.shape, 2.0)
    weight[0, 0] = 1.0
    if size % 2 == 0:
        weight[0, -1] = 1.0
    power = np.zeros((size, fx.shape[1]))
    for deviation, along, across, angle in components:
        u, v = turned(fx, fy, angle)
        part = np.exp(-((2 * np.pi) ** 2) * ((along * u) ** 2 + (across * v) ** 2))
        part[0, 0] = 0.0
        power += part * (deviation**2 * size**2 / float((part * weight).sum()))
    noise = fft.rfft2(rng.standard_normal((size, size)))
    return np.asarray(fft.irfft2(noise * np.sqrt(power), s=(size, size)))


def illumination(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """(size, size) relative brightness around 1: a random gradient and a mild vignette.

    `strength` is the largest relative change from edge to edge, such as 0.2.
    """
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = strength * rng.uniform(0.3, 1.0)
    centre_x, centre_y = rng.uniform(-0.15, 0.15, 2)
    vignette = 0.5 * strength * ((x - centre_x) ** 2 + (y - centre_y) ** 2)
    return np.asarray(1.0 + slope * (x * np.cos(angle) + y * np.sin(angle)) - vignette)
