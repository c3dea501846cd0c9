"""What a GPU gives: scoring against the network alone, seconds per training step, memory.

    python benchmarks/gpu.py --images 2000 --seconds 400
    python benchmarks/gpu.py --device cpu --images 60 --steps 5   # a trial without a GPU

Four parts, one line of JSON each, the quickest first, until `--seconds` are over: the network alone
(bf16 and channels-last, then compiled), scoring end to end with the database, UNet training, and
the detectors. `python -m pytest -m gpu` runs the tests that need a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoring import bare_forward, make_dataset
from shared import Clock, parser, print_json

from unseen.dataset.throwaway import ThrowawayDatabase


def peak_mb(device: str) -> float | None:
    """Peak memory of the GPU since the last call, MB; None on a CPU."""
    import torch

    if not device.startswith("cuda"):
        return None
    peak = torch.cuda.max_memory_allocated() / 1e6
    torch.cuda.reset_peak_memory_stats()
    return round(peak, 1)


def network(options: argparse.Namespace, dataset: Any) -> dict[str, Any]:
    """Images per second of the forward pass alone, as it is and compiled."""
    import torch

    import unseen
    from unseen.ranking.scorer import Scorer
    from unseen.steps.score_samples import ScoreConfig

    trained = unseen.train_unet(dataset, steps=options.steps, device=options.device)
    config = ScoreConfig(device=options.device, batch_size=options.batch_size)
    scorer = Scorer(trained.checkpoint, config)
    row = {"bare": bare_forward(scorer, options.images, options.batch_size)}
    row["peak_mb"] = peak_mb(options.device)
    if not isinstance(scorer._model, torch.nn.Module):
        return row  # on a CPU the network is folded already
    scorer._model = torch.compile(scorer._model)
    clock = Clock()
    bare_forward(scorer, options.batch_size, options.batch_size)
    row["compile_s"] = clock.lap()
    row["compiled"] = bare_forward(scorer, options.images, options.batch_size)
    return row


def scoring(options: argparse.Namespace, dataset: Any) -> dict[str, Any]:
    """Images per second from files to the database."""
    import unseen

    settings = {"device": options.device, "batch_size": options.batch_size, "embeddings": False}
    unseen.score_samples(dataset[:64], **settings)
    peak_mb(options.device)
    result = unseen.score_samples(dataset, rescore=True, workers=options.workers, **settings)
    return {"images_per_s": result.scored / result.seconds, "peak_mb": peak_mb(options.device)}


def unet_training(options: argparse.Namespace, dataset: Any) -> dict[str, Any]:
    """Seconds per step of the UNet, with the default batch and crop."""
    import unseen

    few, many = (
        unseen.train_unet(dataset, steps=steps, device=options.device).seconds
        for steps in (options.steps, 3 * options.steps)
    )
    return {"s_per_step": (many - few) / (2 * options.steps), "peak_mb": peak_mb(options.device)}


def detectors(options: argparse.Namespace, dataset: Any) -> dict[str, Any]:
    """Seconds per step of each detector; what reading and loading cost is subtracted."""
    import unseen

    row: dict[str, Any] = {}
    for architecture in options.architectures:
        few, many = (
            unseen.train_detector(
                dataset, architecture=architecture, steps=steps, device=options.device
            ).seconds
            for steps in (options.steps, 3 * options.steps)
        )
        row[architecture] = {
            "s_per_step": (many - few) / (2 * options.steps),
            "peak_mb": peak_mb(options.device),
        }
    return row


def main() -> None:
    """Run the parts in turn."""
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--images", type=int, default=2000)
    arguments.add_argument("--batch-size", type=int, default=32)
    arguments.add_argument("--workers", type=int, default=12, help="threads that read")
    arguments.add_argument("--steps", type=int, default=50)
    arguments.add_argument("--architectures", nargs="+", default=["small", "lite0", "resnet50"])
    arguments.add_argument("--seconds", type=float, default=400, help="start no part after them")
    options = arguments.parse_args()
    parts: list[Callable[..., dict[str, Any]]] = [network, scoring, unet_training, detectors]
    with ThrowawayDatabase(), tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(options.images, Path(folder), "bare")
        clock, used = Clock(), 0.0
        for part in parts:
            if used < options.seconds:
                print_json(options, {part.__name__: part(options, dataset)})
            used += clock.lap()


if __name__ == "__main__":
    main()
