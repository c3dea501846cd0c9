"""What the measuring scripts share: arguments, tables, synthetic images, a UNet on a few of them."""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def parser(text: str | None) -> argparse.ArgumentParser:
    """A parser that shows the docstring of its script as it is."""
    return argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def print_json(options: argparse.Namespace, rows: Any) -> None:
    """The last line of every script: what was asked for, and everything measured."""
    print(json.dumps({"options": vars(options), "rows": rows}, default=str))


def print_row(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """One line of a table; the first of `rows` puts the names of the columns above it."""
    widths = {name: max(len(name), 11) + 1 for name in row}
    if row is rows[0]:
        print("".join(f"{name:>{width}}" for name, width in widths.items()))
    texts = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
    print("".join(f"{t:>{w}}" for t, w in zip(texts, widths.values(), strict=True)), flush=True)


class Clock:
    """Seconds since it was made, or since it was last read."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Read the clock and start it again."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds


def peak_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_images(folder: Path, count: int, *, kind: str, size: int, different: int) -> list[Any]:
    """Write `count` files 000000.png, ...; after `different` generated ones come copies of them.

    Returns the generated images.
    """
    from PIL import Image

    from unseen.benchmark.synthetic.dataset import generate

    images = list(generate(kind, min(count, different), seed=7, size=size))
    paths = [folder / f"{i:06d}.png" for i in range(count)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image.pixels).save(path)
    for i in range(len(images), count):
        paths[i].write_bytes(paths[i % len(images)].read_bytes())
    return images


def grey(image: Any) -> np.ndarray:
    """(H, W, 1) float32 in [0, 1] of a generated image."""
    return image.pixels[:, :, None] / np.float32(255)


def rgb(image: Any) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1] of a generated image."""
    return np.repeat(grey(image), 3, axis=2)


def numbers(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(N,) positions of labels in `classes`."""
    return np.asarray([classes.index(label) for label in labels], dtype=int)


def train_unet(images: Any, boxes: list[Any], labels: list[Any], **settings: Any) -> Any:
    """The model of `fitted_unet`."""
    return fitted_unet(images, boxes, labels, **settings).model


def fitted_unet(
    images: Any, boxes: list[Any], labels: list[Any], *, scale: float = 1.0, **settings: Any
) -> Any:
    """A UNet trained on images with their boxes (N, 4) and labels, as `train_unet` does."""
    from unseen.steps.train_unet import TrainUnetConfig
    from unseen.unet.network import UNetSpec
    from unseen.unet.training import fit_unet

    config = TrainUnetConfig(**settings)
    known = tuple(sorted({label for of_image in labels for label in of_image}))
    channels = images[0].shape[2]
    return fit_unet(
        images,
        boxes,
        [numbers(of_image, known) for of_image in labels],
        spec=UNetSpec(config.mode, config.paper_loss, config.channels, known, channels),
        config=config,
        scale=scale,
    )


def maps_of(model: Any, image: np.ndarray) -> Any:
    """The probability maps of one (H, W, C) image."""
    import torch

    from unseen.unet.inference import infer

    return infer(model, torch.from_numpy(image.transpose(2, 0, 1).copy())[None]).maps


def fake_scores(size: int, mark: str, count: int = 512) -> list[dict[str, Any]]:
    """Scores as `score_samples` stores them: numbers, a vector, blobs on a heatmap, regions."""
    from unseen.ranking import METRICS

    rng = np.random.default_rng(0)
    scores = []
    for _ in range(count):
        heat = np.zeros((size, size), dtype=np.uint8)
        regions = []
        for _ in range(int(rng.integers(3, 20))):
            x, y = rng.integers(0, size - 8, 2)
            w, h = rng.integers(3, 8, 2)
            heat[y : y + h, x : x + w] = rng.integers(13, 255, (h, w))
            regions.append((x / size, y / size, w / size, h / size, float(rng.random())))
        names = (*METRICS, "entropy", "foreground", "texture")
        score = {
            **{name: float(rng.gamma(2)) for name in names},
            "model": mark,
            "expected_counts": rng.gamma(1, size=4).tolist(),
            "embedding": rng.normal(size=128).astype(np.float32),
            "heatmap": heat,
            "regions": regions,
        }
        scores.append(score)
    return scores


def save_fake_scores(
    loop: Any, ids: Sequence[str], scores: list[Any], changes: dict[str, np.ndarray]
) -> None:
    """Write scores, which repeat, with some numbers changed per sample (name -> (N,))."""
    from unseen.dataset import writing

    for begin in range(0, len(ids), 256):
        chunk = {}
        for i in range(begin, min(begin + 256, len(ids))):
            own = {name: float(values[i]) for name, values in changes.items()}
            chunk[ids[i]] = {**scores[i % len(scores)], **own}
        writing.save_scores(loop, chunk)
