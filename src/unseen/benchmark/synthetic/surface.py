"""What a wafer looks like without marks: grain, polishing streaks, mottling, illumination."""

from __future__ import annotations

import numpy as np
from scipy import fft


def random_field(
    rng: np.random.Generator, size: int, components: list[tuple[float, float, float, float]]
) -> np.ndarray:
    """A Gaussian random field whose spectrum is a sum of elongated Gaussians.

    Args:
        rng: source of randomness.
        size: side, px.
        components: each (standard deviation in grey levels, correlation length along the angle in
            px, correlation length across it in px, angle in radians).

    Returns:
        (size, size) float64, mean 0; it repeats seamlessly at the border.
    """
    fy = fft.fftfreq(size)[:, None]
    fx = fft.rfftfreq(size)[None, :]
    # Every frequency but those of the first and the last column stands for two conjugate ones.
    weight = np.full(fx.shape, 2.0)
    weight[0, 0] = 1.0
    if size % 2 == 0:
        weight[0, -1] = 1.0
    power = np.zeros((size, fx.shape[1]))
    for deviation, along, across, angle in components:
        u = fx * np.cos(angle) + fy * np.sin(angle)
        v = -fx * np.sin(angle) + fy * np.cos(angle)
        part = np.exp(-((2 * np.pi) ** 2) * ((along * u) ** 2 + (across * v) ** 2))
        part[0, 0] = 0.0
        power += part * (deviation**2 * size**2 / float((part * weight).sum()))
    noise = fft.rfft2(rng.standard_normal((size, size)))
    field: np.ndarray = fft.irfft2(noise * np.sqrt(power), s=(size, size))
    return field


def illumination(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Relative brightness: a gradient in a random direction and a mild vignette.

    Args:
        rng: source of randomness.
        size: side, px.
        strength: largest relative change from edge to edge, for example 0.2.

    Returns:
        (size, size) float64 around 1.
    """
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = strength * rng.uniform(0.3, 1.0)
    centre_x, centre_y = rng.uniform(-0.15, 0.15, 2)
    vignette = 0.5 * strength * ((x - centre_x) ** 2 + (y - centre_y) ** 2)
    light: np.ndarray = 1.0 + slope * (x * np.cos(angle) + y * np.sin(angle)) - vignette
    return light
