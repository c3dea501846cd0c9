"""What the first images show: the first in the directory, random ones, or typical ones by features.

    python benchmarks/start.py DATA/steel --held-back crazing inclusion patches --rare-images 20
    python benchmarks/start.py DATA/deeppcb --held-back pin-hole --tiles 2 --pool 200

Looked at are the pools of `unseen benchmark`, in which the class that is held back lies behind the first
ten images. "classes": classes with a box in the first `--count` images; "rare": boxes of the class that
is held back; "found": how often there is any. Random is the mean over `--draws` draws, coverage over as
many seeds of its k-means.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from unseen.benchmark.cases import read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.pools import Pool, make_pool
from unseen.ranking.feature_space import feature_space
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.features.image_features import blocks
from unseen.ranking.initial_images import initial_images


def main() -> None:
    """Print one row per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="COCO folders, or synthetic:bare and so on")
    parser.add_argument("--held-back", nargs="*", default=[])
    parser.add_argument("--rare-images", type=int, default=BenchmarkConfig().rare_images)
    parser.add_argument("--tiles", type=int, default=1)
    parser.add_argument("--pool", type=int)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, help="of images cut into tiles and of features")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = BenchmarkConfig(
        held_back=tuple(args.held_back),
        rare_images=args.rare_images,
        tiles=args.tiles,
        pool=args.pool,
        strategies=("random", "sequential"),
    )
    backbone, why = find_backbone("auto")
    print(f"Features: {why}\n")
    print("| case | directory: classes, rare, found | random | coverage |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        features = Features(backbone, folder / "features")
        for case in read_cases(args.data, config, folder, lambda *_: None):
            figures = defaultdict(list)
            for seed in args.seeds:
                pool = make_pool(case, config, seed)
                vectors = features.vectors([file.path for file in pool.files])
                space = feature_space(vectors, blocks(backbone))
                for draw in range(args.draws):
                    rng = np.random.default_rng([seed, draw])
                    chosen = rng.permutation(len(pool.files))[: args.count].tolist()
                    figures["random"].append(shown(pool, chosen))
                    chosen = initial_images(space, args.count, draw).tolist()
                    figures["coverage"].append(shown(pool, chosen))
                figures["directory"].append(shown(pool, list(range(args.count))))
            cells = [
                "{:.1f}, {:.1f}, {:.0%}".format(*np.mean(figures[how], axis=0))
                for how in ("directory", "random", "coverage")
            ]
            print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


def shown(pool: Pool, chosen: list[int]) -> tuple[int, int, bool]:
    """Classes with a box, boxes of rare classes, and whether there are any."""
    counts = pool.counts(chosen)
    rare = sum(counts[name] for name in pool.rare)
    return sum(n > 0 for n in counts.values()), rare, rare > 0


if __name__ == "__main__":
    main()
