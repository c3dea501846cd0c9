"""Arrays as the bytes that FiftyOne stores, for processes that do not import FiftyOne."""

from __future__ import annotations

import io
import zlib

import numpy as np


def packed(array: np.ndarray) -> bytes:
    """The content of a .npy file with this array, compressed by zlib."""
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=False)
        return zlib.compress(file.getvalue())
