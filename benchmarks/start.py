"""What the first images show: the first in the directory, random ones, or typical ones by features.

    python benchmarks/start.py DATA/steel --held-back crazing inclusion patches --rare-images 20
    python benchmarks/start.py DATA/cut/deeppcb --held-back pin-hole --pool 200

Looked at are the pools of `unseen benchmark`, in which the class that is held back lies behind the first
ten images. "classes": classes with a box in the first `--count` images; "rare": boxes of the class that
is held back; "found": how often there is any. Random is the mean over `--draws` draws, coverage over as
many seeds of its k-means.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from shared import parser

from unseen.benchmark.cases import generated, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.pools import Pool, make_pool
from unseen.ranking.feature_space import feature_space
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.features.image_features import blocks
from unseen.ranking.initial_images import initial_images


def main() -> None:
    """Print one row per case."""
    arguments = parser(__doc__)
    arguments.add_argument("data", nargs="+", help="COCO folders, or synthetic:bare and so on")
    arguments.add_argument("--held-back", nargs="*", default=[])
    arguments.add_argument("--rare-images", type=int, default=BenchmarkConfig().rare_images)
    arguments.add_argument("--pool", type=int)
    arguments.add_argument("--count", type=int, default=10)
    arguments.add_argument("--draws", type=int, default=20)
    arguments.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    arguments.add_argument("--folder", type=Path, help="keeps images and features")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    names = ("rare_images", "pool")
    config = BenchmarkConfig(
        held_back=tuple(options.held_back), **{name: getattr(options, name) for name in names}
    )
    backbone, why = find_backbone("auto")
    print(f"Features: {why}\n")
    print("| case | directory: classes, rare, found | random | coverage |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        features = Features(backbone, folder / "features")
        for case in read_cases(options.data, config):
            figures = defaultdict(list)
            for seed in options.seeds:
                pool = make_pool(generated(case, config, seed, folder), config, seed)
                vectors = features.vectors([file.path for file in pool.files])
                space = feature_space(vectors, blocks(backbone))
                figures["directory"].append(shown(pool, range(options.count)))
                for draw in range(options.draws):
                    drawn = np.random.default_rng([seed, draw]).permutation(len(pool.files))
                    figures["random"].append(shown(pool, drawn[: options.count]))
                    typical = initial_images(space, options.count, draw)
                    figures["coverage"].append(shown(pool, typical))
            cells = [
                "{:.1f}, {:.1f}, {:.0%}".format(*np.mean(figures[how], axis=0))
                for how in ("directory", "random", "coverage")
            ]
            print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


def shown(pool: Pool, chosen) -> tuple[int, int, bool]:
    """Classes with a box, boxes of rare classes, and whether there are any."""
    counts = pool.counts([int(i) for i in chosen])
    rare = sum(counts[name] for name in pool.rare)
    return sum(n > 0 for n in counts.values()), rare, rare > 0


if __name__ == "__main__":
    main()
