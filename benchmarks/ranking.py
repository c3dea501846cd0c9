"""How good is the ranking? The loop 10 + 10 + 10 on arrays, without detector or database.

Strategies: those of the package; `mixed`, which divides each batch between criteria; and peers that
need no UNet (`ranking_peers.py`): uniqueness (by simple statistics), texture (by the statistics of
`mixed`), representativeness and k_center.

A rare class is missing from the first images. Each strategy chooses twice from the rest of the
pool; what counts is how many of the rare boxes in the pool the 30 labelled images then hold.

    python benchmarks/ranking.py --kind bare
    python benchmarks/ranking.py --data FOLDER --held-back CLASS

prints a table and one line of JSON. Pools: `--kind` generates synthetic wafers, a new pool per
seed; its rare classes come late by construction. `--data` reads a COCO folder's train split in
directory order, cuts each image into `--tiles` x `--tiles` pieces, and thins the held-back class
out: the pool holds `--rare-images` pieces with it, at random places after the initial ones (a new
draw per seed), and pieces without it. Both come from the same images: rare pieces from elsewhere in
the folder would show other boards, and be found for that.

Pixel figures are taken after the initial images, before the first label of a rare class: pixels in
a rare box against all pixels outside its enlarged box.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import ranking_peers as peers
import torch

from unseen.configs import STRATEGIES, TrainUnetConfig
from unseen.images import read_image, resize
from unseen.science import criteria, selection
from unseen.science.boxes import clean_boxes
from unseen.science.embedding import pooled_features
from unseen.science.image_metrics import (
    alpha_metric,
    entropy_metric,
    excess_metric,
    expected_counts,
    foreground_area,
    threshold_metric,
)
from unseen.science.inference import infer
from unseen.science.masks import foreground_mask
from unseen.science.quantiles import StreamingQuantiles
from unseen.science.scale import working_scale
from unseen.science.texture import stands_out, texture_features, texture_novelty
from unseen.science.unet import UNetSpec
from unseen.science.unet_training import fit_unet
from unseen.science.unseen_score import entropy
from unseen.synthetic.dataset import KINDS, RARE_CLASSES, generate

INITIAL, BUDGET, ITERATIONS = 10, 10, 2
METRICS = ("excess", "excess_995", "alpha", "threshold")
#: Strategies that need no UNet.
PEERS = ("uniqueness", "texture", "representativeness", "k_center")
MARGIN = 10.0


@dataclass(frozen=True)
class Pool:
    """Images in directory order with all labels; the rare classes are not among the first."""

    images: list[np.ndarray]  #: (h, w, C) float32 at native scale
    boxes: list[np.ndarray]  #: (N, 4) xyxy
    labels: list[list[str]]
    rare: tuple[str, ...]

    @cached_property
    def simple(self) -> np.ndarray:
        """(N, D) embeddings of the peers."""
        return peers.simple_embeddings(self.images)

    @cached_property
    def texture(self) -> np.ndarray:
        """(N,) novelty of the whole images."""
        tensors = (torch.from_numpy(i.transpose(2, 0, 1))[None] for i in self.images)
        return texture_novelty(np.concatenate([texture_features(t).numpy() for t in tensors]))

    def counts(self, chosen: list[int], classes: tuple[str, ...]) -> list[int]:
        """Boxes per class in some of the images."""
        return [sum(self.labels[i].count(name) for i in chosen) for name in classes]

    def rare_count(self, index: int) -> int:
        """Boxes of rare classes in one image."""
        return sum(label in self.rare for label in self.labels[index])


@dataclass(frozen=True)
class Scores:
    """What one UNet says about the whole pool."""

    metrics: dict[str, np.ndarray]  #: (N,) each
    embeddings: np.ndarray
    counts: np.ndarray
    classes: tuple[str, ...]
    mean_score: float
    auroc: float
    train_s: float
    score_s: float


def synthetic_pool(kind: str, seed: int, count: int) -> Pool:
    """Generated wafers; the seed is the pool's number."""
    found = list(generate(kind, count, seed=seed))
    images = [(image.pixels.astype(np.float32) / 255)[:, :, None] for image in found]
    labels = [list(image.labels) for image in found]
    return Pool(images, [i.xyxy for i in found], labels, tuple(RARE_CLASSES[kind]))


