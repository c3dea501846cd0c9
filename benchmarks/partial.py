"""Whole images against their unseen regions alone, at the same number of labelled boxes.

    python benchmarks/partial.py --seeds 1 --threads 1

The first ten images of a synthetic pool are labelled as a whole. A UNet trained on them ranks the
others by the excess metric and finds their regions. Then more is labelled until there are as many
boxes as the first `--images` ranked images hold:

| settings | labelled in rank order |
|---|---|
| whole | images as a whole |
| regions | the boxes that reach into the strongest regions of an image; the rest is out of scope |
| unscoped | the same boxes, with the rest taken for background |

The same small Faster R-CNN is trained on each for the same steps. "looked at" is the area beyond the
initial images that somebody had to look at, in images.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from unseen.arrays.quantiles import StreamingQuantiles
from unseen.arrays.scope import reaches_scope, scope_around, scope_mask, usual_margin
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, generate
from unseen.detector.faster_rcnn import detector_spec
from unseen.detector.metrics import match_counts
from unseen.detector.training import detect, fit_detector
from unseen.ranking.image_metrics import excess_metric
from unseen.ranking.regions import shown_regions, unseen_regions
from unseen.steps.request_annotations import RequestConfig
from unseen.steps.score_samples import ScoreConfig
from unseen.steps.train_detector import TrainDetectorConfig
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.inference import infer
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet

CPU = torch.device("cpu")
SETTINGS = ("whole", "regions", "unscoped")
INITIAL = 10


def main() -> None:
    """Measure, print a table, and end with a JSON line."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows = [row for seed in options.seeds for row in _measure(options, seed)]
    print(json.dumps({"options": vars(options), "rows": rows}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, default="bare", help="synthetic wafer")
    parser.add_argument("--pool", type=int, default=120, help="images to choose from")
    parser.add_argument("--images", type=int, default=10, help="ranked images labelled as a whole")
    parser.add_argument("--test-images", type=int, default=60)
    parser.add_argument("--steps", type=int, default=500, help="optimiser steps of the detector")
    parser.add_argument(
        "--regions", type=int, default=RequestConfig().regions_per_image, help="per image"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def _measure(options: argparse.Namespace, seed: int) -> list[dict]:
    classes = tuple(CLASSES[options.kind])
    pool = list(generate(options.kind, options.pool, seed=seed))
    test = list(generate(options.kind, options.test_images, seed=seed, split="test"))
    order, regions = _ranked(pool, seed)
    margin = usual_margin([np.asarray(image.xyxy) for image in pool[:INITIAL]])
    wanted = sum(len(pool[i].labels) for i in order[: options.images])
    rows = []
    for settings in SETTINGS:
        chosen = [(image, None) for image in pool[:INITIAL]]
        boxes = looked_at = 0
        for i in order:
            image = pool[i]
            height, width = image.pixels.shape
            near = regions[i][: options.regions]
            scope = scope_around(near, margin=margin, width=width, height=height)
            if settings == "whole" or not len(scope):
                scope = np.asarray([[0, 0, width, height]], np.float32)
            boxes += int(reaches_scope(image.xyxy, scope).sum())
            looked_at += scope_mask(scope, height=height, width=width).mean()
            chosen.append((image, scope))
            if boxes >= wanted:
                break
        rows.append(
            {
                "settings": settings,
                "seed": seed,
                "images": len(chosen),
                "boxes": boxes,
                "looked_at": round(float(looked_at), 1),
                **_detector(options, classes, chosen, test, seed, scoped=settings != "unscoped"),
            }
        )
        _print(rows[-1], header=len(rows) == 1)
    return rows


def _ranked(pool: list, seed: int) -> tuple[list[int], list[np.ndarray]]:
    """The images beyond the initial ones by excess, and the regions of all, strongest first."""
    known = tuple(sorted({label for image in pool[:INITIAL] for label in image.labels}))
    config = TrainUnetConfig(seed=seed)
    images = [image.pixels[:, :, None] / np.float32(255) for image in pool]
    trained = fit_unet(
        images[:INITIAL],
        [image.xyxy for image in pool[:INITIAL]],
        [[known.index(label) for label in image.labels] for image in pool[:INITIAL]],
        spec=UNetSpec(config.mode, config.paper_loss, config.channels, known, 1),
        config=config,
    )
    quantiles, scores, present = StreamingQuantiles(), [], []
    for image in images:
        found = infer(trained.model, torch.from_numpy(image.transpose(2, 0, 1))[None])
        scores.append(found.maps.unseen)
        present.append((found.maps.unseen + found.maps.foreground)[0].numpy())
        quantiles.add(scores[-1])
    settings = ScoreConfig()
    threshold = quantiles.quantile(settings.threshold_quantile)
    metric = np.asarray([float(excess_metric(s, threshold)[0]) for s in scores])
    above = quantiles.quantile(settings.region_quantile)
    regions = [
        shown_regions(unseen_regions(s[0].numpy(), above, present=p), settings.max_regions).xyxy
        for s, p in zip(scores, present, strict=True)
    ]
    order = INITIAL + np.argsort(-metric[INITIAL:], kind="stable")
    return order.tolist(), regions


def _detector(
    options: argparse.Namespace,
    classes: tuple[str, ...],
    chosen: list,
    test: list,
    seed: int,
    *,
    scoped: bool,
) -> dict:
    """F1 per class of a detector that was trained on what was labelled."""
    inside = [
        np.ones(len(image.labels), bool) if scope is None else reaches_scope(image.xyxy, scope)
        for image, scope in chosen
    ]
    started = time.perf_counter()
    trained = fit_detector(
        [_rgb(image) for image, _ in chosen],
        [_boxes(image)[is_in] for (image, _), is_in in zip(chosen, inside, strict=True)],
        [_labels(image, classes)[is_in] for (image, _), is_in in zip(chosen, inside, strict=True)],
        spec=detector_spec("small", classes, max(test[0].pixels.shape)),
        config=TrainDetectorConfig(steps=options.steps, seed=seed),
        device=CPU,
        scopes=[scope if scoped else None for _, scope in chosen],
    )
    counts = np.zeros((len(classes), 3), dtype=int)
    for image in test:
        (found,) = detect(trained.model, [_rgb(image)])
        counts += match_counts(
            found.xyxy,
            found.labels,
            found.scores,
            _boxes(image),
            _labels(image, classes),
            len(classes),
        )
    f1 = 2 * counts[:, 0] / np.maximum(2 * counts[:, 0] + counts[:, 1] + counts[:, 2], 1)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "mean_f1": round(float(f1.mean()), 3),
        "f1": {label: round(float(value), 3) for label, value in zip(classes, f1, strict=True)},
    }


def _rgb(image) -> np.ndarray:
    return np.repeat(image.pixels[:, :, None] / np.float32(255), 3, axis=2)


def _boxes(image) -> np.ndarray:
    return np.asarray(image.xyxy, dtype=np.float32).reshape(-1, 4)


def _labels(image, classes: tuple[str, ...]) -> np.ndarray:
    return np.asarray([classes.index(label) for label in image.labels], dtype=int)


def _print(row: dict, *, header: bool) -> None:
    if header:
        columns = "".join(f"{name[:12]:>13}" for name in row["f1"])
        print(
            f"{'settings':10}{'seed':>5}{'images':>8}{'boxes':>7}{'looked at':>11}{'mean F1':>9}{columns}"
        )
    values = "".join(f"{value:13.2f}" for value in row["f1"].values())
    print(
        f"{row['settings']:10}{row['seed']:5}{row['images']:8}{row['boxes']:7}"
        f"{row['looked_at']:11.1f}{row['mean_f1']:9.3f}{values}",
        flush=True,
    )


if __name__ == "__main__":
    main()
