"""Does a ranking find rare classes sooner than others do, and is the detector better for it?

`unseen benchmark`, or `run_benchmark` in a notebook, plays the loop on fully labelled images, for many
strategies, seeds and datasets, and compares them in pairs. Nothing here writes into a user's dataset.
"""

from __future__ import annotations

from typing import Any

__all__ = ["BenchmarkConfig", "run_benchmark"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: `unseen benchmark --help` needs the parameters only.
    if name == "run_benchmark":
        from unseen.benchmark.compare import run_benchmark

        return run_benchmark
    if name == "BenchmarkConfig":
        from unseen.benchmark.config import BenchmarkConfig

        return BenchmarkConfig
    raise AttributeError(f"module 'unseen.benchmark' has no attribute {name!r}")
