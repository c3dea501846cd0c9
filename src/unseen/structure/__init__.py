"""Known structure of the images: die grids, masks, lines, and what of it counts."""

from __future__ import annotations

#: Where known structure of the images comes from, and which part of the image then counts.
STRUCTURES = ("grid", "mask", "polylines", "field", "none")


ZONES = ("everywhere", "inside", "outside")
