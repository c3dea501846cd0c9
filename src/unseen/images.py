"""Image files as arrays, for scripts: `read_image` and `image_size`."""

from unseen.arrays.images import image_size, read_image

__all__ = ["image_size", "read_image"]
