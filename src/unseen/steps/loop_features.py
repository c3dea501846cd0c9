"""The pretrained features of a loop's images, for every step that looks at them."""

from __future__ import annotations

from unseen.dataset import reading
from unseen.dataset.loop import Loop, features_folder
from unseen.parameters import StepConfig
from unseen.ranking.cluster import Cluster
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features


def loop_features(
    loop: Loop, config: StepConfig, wanted: str = "auto", *, cluster: Cluster | None = None
) -> tuple[Features, str]:
    """Where the features that are `wanted` come from, and a sentence about it; see `find_backbone`.

    Raises a `CheckpointError` if they cannot be had, and a `StoreError` if the stored ones are
    damaged.
    """
    backbone, origin = find_backbone(wanted)
    features = Features(
        backbone,
        features_folder(config.model_dir),
        value_range=reading.value_range(loop.dataset),
        workers=getattr(config, "workers", 2),
        cluster=cluster,
    )
    return features, origin
