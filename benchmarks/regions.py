"""Which of the regions that an annotator is shown hold something, and which rare objects they show.

    python benchmarks/regions.py DATA/steel --held-back scratches patches --rare-images 20
    python benchmarks/regions.py synthetic:bare synthetic:device --seeds 0 1

A UNet is trained on the initial images of a benchmark's pool and scores the others. Looked at are the
first `--images` of them by the excess metric, which are the first batches. A region hits an object if
its centre lies in the object's box enlarged by the margin of the training (10 px), or if their IoU is
above .1. Three settings:

| settings | regions |
|---|---|
| twenty | pixels above the 99.5 % quantile of S; the twenty of the highest score |
| five | the same, five |
| shown | those of `score_samples` with its defaults |

"hit": share of the regions that hit an object of any class; "chance": the same for regions of the same
sizes at random places, which in images full of labels is most of it; "rare hit": share that hits the rare
class; "rare": share of the rare class's objects that are hit, in these images; "rare, all": in every image
of the pool that holds some; "top": share of the hundred best regions of the whole pool, at most five of an
image, that hit an object (`rank_regions`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from shared import maps_of, parser, print_json, print_row, train_unet

from unseen.arrays.boxes import iou
from unseen.arrays.image_store import ImageStore
from unseen.arrays.images import read_image, resize
from unseen.arrays.quantiles import StreamingQuantiles
from unseen.arrays.scale import working_scale
from unseen.benchmark.cases import generated, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.pools import Pool, make_pool
from unseen.ranking.image_metrics import excess_metric
from unseen.ranking.regions import shown_regions, unseen_regions
from unseen.steps.score_samples import ScoreConfig
from unseen.steps.train_unet import TrainUnetConfig

#: Quantile of S above which pixels form the regions of the first two settings.
BEFORE = 0.995
#: Draws of random places.
DRAWS = 5
#: Regions that overlap more than this hit.
IOU = 0.1
#: Regions that are ranked over the whole pool, and how many of one image at most.
RANKED, OF_ONE = 100, 5


class Scored(NamedTuple):
    """One image of the pool at working scale."""

    score: np.ndarray  #: (h, w) float16
    present: np.ndarray  #: (h, w) float16
    boxes: np.ndarray  #: (N, 4) px
    is_rare: np.ndarray  #: (N,) bool


#: An image -> its regions (N, 4) and what ranks them (N,).
Finding = Callable[[Scored], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Measure, print a table, and end with a JSON line."""
    options = _options()
    torch.set_num_threads(options.threads)
    names = ("rare_images", "pool", "initial", "initial_order")
    config = BenchmarkConfig(
        held_back=tuple(options.held_back), **{name: getattr(options, name) for name in names}
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.work or temporary)
        for case in read_cases(options.sources, config):
            for seed in options.seeds:
                pool = make_pool(generated(case, config, seed, folder), config, seed)
                scale, images = _scored(pool, seed)
                for settings, regions in _settings(images).items():
                    row = {"case": f"{case.name:>24}", "seed": seed, "settings": settings}
                    rows.append({**row, **_measure(images, regions, options.images, seed, scale)})
                    print_row(rows[-1], rows)
    print_json(options, rows)


def _options() -> argparse.Namespace:
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("sources", nargs="+", help="COCO folders, or synthetic:KIND")
    add("--held-back", nargs="+", default=[], help="classes made rare, one by one")
    add("--rare-images", type=int, default=12, help="images that hold that class")
    add("--pool", type=int, help="images in the pool; default: all")
    add("--initial", type=int, default=10, help="labelled images")
    add("--initial-order", choices=("directory", "random"), default="directory", help="which")
    add("--images", type=int, default=20, help="ranked images that are looked at")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--threads", type=int, default=torch.get_num_threads())
    add("--work", help="folder that keeps generated images")
    return arguments.parse_args()


def _scored(pool: Pool, seed: int) -> tuple[float, list[Scored]]:
    """The working scale, and what the UNet says about all but the initial images."""
    start = [pool.files[i] for i in pool.start]
    sides = [min(x2 - x1, y2 - y1) for file in start for x1, y1, x2, y2 in file.xyxy]
    scale = working_scale(sides, [max(file.width, file.height) for file in start])
    store = ImageStore([file.path for file in start], scale=scale)
    boxes, labels = [file.boxes for file in start], [file.labels for file in start]
    model = train_unet(store, boxes, labels, scale=scale, seed=seed)
    images = []
    for i in sorted(set(range(len(pool.files))) - set(pool.start)):
        file = pool.files[i]
        maps = maps_of(model, resize(read_image(file.path, channels=store.channels), scale))
        images.append(
            Scored(
                maps.unseen[0].half().numpy(),
                (maps.unseen + maps.foreground)[0].half().numpy(),
                file.boxes * np.float32(scale),
                np.asarray([label in pool.rare for label in file.labels], bool),
            )
        )
    return scale, images


