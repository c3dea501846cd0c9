"""Small COCO folders with a story: the class `rare` appears only late."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = 64

#: Parameters of a benchmark that takes seconds.
SMALL = {
    "initial": 6,
    "budget": 4,
    "iterations": 2,
    "seeds": (0,),
    "unet_steps": 12,
    "detector": "never",
}


def write_folder(
    folder: Path, *, train: int = 30, test: int = 6, rare_from: int = 10, every: int = 4
) -> Path:
    for split, count in (("train", train), ("test", test)):
        rng = np.random.default_rng([5, len(split)])
        (folder / split / "data").mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            boxes = [(1, int(x), int(y), 8, 8) for x, y in rng.integers(2, 50, (2, 2))]
            if (i >= rare_from or split == "test") and i % every == 0:
                boxes.append((2, 20, 5 + i % 30, 24, 6))
            pixels = rng.normal(110, 6, (SIZE, SIZE))
            for kind, *box in boxes:
                x, y, w, h = box
                pixels[y : y + h, x : x + w] += 90 if kind == 1 else -70
                number = len(annotations) + 1
                annotation = {"id": number, "image_id": i + 1, "category_id": kind, "bbox": box}
                annotations.append(annotation)
            file = f"{i:03d}.png"
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / split / "data" / file)
            images.append({"id": i + 1, "file_name": file, "width": SIZE, "height": SIZE})
        categories = [{"id": 1, "name": "dot"}, {"id": 2, "name": "rare"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / "labels.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def coco_folder(tmp_path: Path):
    """A factory: `coco_folder(name, train=30, test=6, rare_from=10, every=4)` -> folder."""
    return lambda name="parts", **story: write_folder(tmp_path / name, **story)


@pytest.fixture
def small() -> dict[str, object]:
    return dict(SMALL)
