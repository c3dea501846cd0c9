"""The density of a pool's objects on disk, beside the checkpoint of the UNet that found them.

What is unlikely must stay so when an interrupted run goes on, or new images come.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unseen.checkpoints import load_checkpoint, save_checkpoint
from unseen.errors import CheckpointError
from unseen.science.object_novelty import UsualObjects


def save_density(
    folder: str | Path, stem: str, usual: UsualObjects, description: Mapping[str, Any]
) -> tuple[Path, str]:
    """Write it under a name of its own; the path and the SHA-256."""
    tensors = {name: torch.from_numpy(np.array(v)) for name, v in usual._asdict().items()}
    return save_checkpoint(folder, stem, tensors, {**description, "kind": "objects"})


def load_density(path: str | Path, digest: str | None = None) -> UsualObjects:
    """Read it.

    Raises:
        CheckpointError: the file is missing, damaged, or another.
    """
    tensors, _ = load_checkpoint(path, kind="objects", digest=digest)
    try:
        return UsualObjects(**{name: tensor.numpy() for name, tensor in tensors.items()})
    except TypeError as error:
        raise CheckpointError(
            f"{path}: not the density of objects ({error}); score again"
        ) from error
