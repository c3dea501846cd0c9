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
from typing import Any

import numpy as np
import torch
from shared import grey, maps_of, numbers, parser, print_json, print_row, rgb, train_unet

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.quantiles import StreamingQuantiles
from unseen.arrays.scope import reaches_scope, scope_around, scope_mask, usual_margin
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, generate
from unseen.detector.metrics import detection_metrics
from unseen.detector.models import detector_spec
from unseen.detector.training import detect, fit_detector
from unseen.ranking.image_metrics import excess_metric
from unseen.ranking.regions import shown_regions, unseen_regions
from unseen.steps.request_annotations import RequestConfig
from unseen.steps.score_samples import ScoreConfig
from unseen.steps.train_detector import TrainDetectorConfig

SETTINGS = ("whole", "regions", "unscoped")
INITIAL = 10


def main() -> None:
    """Measure, print a table, and end with a JSON line."""
    arguments = parser(__doc__)
    arguments.add_argument("--kind", choices=KINDS, default="bare", help="synthetic images")
    arguments.add_argument("--pool", type=int, default=120, help="images to choose from")
    arguments.add_argument("--images", type=int, default=10, help="ranked images, labelled whole")
    arguments.add_argument("--test-images", type=int, default=60)
    arguments.add_argument("--steps", type=int, default=500, help="optimiser steps of the detector")
    most = RequestConfig().regions_per_image
    arguments.add_argument("--regions", type=int, default=most, help="per image")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        for row in _measure(options, seed):
            rows.append(row)
            print_row(row, rows)
    print_json(options, rows)


def _measure(options: argparse.Namespace, seed: int):
    pool = list(generate(options.kind, options.pool, seed=seed))
    test = list(generate(options.kind, options.test_images, seed=seed, split="test"))
    order, regions = _ranked(pool, seed)
    margin = usual_margin([image.xyxy for image in pool[:INITIAL]])
    wanted = sum(len(pool[i].labels) for i in order[: options.images])
    for settings in SETTINGS:
        chosen: list[tuple[Any, Any]] = [(image, None) for image in pool[:INITIAL]]
        boxes, looked_at = 0, 0.0
        for i in order:
            image = pool[i]
            height, width = image.pixels.shape
            near = regions[i][: options.regions]
            scope = scope_around(near, margin=margin, width=width, height=height)
            if settings == "whole" or not len(scope):
                scope = np.asarray([[0, 0, width, height]], np.float32)
            boxes += int(reaches_scope(image.xyxy, scope).sum())
            looked_at += float(scope_mask(scope, height=height, width=width).mean())
            chosen.append((image, scope))
            if boxes >= wanted:
                break
        yield {
            "settings": settings,
            "seed": seed,
            "images": len(chosen),
            "boxes": boxes,
            "looked at": looked_at,
            **_detector(options, chosen, test, seed, is_scoped=settings != "unscoped"),
        }


def _ranked(pool: list, seed: int) -> tuple[list[int], list[np.ndarray]]:
    """The images beyond the initial ones by excess, and the regions of all, strongest first."""
    first = pool[:INITIAL]
    model = train_unet(
        [grey(image) for image in first],
        [image.xyxy for image in first],
        [image.labels for image in first],
        seed=seed,
    )
    quantiles, scores, present = StreamingQuantiles(), [], []
    for image in pool:
        maps = maps_of(model, grey(image))
        scores.append(maps.unseen)
        present.append((maps.unseen + maps.foreground)[0].numpy())
        quantiles.add(scores[-1])
    settings = ScoreConfig()
    threshold = quantiles.quantile(settings.threshold_quantile)
    metric = np.asarray([excess_metric(s[0].numpy(), threshold) for s in scores])
    above = quantiles.quantile(settings.region_quantile)
    regions = [
        shown_regions(unseen_regions(s[0].numpy(), above, present=p), settings.max_regions).xyxy
        for s, p in zip(scores, present, strict=True)
    ]
    order = INITIAL + np.argsort(-metric[INITIAL:], kind="stable")
    return order.tolist(), regions


def _detector(options, chosen: list, test: list, seed: int, *, is_scoped: bool) -> dict[str, float]:
    """Mean F1 and F1 per class of a detector that was trained on what was labelled."""
    classes = CLASSES[options.kind]
    inside = [
        np.ones(len(image.labels), bool) if scope is None else reaches_scope(image.xyxy, scope)
        for image, scope in chosen
    ]
    known = [(image, is_in) for (image, _), is_in in zip(chosen, inside, strict=True)]
    trained = fit_detector(
        [rgb(image) for image, _ in known],
        [image.xyxy[is_in] for image, is_in in known],
        [numbers(image.labels, classes)[is_in] for image, is_in in known],
        spec=detector_spec("small", classes, max(test[0].pixels.shape)),
        config=TrainDetectorConfig(steps=options.steps, seed=seed),
        device=torch.device("cpu"),
        scopes=[scope if is_scoped else None for _, scope in chosen],
    )
    detections = [detect(trained.model, [rgb(image)], trained.spec)[0] for image in test]
    f1 = detection_metrics(
        [(xyxy_to_rel_xywh(one.xyxy, 1, 1), one.labels, one.scores) for one in detections],
        [(xyxy_to_rel_xywh(image.xyxy, 1, 1), numbers(image.labels, classes)) for image in test],
        len(classes),
    ).f1
    return {"mean F1": float(f1.mean()), **dict(zip(classes, f1.tolist(), strict=True))}


if __name__ == "__main__":
    main()
