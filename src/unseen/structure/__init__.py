"""Known structure of the images, and which pixels count because of it.

- `die_grid`: a grid of equal dies and the lines between them
- `repetition`: the pitch at which a pattern repeats
- `folding`: an image folded at its pitch, and matched with a known tile
- `street`: the street between the dies of a tile
- `grid_model`: the grid learned from some images, and located in each
- `outlines`: outlines of a mask; what lies inside outlines or near lines
- `weights`: how much each pixel counts
"""

from __future__ import annotations

#: Where known structure comes from.
STRUCTURES = ("grid", "mask", "polylines", "field", "none")
#: Which pixels count in full.
ZONES = ("everywhere", "inside", "outside")
