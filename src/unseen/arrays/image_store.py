"""Training images, read once and kept in memory up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from unseen.arrays.images import as_channels, read_image, resize
from unseen.errors import ImageError

#: Bytes of pixels kept in memory; further images are read again whenever they are needed.
MEMORY = 2_000_000_000
_WORKERS = 2


class ImageStore(Sequence[np.ndarray]):
    """A sequence of (h, w, C) float32 images in [0, 1] at working scale.

    Every file is read at the start, so that unreadable ones are known before training; the sequence
    leaves them out. Pixels are kept as float16: 11 bits, more than an 8-bit file holds.

    `kept` lists the positions in `paths` of the readable images, and `failures` maps the others to
    what was wrong. `channels` is 1 if all images are grey and 3 otherwise, unless it is given.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        scale: float = 1.0,
        channels: int | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Read the images, reduced by `scale`; `on_read` is told the number of files read so far."""
        self._paths, self._scale = list(paths), scale
        self._images: dict[int, np.ndarray] = {}
        self.failures: dict[int, str] = {}
        self.kept: list[int] = []
        is_grey, used = True, 0
        with ThreadPoolExecutor(_WORKERS) as threads:
            for i, image in enumerate(threads.map(self._read, self._paths)):
                if isinstance(image, ImageError):
                    self.failures[i] = str(image)
                else:
                    self.kept.append(i)
                    is_grey = is_grey and image.shape[2] == 1
                    if used + image.nbytes <= MEMORY:
                        self._images[i] = image
                        used += image.nbytes
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

    # A Sequence also takes slices, which nobody needs here.
    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        position = self.kept[index]
        image = self._images.get(position)
        if image is None:
            again = self._read(self._paths[position])
            if isinstance(again, ImageError):
                raise again
            image = again
        return as_channels(image.astype(np.float32), self.channels)
