"""The strategy `mixed` on a dataset: read what decides, choose, and say what each image is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.dataset import reading, scope
from unseen.dataset.fields import REMOVED, SENT
from unseen.dataset.loop import Loop, features_folder
from unseen.loop import criteria_history as history
from unseen.progress import Progress
from unseen.ranking.criteria.contract import Candidates
from unseen.ranking.criteria.rehearsal import Rehearsal
from unseen.ranking.feature_evidence import KnownImage, feature_evidence
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features, feature_name
from unseen.ranking.mixed import CRITERIA, mixed, sought_classes
from unseen.ranking.selection import Indices
from unseen.steps.select_batch import SelectConfig


@dataclass(frozen=True)
class Mixture:
    """A batch in rank order, and what goes on record with it.

    Attributes:
        ids: of the samples.
        sources: sample id -> the criterion that it was chosen for.
        sought: classes that count as a find: new and rare ones, and those that nobody has labelled.
        known: all classes that were labelled when the batch was chosen.
        shares: criterion -> its part of the batch.
        rehearsal: what the features would have found of what is labelled.
        features: name of the features, and where they come from.
    """

    ids: list[str]
    sources: dict[str, str]
    sought: list[str]
    known: list[str]
    shares: dict[str, float]
    rehearsal: Rehearsal
    features: tuple[str, str]

    def to_record(self) -> dict[str, Any]:
        """For the record of the iteration, and for the next batch, to see what this one found."""
        return {
            "sources": self.sources,
            "sought": self.sought,
            "known": self.known,
            "shares": self.shares,
            "rehearsal": asdict(self.rehearsal),
            "features": {"name": self.features[0], "origin": self.features[1]},
            "trust": self.trust(),
        }

    def trust(self) -> str:
        """How the batch was divided and why, in a sentence or two."""
        return trust_sentence(self.shares, self.rehearsal, len(self.ids))


def trust_sentence(shares: dict[str, float], rehearsal: Rehearsal, count: int) -> str:
    """What was rehearsed, and how the batch is divided by it.

    Args:
        shares: criterion -> part of the batch.
        rehearsal: what the features would have found.
        count: images in the batch.
    """
    by_features = count * (shares["novelty"] + shares["coverage"])
    more = count * shares["new_class"]
    told = (
        "nothing could be rehearsed: too few labelled images lack a class"
        if rehearsal.novelty is None
        else f"features separate held-back classes with {rehearsal.novelty:.2f}"
    )
    if rehearsal.recognition is not None:
        told += f" and recognise one from a single image with {rehearsal.recognition:.2f}"
    parts = [
        f"{by_features:.0f} of {count} images by features",
        f"{count * shares['pixel']:.0f} by pixels",
    ]
    if more:
        parts.append(f"{more:.0f} for classes that were just found")
    return f"{told[0].upper()}{told[1:]} (AUROC, .5 is chance): {', '.join(parts)}."


def choose_mixed(
    loop: Loop,
    scored: Any,
    config: SelectConfig,
    *,
    budget: int,
    embed: Callable[[list[str]], np.ndarray],
    progress: Progress,
) -> Mixture:
    """Divide a batch between the criteria.

    Args:
        loop: the loop.
        dataset: the dataset.
        scored: view of the pool that the newest UNet scored.
        names: the loop.
        config: metric, seed, and which features.
        budget: images wanted, at most as many as the view has.
        embed: ids -> (M, D) features of their unseen pixels.
        progress: told the images whose features are computed.

    Raises:
        CheckpointError: the features that were asked for cannot be had.
        StoreError: stored features are damaged or cannot be written.
    """
    ids, paths, metric = history.pool_numbers(scored, loop.names, loop.names.metric(config.metric))
    labelled = history.labelled_boxes(loop)
    classes = sorted(labelled.counts)
    known = _known_images(loop, labelled, classes, set(ids))
    backbone, origin = find_backbone(config.features)
    features = Features(backbone, features_folder(config.model_dir))
    evidence = feature_evidence(
        features, paths, known, len(classes), seed=config.seed, progress=progress
    )

    def embeddings(positions: Indices) -> np.ndarray:
        return embed([ids[i] for i in positions])

    pool = Candidates(
        metric=metric,
        space=evidence.space,
        known=evidence.known,
        evidence=evidence.evidence,
        wanted=evidence.wanted,
        embed=embeddings,
        seed=config.seed,
    )
    found = history.found_and_tried(loop, labelled)
    batch = mixed(pool, budget, history=found, rehearsal=evidence.rehearsal)
    counts = [labelled.counts[c] for c in classes]
    sought = sought_classes(evidence.wanted, counts)
    criteria = list(CRITERIA)
    chosen = [ids[i] for i in batch.order]
    return Mixture(
        chosen,
        {i: criteria[k] for i, k in zip(chosen, batch.source, strict=True)},
        [c for c, wanted in zip(classes, sought, strict=True) if wanted],
        classes,
        batch.shares,
        evidence.rehearsal,
        (feature_name(backbone), origin),
    )


def _known_images(
    loop: Loop,
    labelled: history.LabelledBoxes,
    classes: Sequence[str],
    pool: set[str],
) -> list[KnownImage]:
    """What is labelled, and what is chosen already and waits for its labels."""
    found: list[KnownImage] = []
    if loop.dataset.get_field(loop.names.label_field) is not None:
        view = loop.whole.labelled
        images = reading.read_labels(view, loop.names.label_field, classes).images
        scopes, _ = scope.read(view, loop.names, images)
        found = [
            KnownImage(
                image.filepath,
                np.asarray(image.xyxy, np.float32).reshape(-1, 4),
                np.asarray([classes.index(n) for n in image.labels], np.int64),
                (image.width, image.height),
                scope=scopes.get(image.sample_id),
                is_initial=image.sample_id in labelled.initial,
            )
            for image in sorted(images, key=lambda image: image.filepath)
        ]
    tags = list(loop.batches().values())
    waiting = loop.dataset.match_tags(tags) if tags else loop.dataset.limit(0)
    if loop.dataset.get_field(loop.names.label_field) is not None:
        waiting = waiting.exists(loop.names.label_field, False)
    if loop.dataset.get_field(loop.names.annotation) is not None:
        out = loop.dataset.match(fo.ViewField(loop.names.annotation).is_in([SENT, REMOVED]))
        waiting = waiting.concat(out) if tags else out
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    there = dict(zip(*waiting.values(["id", "filepath"]), strict=True)) if len(waiting) else {}
    found += [
        KnownImage(path, *none, (1, 1), is_labelled=False)
        for sample_id, path in sorted(there.items(), key=lambda item: item[1])
        if sample_id not in pool and sample_id not in labelled.labels
    ]
    return found
