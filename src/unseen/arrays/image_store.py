"""Training images, read once and kept in memory as far as that is bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from unseen.arrays.images import as_channels, read_image, resize
from unseen.errors import ImageError

#: Bytes of pixels kept in memory; images beyond that are read again whenever they are needed.
MEMORY = 2_000_000_000


class ImageStore(Sequence[np.ndarray]):
    """A sequence of (h, w, C) float32 images in [0, 1] at working scale.

    Every file is read once when the store is made, so that unreadable ones are known before
    training starts; they are left out of the sequence and listed in `failures`.

    Pixels are kept as float16: 11 bits of precision, more than an 8-bit file holds.

    Attributes:
        kept: positions in `paths` of the images that could be read, in order.
        failures: position in `paths` -> what was wrong.
        channels: 1 if all images are grey, else 3.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        scale: float | Callable[[], float] = 1.0,
        channels: int | None = None,
        memory: int = MEMORY,
        workers: int = 2,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Read the images.

        Args:
            paths: image files.
            scale: factor in (0, 1] by which images are made smaller.
            channels: 1 or 3; None takes 1 if all are grey.
            memory: bytes of pixels to keep at most.
            workers: threads that read.
            on_read: called with the number of files read so far.
        """
        self._paths = list(paths)
        self._scale = scale() if callable(scale) else scale
        self._images: dict[int, np.ndarray] = {}
        self.failures: dict[int, str] = {}
        self.kept: list[int] = []
        is_grey, used = True, 0
        with ThreadPoolExecutor(workers) as threads:
            for i, found in enumerate(threads.map(self._read, self._paths)):
                if isinstance(found, ImageError):
                    self.failures[i] = str(found)
                else:
                    self.kept.append(i)
                    is_grey = is_grey and found.shape[2] == 1
                    if used + found.nbytes <= memory:
                        self._images[i] = found
                        used += found.nbytes
                if on_read:
                    on_read(i + 1)
        self.channels = channels or (1 if is_grey else 3)

    def _read(self, path: str) -> np.ndarray | ImageError:
        try:
            return resize(read_image(path), self._scale).astype(np.float16)
        except ImageError as error:
            return error

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        position = self.kept[index]
        image = self._images.get(position)
        if image is None:
            found = self._read(self._paths[position])
            if isinstance(found, ImageError):
                raise found
            image = found
        return as_channels(image.astype(np.float32), self.channels)
