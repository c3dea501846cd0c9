"""The first images to label, chosen by pretrained features of the pool."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unseen.arrays.images import ValueRange
from unseen.dataset.loop import features_folder
from unseen.errors import BudgetError
from unseen.progress import Progress
from unseen.ranking.feature_space import feature_space
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.features.image_features import blocks
from unseen.ranking.initial_images import initial_images
from unseen.steps.split_dataset import SplitConfig

#: Of a larger pool, a random sample of so many images shows the same kinds.
SAMPLE = 20_000


def typical_images(
    pool: Mapping[str, str],
    config: SplitConfig,
    progress: Progress,
    value_range: ValueRange | None,
) -> tuple[list[str], str]:
    """Choose the initial images of a pool (id -> file, in directory order).

    Returns their ids and how they were chosen. A dry run computes nothing and returns the first ids.
    Raises a BudgetError if fewer images can be read than are wanted, a CheckpointError if the
    weights of the features are damaged, and a StoreError if the stored features are.
    """
    backbone, why = find_backbone("auto")
    ids = list(pool)
    rng = np.random.default_rng(config.seed)
    size = max(SAMPLE, config.initial)
    if len(ids) > size:
        ids = [ids[i] for i in sorted(rng.choice(len(ids), size, replace=False).tolist())]
    of = "" if len(ids) == len(pool) else f" of a random {len(ids):,} images"
    how = f"typical ones of as many groups by features{of} ({why})"
    if config.dry_run:
        return ids[: config.initial], how
    features = Features(backbone, features_folder(config.model_dir), value_range=value_range)
    vectors = features.vectors([pool[i] for i in ids], progress=progress)
    readable = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    if len(readable) < config.initial:
        raise BudgetError(
            f"initial={config.initial} exceeds the {len(readable)} of {len(ids)} images that can be "
            "read; lower initial, or mend the files"
        )
    space = feature_space(vectors[readable], blocks(backbone))
    chosen = initial_images(space, config.initial, config.seed)
    return [ids[i] for i in readable[chosen]], how
