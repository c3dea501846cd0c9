"""Small COCO folders with a story: the class `rare` appears only late."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = 64


@pytest.fixture
def coco_folder(tmp_path: Path):
    """A factory: `coco_folder(train=30, test=6, rare_from=10, every=4)` -> folder."""

    def make(
        *, train: int = 30, test: int = 6, rare_from: int = 10, every: int = 4, name: str = "parts"
    ) -> Path:
        folder = tmp_path / name
        for split, count in (("train", train), ("test", test)):
            rng = np.random.default_rng([len(name), len(split)])
            (folder / split / "data").mkdir(parents=True)
            images, annotations = [], []
            for i in range(count):
                boxes = [(1, int(x), int(y), 8, 8) for x, y in rng.integers(2, 50, (2, 2))]
                if (i >= rare_from or split == "test") and i % every == 0:
                    boxes.append((2, 20, 5 + i % 30, 24, 6))
                pixels = rng.normal(110, 6, (SIZE, SIZE))
                for kind, x, y, w, h in boxes:
                    pixels[y : y + h, x : x + w] += 90 if kind == 1 else -70
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": i + 1,
                            "category_id": kind,
                            "bbox": [x, y, w, h],
                        }
                    )
                file = f"{i:03d}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                    folder / split / "data" / file
                )
                images.append({"id": i + 1, "file_name": file, "width": SIZE, "height": SIZE})
            document = {
                "images": images,
                "annotations": annotations,
                "categories": [{"id": 1, "name": "dot"}, {"id": 2, "name": "rare"}],
            }
            (folder / split / "labels.json").write_text(json.dumps(document))
        return folder

    return make


@pytest.fixture
def small() -> dict[str, object]:
    """Parameters of a benchmark that takes seconds."""
    return {
        "initial": 6,
        "budget": 4,
        "iterations": 2,
        "seeds": (0,),
        "unet_steps": 12,
        "detector": "never",
    }