def coco_pool(
    folder: Path, held_back: str, seed: int, *, count: int, rare_images: int, tiles: int
) -> Pool:
    """Pieces of real images with one class thinned out; see the top of this file."""
    document = json.loads((folder / "train" / "labels.json").read_text())
    names = {c["id"]: c["name"] for c in document["categories"]}
    if held_back not in names.values():
        raise SystemExit(f"no class {held_back!r}; there are {', '.join(names.values())}")
    by_image: dict[int, list[dict]] = {}
    for annotation in document["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    common, rare = [], []
    for record in sorted(document["images"], key=lambda r: r["file_name"]):
        found = by_image.get(record["id"], [])
        xywh = np.asarray([a["bbox"] for a in found], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        labels = [names[a["category_id"]] for a in found]
        image = read_image(folder / "train" / "data" / record["file_name"], channels=1)
        for piece, boxes, kept in _pieces(image, xyxy, labels, tiles):
            (rare if held_back in kept else common).append((piece, boxes, kept))
        if len(common) >= count - rare_images and len(rare) >= rare_images:
            break
    rng = np.random.default_rng(seed)
    common = common[: count - rare_images]
    places = rng.choice(np.arange(INITIAL, len(common)), rare_images, replace=False)
    chosen = rng.choice(len(rare), rare_images, replace=False)
    for place, index in sorted(zip(places.tolist(), chosen.tolist(), strict=True), reverse=True):
        common.insert(place, rare[index])
    images, boxes, labels = (list(column) for column in zip(*common, strict=True))
    return Pool(images, boxes, labels, (held_back,))


def _pieces(image: np.ndarray, xyxy: np.ndarray, labels: list[str], tiles: int):
    height, width = image.shape[0] // tiles, image.shape[1] // tiles
    for row in range(tiles):
        for column in range(tiles):
            left, top = column * width, row * height
            piece = image[top : top + height, left : left + width]
            moved = xyxy - np.asarray([left, top, left, top], np.float32)
            boxes, kept, _ = clean_boxes(moved, np.asarray(labels, object), width, height)
            yield np.ascontiguousarray(piece), boxes, list(kept)


def score_pool(pool: Pool, labelled: list[int], config: TrainUnetConfig) -> Scores:
    """Train on the labelled images and score all."""
    names = tuple(sorted({label for i in labelled for label in pool.labels[i]}))
    boxes = [pool.boxes[i] for i in labelled]
    sides = [min(b[2] - b[0], b[3] - b[1]) for image in boxes for b in image]
    scale = config.working_scale or working_scale(sides, [max(i.shape) for i in pool.images])
    images = [resize(image, scale) for image in pool.images]
    spec = UNetSpec(config.mode, config.paper_loss, config.channels, names, images[0].shape[2])
    start = time.perf_counter()
    trained = fit_unet(
        [images[i] for i in labelled],
        boxes,
        [[names.index(label) for label in pool.labels[i]] for i in labelled],
        spec=spec,
        config=config,
        scale=scale,
    )
    trained_at = time.perf_counter()
    quantiles, score, columns = StreamingQuantiles(), [], []
    for image in images:
        found = infer(trained.model, torch.from_numpy(image.transpose(2, 0, 1))[None])
        maps = found.maps
        columns.append(
            (
                entropy_metric(entropy(maps))[0],
                foreground_area(maps.foreground)[0],
                expected_counts(maps.classes, maps.unseen, trained.mean_areas)[0],
                pooled_features(found.features, maps.unseen)[0],
            )
        )
        score.append(maps.unseen[0])
        quantiles.add(score[-1])
    t, high = quantiles.quantile(0.97), quantiles.quantile(0.995)
    metrics = {
        "excess_995": torch.stack([excess_metric(s[None], high)[0] for s in score]),
        "excess": torch.stack([excess_metric(s[None], t)[0] for s in score]),
        "alpha": torch.stack([alpha_metric(s[None], 2.0)[0] for s in score]),
        "threshold": torch.stack([threshold_metric(s[None], t)[0] for s in score]),
        "entropy": torch.stack([c[0] for c in columns]),
        "foreground": torch.stack([c[1] for c in columns]),
    }
    return Scores(
        metrics={name: values.numpy() for name, values in metrics.items()},
        embeddings=torch.stack([c[3] for c in columns]).numpy(),
        counts=torch.stack([c[2] for c in columns]).numpy(),
        classes=names,
        mean_score=float(np.mean([float(s.mean()) for s in score])),
        auroc=pixel_auroc(pool, [s.numpy() for s in score], scale, labelled),
        train_s=trained_at - start,
        score_s=time.perf_counter() - trained_at,
    )


def pixel_auroc(pool: Pool, score: list[np.ndarray], scale: float, labelled: list[int]) -> float:
    """The chance that a pixel of a rare object scores above one that is none; ties count half."""
    inside, outside = [], []
    for i in sorted(set(range(len(score))) - set(labelled)):
        height, width = score[i].shape
        is_rare = np.asarray([label in pool.rare for label in pool.labels[i]], bool)
        options = {"height": height, "width": width, "scale": scale}
        boxes = pool.boxes[i][is_rare]
        inside.append(score[i][foreground_mask(boxes, margin=0, **options)])
        outside.append(score[i][~foreground_mask(boxes, margin=MARGIN, **options)])
    positive, negative = np.concatenate(inside), np.sort(np.concatenate(outside))
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def choose(
    strategy: str,
    pool: Pool,
    left: np.ndarray,
    labelled: list[int],
    scores: Scores | None,
    seed: int,
) -> np.ndarray:
    """Positions in the pool of the next batch; `strategy` may be a metric's name for plain rank."""
    if scores is None:
        if strategy == "random":
            return left[selection.random(len(left), BUDGET, np.random.default_rng(seed))]
        return left[selection.sequential(len(left), BUDGET)]
    if strategy == "balanced":
        present = [sum(pool.labels[i].count(n) for i in labelled) for n in scores.classes]
        if scores.counts.shape[1] != len(present) + 1:  # the paper mode knows one foreground
            present = [sum(present)]
        return left[selection.balanced(scores.counts[left], [*present, 0], BUDGET)]
    metric = scores.metrics[strategy if strategy in scores.metrics else "excess"][left]
    if strategy == "diverse":
        near = selection.candidates(metric, BUDGET)
        order = selection.diverse(metric[near], scores.embeddings[left[near]], BUDGET)
        return left[near[order]]
    return left[selection.plain(metric, BUDGET)]


@dataclass
class Mixed:
    """The strategy `mixed`: criteria share the batch, and earn their shares by what they find."""

    tried: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    found: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def batch(
        self, pool: Pool, left: np.ndarray, labelled: list[int], scores: Scores
    ) -> np.ndarray:
        """Choose, see the labels, and remember which criterion found something rare."""
        present = pool.counts(labelled, scores.classes)
        initial = pool.counts(labelled[:INITIAL], scores.classes)
        shares = criteria.earned_shares(self.found, self.tried)
        if not criteria.is_new_and_rare(present, initial).any():
            shares[2] = 0
        metric = scores.metrics["excess_995"][left]
        near = selection.candidates(metric, BUDGET)
        spread = selection.diverse(metric[near], scores.embeddings[left[near]], BUDGET)
        new = criteria.new_class_metric(scores.counts[left, :-1], present, initial)
        beyond = selection.plain(pool.texture[left], len(left))
        orders = [
            near[spread],
            beyond[stands_out(pool.texture)[left][beyond]],
            selection.plain(new, len(left)),
        ]
        order, source = criteria.alternate(orders, shares, BUDGET)
        batch = left[order]
        # What counts as found is what was new and rare when the batch was chosen.
        classes = tuple(sorted({name for labels in pool.labels for name in labels}))
        wanted = criteria.is_new_and_rare(
            pool.counts(labelled, classes), pool.counts(labelled[:INITIAL], classes)
        )
        for image, criterion in zip(batch.tolist(), source.tolist(), strict=True):
            self.tried[criterion] += 1
            held = np.asarray(pool.counts([image], classes)) > 0
            self.found[criterion] += bool((held & wanted).any())
        return batch


def simulate(
    pool: Pool,
    strategy: str,
    seed: int,
    score: Callable[[list[int]], Scores],
) -> float:
    """Share of the pool's rare boxes that the labelled images hold at the end."""
    labelled, mixed = list(range(INITIAL)), Mixed()
    for iteration in range(ITERATIONS):
        left = np.asarray([i for i in range(len(pool.images)) if i not in labelled])
        if strategy == "mixed":
            batch = mixed.batch(pool, left, labelled, score(labelled))
        elif strategy == "k_center":
            batch = np.asarray(peers.k_center(pool.simple, labelled, BUDGET))
        elif strategy in PEERS:
            metric = {
                "uniqueness": lambda: peers.uniqueness(pool.simple),
                "representativeness": lambda: peers.representativeness(pool.simple),
                "texture": lambda: pool.texture,
            }[strategy]()
            batch = left[selection.plain(metric[left], BUDGET)]
        else:
            scores = None if strategy in ("random", "sequential") else score(labelled)
            batch = choose(strategy, pool, left, labelled, scores, seed + 1000 * iteration)
        labelled = labelled + batch.tolist()
    return sum(map(pool.rare_count, labelled)) / sum(map(pool.rare_count, range(len(pool.images))))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--kind", choices=KINDS, help="synthetic images")
    source.add_argument("--data", type=Path, help="COCO folder with train/")
    parser.add_argument("--held-back", help="the class to make rare (with --data)")
    parser.add_argument("--rare-images", type=int, default=12, help="images with it in the pool")
    parser.add_argument("--tiles", type=int, default=2, help="cut images into tiles x tiles")
    parser.add_argument("--count", type=int, default=200, help="images in the pool")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--mode", choices=("recommended", "paper"), default="recommended")
    parser.add_argument("--paper-loss", choices=("mse", "bce"), default="mse")
    parser.add_argument("--steps", type=int, help="default: 300, in the paper mode 600")
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=["mixed", "diverse", "plain", "entropy", *PEERS, "random", "sequential"],
        choices=sorted({*STRATEGIES, *METRICS, *PEERS, "mixed"}),
        help="a metric's name ranks plainly by that metric",
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.data and not arguments.held_back:
        parser.error("--data needs --held-back CLASS")
    torch.set_num_threads(arguments.threads)
    found: dict[str, list[float]] = {name: [] for name in arguments.strategies}
    first: list[Scores] = []
    for seed in arguments.seeds:
        if arguments.kind:
            pool = synthetic_pool(arguments.kind, seed, arguments.count)
        else:
            pool = coco_pool(
                arguments.data,
                arguments.held_back,
                seed,
                count=arguments.count,
                rare_images=arguments.rare_images,
                tiles=arguments.tiles,
            )
        config = TrainUnetConfig(
            mode=arguments.mode,
            paper_loss=arguments.paper_loss,
            steps=arguments.steps,
            seed=seed,
            box_margin=MARGIN,
        )
        known: dict[tuple[int, ...], Scores] = {}

        def score(labelled: list[int], pool=pool, config=config, known=known) -> Scores:
            key = tuple(sorted(labelled))
            if key not in known:
                known[key] = score_pool(pool, list(key), config)
            return known[key]

        for strategy in arguments.strategies:
            found[strategy].append(100 * simulate(pool, strategy, seed, score))
        first.append(score(list(range(INITIAL))))
        line = ", ".join(f"{name} {values[-1]:.0f} %" for name, values in found.items())
        print(
            f"seed {seed}: {line}; AUROC {first[-1].auroc:.3f}, mean S {first[-1].mean_score:.4f}, "
            f"train {first[-1].train_s:.0f} s, score {first[-1].score_s:.0f} s",
            flush=True,
        )
    report(arguments, found, first)


def report(
    arguments: argparse.Namespace, found: dict[str, list[float]], first: list[Scores]
) -> None:
    """Print the table and the JSON line."""
    name = arguments.kind or f"{arguments.data.name}, {arguments.held_back} held back"
    print(f"\n{name}, {arguments.mode} mode, {len(arguments.seeds)} seeds")
    print(f"{'strategy':<20} rare boxes found, % of the pool's")
    for strategy, values in found.items():
        print(f"{strategy:<20} {np.mean(values):5.1f} +- {np.std(values):4.1f}")
    figures = {
        "auroc": [s.auroc for s in first],
        "mean_score": [s.mean_score for s in first],
        "train_s": [s.train_s for s in first],
        "score_s": [s.score_s for s in first],
    }
    for key, values in figures.items():
        print(f"{key:<20} {np.mean(values):.4g} +- {np.std(values):.2g}")
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items()}
    print(json.dumps({"settings": settings, "found_percent": found, **figures}))


if __name__ == "__main__":
    main()