def _settings(images: list[Scored]) -> dict[str, Finding]:
    """How the regions of an image are made."""
    config = ScoreConfig()
    quantiles = StreamingQuantiles()
    for image in images:
        quantiles.add(image.score)
    before, now = quantiles.quantile(BEFORE), quantiles.quantile(config.region_quantile)

    def first(image: Scored, most: int) -> tuple[np.ndarray, np.ndarray]:
        regions = unseen_regions(image.score.astype(np.float32), before)
        return regions.xyxy[:most], regions.score[:most]

    def shown(image: Scored) -> tuple[np.ndarray, np.ndarray]:
        score, present = (values.astype(np.float32) for values in (image.score, image.present))
        regions = unseen_regions(score, now, present=present)
        regions = shown_regions(regions, config.max_regions)
        return regions.xyxy, regions.confidence

    return {
        "twenty": lambda image: first(image, 20),
        "five": lambda image: first(image, 5),
        "shown": shown,
    }


def _measure(images: list[Scored], regions: Finding, most: int, seed: int, scale: float) -> dict:
    quantiles = StreamingQuantiles()
    for image in images:
        quantiles.add(image.score)
    threshold = quantiles.quantile(ScoreConfig().threshold_quantile)
    excess = np.asarray([excess_metric(image.score, threshold) for image in images])
    best = [images[i] for i in np.argsort(-excess, kind="stable")[:most]]
    margin = TrainUnetConfig().box_margin * scale
    rng = np.random.default_rng(seed)
    shown, hit, chance, rare_hit = 0, 0, 0.0, 0
    for image in best:
        xyxy, _ = regions(image)
        hits = _hits(xyxy, image.boxes, margin)
        shown += len(xyxy)
        hit += int(hits.any(axis=1).sum())
        rare_hit += int(hits[:, image.is_rare].any(axis=1).sum())
        for _ in range(DRAWS):
            moved = _elsewhere(xyxy, image.score.shape, rng)
            chance += float(_hits(moved, image.boxes, margin).any(axis=1).sum()) / DRAWS
    return {
        "shown": shown,
        "hit": hit / max(1, shown),
        "chance": chance / max(1, shown),
        "rare hit": rare_hit / max(1, shown),
        **_rare_found("rare", best, regions, margin),
        **_rare_found("rare, all", images, regions, margin),
        "top": _top(images, regions, margin),
    }


def _top(images: list[Scored], regions: Finding, margin: float) -> float:
    """Share of the best regions of the pool that hit an object."""
    strengths, hits = [np.zeros(0)], [np.zeros(0, bool)]
    for image in images:
        xyxy, strength = (values[:OF_ONE] for values in regions(image))
        strengths.append(strength)
        hits.append(_hits(xyxy, image.boxes, margin).any(axis=1))
    best = np.argsort(-np.concatenate(strengths), kind="stable")[:RANKED]
    return float(np.concatenate(hits)[best].mean()) if len(best) else 0.0


def _rare_found(name: str, images: list[Scored], regions: Finding, margin: float) -> dict:
    """Share of the rare class's objects that are hit (None without any), and their number."""
    hit = [
        _hits(regions(image)[0], image.boxes[image.is_rare], margin).any(axis=0)
        for image in images
        if image.is_rare.any()
    ]
    objects = np.concatenate([np.zeros(0, bool), *hit])
    return {name: float(objects.mean()) if len(objects) else None, f"of {name}": len(objects)}


def _hits(regions: np.ndarray, boxes: np.ndarray, margin: float) -> np.ndarray:
    """(N, M) bool: region i hits object k."""
    centre = (regions[:, None, :2] + regions[:, None, 2:]) / 2
    near = (centre > boxes[:, :2] - margin) & (centre < boxes[:, 2:] + margin)
    return near.all(axis=2) | (iou(regions, boxes) > IOU)


def _elsewhere(xyxy: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Boxes of the same sizes at random places of the image."""
    size = xyxy[:, 2:] - xyxy[:, :2]
    corner = rng.random(size.shape) * (np.asarray([shape[1], shape[0]]) - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


if __name__ == "__main__":
    main()
