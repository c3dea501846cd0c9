"""Training images, read once and kept in memory up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from unseen.arrays.images import Pixels, ValueRange, as_channels, as_float, read_pixels, resize
from unseen.errors import ImageError

#: Bytes of pixels kept in memory; further images are read again whenever they are needed.
MEMORY = 2_000_000_000
_WORKERS = 2


class ImageStore(Sequence[npt.NDArray[np.float32]]):
    """A sequence of (h, w, C) float32 images in [0, 1] at working scale.

    Every file is read at the start, so that unreadable ones are known before training; the sequence
    leaves them out. Memory holds 1 byte per value of an 8-bit file at full scale, else 2.

    `kept` lists the positions in `paths` of the readable images, and `failures` maps the others to
    what was wrong. `channels` is 1 if all images are grey and 3 otherwise, unless it is given.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        scale: float = 1.0,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        on_read: Callable[[int], None] | None = None,
    ) -> None:
        """Read the images, reduced by `scale`; `on_read` is told the number of files read so far.

        `value_range` is that of deep images. A file that has not its size (width, height), px, where
        `sizes` are given, is a failure: boxes would lie in the wrong place.
        """
        self._paths, self._sizes = list(paths), sizes
        self._scale, self._value_range = scale, value_range
        self._images: dict[int, Pixels] = {}
        self.failures: dict[int, str] = {}
        self.kept: list[int] = []
        is_grey, used = True, 0
        with ThreadPoolExecutor(_WORKERS) as threads:
            for i, image in enumerate(threads.map(self._read, range(len(self._paths)))):
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

    def _read(self, position: int) -> Pixels | ImageError:
        path = self._paths[position]
        try:
            pixels = read_pixels(path, value_range=self._value_range)
        except ImageError as error:
            return error
        height, width = pixels.shape[:2]
        if self._sizes is not None and self._sizes[position] != (width, height):
            return ImageError(
                f"{path}: has {width} x {height} px, and its metadata says "
                "{} x {}; run dataset.compute_metadata(overwrite=True), or save it upright without an "
                "EXIF orientation, and look whether its boxes still lie on their objects".format(
                    *self._sizes[position]
                )
            )
        return resize(pixels, self._scale)

    def __len__(self) -> int:
        return len(self.kept)

    # A Sequence also takes slices, which nobody needs here.
    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:  # type: ignore[override]  # see above
        return as_float(as_channels(self.pixels(index), self.channels))

    def pixels(self, index: int) -> Pixels:
        """The image as it is kept, (h, w, 1 or 3) uint8 or uint16 shares of the type's largest."""
        position = self.kept[index]
        image = self._images.get(position)
        if image is None:
            again = self._read(position)
            if isinstance(again, ImageError):
                raise again
            image = again
        return image
