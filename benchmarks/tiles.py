"""Cut every image of a COCO folder into tiles x tiles pieces, row by row, with the boxes cut too.

    python benchmarks/tiles.py DATA/deeppcb DATA/cut/deeppcb --tiles 2

`unseen benchmark` and the other scripts take the new folder; DeepPCB was measured on its quadrants.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from shared import parser

from unseen.arrays.boxes import clean_boxes
from unseen.arrays.images import read_image
from unseen.benchmark.cases import LabelledFile, read_cases
from unseen.benchmark.config import BenchmarkConfig


def main() -> None:
    """Write both splits."""
    arguments = parser(__doc__)
    arguments.add_argument("source", help="COCO folder with train/ and test/")
    arguments.add_argument("folder", type=Path, help="new folder")
    arguments.add_argument("--tiles", type=int, default=2)
    options = arguments.parse_args()
    (case,) = read_cases([options.source], BenchmarkConfig())
    for split in ("train", "test"):
        cut(getattr(case, split), case.classes, options.folder / split, options.tiles)


def cut(
    files: tuple[LabelledFile, ...], classes: tuple[str, ...], folder: Path, tiles: int
) -> None:
    """Write the pieces of one split."""
    (folder / "data").mkdir(parents=True)
    images, annotations = [], []
    for number, file in enumerate(files):
        width, height = file.width // tiles, file.height // tiles
        pixels = (read_image(file.path) * 255).round().astype(np.uint8)
        for place in range(tiles * tiles):
            left, top = place % tiles * width, place // tiles * height
            piece = pixels[top : top + height, left : left + width]
            name = f"{number:06d}-{place:02d}.png"
            flat = piece[:, :, 0] if piece.shape[2] == 1 else piece
            Image.fromarray(flat).save(folder / "data" / name, compress_level=1)
            id_ = len(images) + 1
            images.append({"id": id_, "file_name": name, "width": width, "height": height})
            moved = file.boxes - np.asarray([left, top, left, top], np.float32)
            labels = np.asarray(file.labels, object)
            boxes, kept, _ = clean_boxes(moved, labels, width, height)
            for (x1, y1, x2, y2), label in zip(boxes.tolist(), kept, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": id_,
                        "category_id": classes.index(label) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                    }
                )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main()
