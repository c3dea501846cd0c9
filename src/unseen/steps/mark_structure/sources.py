"""Where known structure comes from: a grid in the images, a file, or a field of the dataset.

Everything that can be wrong is noticed here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fiftyone as fo
import numpy as np

from unseen.arrays.images import image_size, read_image
from unseen.dataset import reading, structure, structure_files
from unseen.dataset.structure import Label
from unseen.errors import ImageError, StructureError
from unseen.steps.mark_structure import StructureConfig
from unseen.structure.die_grid import Grid
from unseen.structure.grid_model import learn_grid, locate
from unseen.structure.outlines import mask_outlines
from unseen.structure.weights import Shapes, zone_weights

#: Most images that the grid is learned from, and the fewest if they are large.
LEARN_IMAGES, LEAST_LEARN_IMAGES = 24, 4
#: Pixels that are enough to learn from; 2048 px square images take half a second each.
LEARN_PIXELS = 8_000_000
#: A grid that fits an image worse than this is not drawn there; the image counts in full.
LEAST_FIT = 0.3
#: A mask fits an image whose aspect ratio differs by no more than this share.
_ASPECT_TOLERANCE = 0.005


class Images(NamedTuple):
    """The images of a view."""

    ids: list[str]
    paths: list[str]
    sizes: list[tuple[int, int] | None]  #: (width, height) px from the metadata


@dataclass(frozen=True)
class Source:
    """How the structure of an image is made.

    Attributes:
        draw: (sample id, path, size) -> the image's structure, None where none fits, and how well
            it fits (None unless it was searched for). May raise ImageError.
        pitch: of a grid, px.
        street: of a grid, px.
        strength: of a learned grid: its autocorrelation along x and y, in [-1, 1].
    """

    draw: Callable[[str, str, tuple[int, int]], tuple[Label | None, float | None]]
    pitch: list[float] = field(default_factory=list)
    street: list[float] = field(default_factory=list)
    strength: list[float] = field(default_factory=list)


def read_images(view: Any) -> Images:
    """The images of a view from the database; no file is opened."""
    ids, paths = view.values(["id", "filepath"])
    return Images(ids, paths, reading.sizes(view))


def find_source(dataset: Any, images: Images, config: StructureConfig) -> Source:
    """Check the parameters, read the file, learn the grid.

    Raises `StructureError` if the structure cannot be found, read or used for these images.
    """
    if config.structure == "grid":
        return _grid(images, config)
    if config.structure == "field":
        return _field(dataset, images, config)
    path = config.structure_file or ""
    if config.structure == "mask":
        mask = structure_files.read_mask(path)
        shapes, name = Shapes(outlines=mask_outlines(mask)), "mask"
        _check_aspects(images, mask.shape[1] / mask.shape[0], config)
    else:
        shapes, name = structure_files.read_polylines(path)
        _check_zone(shapes, config, path)
    label = structure.shapes_label(shapes, name)
    return Source(lambda sample_id, path, size: (label, None))


def _grid(images: Images, config: StructureConfig) -> Source:
    given = (config.pitch, config.origin, config.street)
    pitch, origin, street = ((pair[0], pair[1]) if pair else None for pair in given)
    if pitch and origin:
        grid = Grid(pitch, origin, street or (0.0, 0.0))
        _check_zone(grid, config)
        return Source(
            lambda sample_id, path, size: (structure.grid_label(grid, None, *size), None),
            list(grid.pitch),
            list(grid.street),
        )
    model = learn_grid(_learning_images(images, config.seed), pitch=pitch, street=street)
    _check_zone(Grid(model.pitch, model.offset, model.street), config)

    def search(sample_id: str, path: str, size: tuple[int, int]) -> tuple[Label | None, float]:
        grid, fit = locate(_grey(path), model)
        return (structure.grid_label(grid, fit, *size) if fit >= LEAST_FIT else None), fit

    return Source(search, list(model.pitch), list(model.street), list(model.strength))


def _learning_images(images: Images, seed: int) -> list[np.ndarray]:
    """A random sample of the images, (H, W) each, without the unreadable ones."""
    read: list[np.ndarray] = []
    for index in np.random.default_rng(seed).permutation(len(images.paths)):
        try:
            read.append(_grey(images.paths[index]))
        except ImageError:
            continue
        is_enough = sum(image.size for image in read) >= LEARN_PIXELS
        if len(read) == LEARN_IMAGES or (is_enough and len(read) >= LEAST_LEARN_IMAGES):
            break
    if not read:
        raise StructureError("none of the images can be read; run screen_images to see why")
    return read


def _grey(path: str) -> np.ndarray:
    return read_image(path, channels=1)[:, :, 0]


def _check_aspects(images: Images, expected: float, config: StructureConfig) -> None:
    """A mask made for other proportions would be drawn in the wrong place."""
    wrong = []
    for path, known in zip(images.paths, images.sizes, strict=True):
        try:
            width, height = known or image_size(path)
        except ImageError:
            continue
        if abs(width / height / expected - 1) > _ASPECT_TOLERANCE:
            wrong.append(f"{path} ({width} x {height} px)")
    if wrong:
        raise StructureError(
            f"{len(wrong)} of {len(images.paths)} images have other proportions than the mask "
            f"{config.structure_file} ({expected:.3f} : 1), such as {wrong[0]}; make one mask per "
            "image size, and mark a view of each"
        )


def _field(dataset: Any, images: Images, config: StructureConfig) -> Source:
    name = config.structure_field or ""
    known = dataset.get_field_schema(embedded_doc_type=fo.Polylines)
    if name not in known:
        raise StructureError(
            f"structure_field={name!r} is no field of polylines of dataset {dataset.name!r}; "
            f"there are: {', '.join(sorted(known)) or 'none'}"
        )
    labels = structure.read_labels(dataset, name, images.ids)
    usable = {}
    for sample_id, path in zip(images.ids, images.paths, strict=True):
        shapes = structure.to_structure(labels.get(sample_id))
        if shapes is not None:
            _check_zone(shapes, config, path)
            usable[sample_id] = labels[sample_id]
    if not usable:
        raise StructureError(
            f"no image has polylines in {name!r}; draw or import them, or widen the view"
        )
    return Source(lambda sample_id, path, size: (usable.get(sample_id), None))


def _check_zone(structure: Grid | Shapes, config: StructureConfig, where: str = "") -> None:
    if isinstance(structure, Grid):  # dies that touch have no outside: `zone_weights` says so
        pitch = structure.pitch
        zone_weights(structure, *pitch, (1, 1), zone=config.zone, margin=config.margin, weight=0)
    elif config.zone != "everywhere" and not structure.outlines:
        raise StructureError(
            f"{where}: zone={config.zone!r} needs closed polylines, and all are open; close them, "
            "or use zone='everywhere' with a margin"
        )
