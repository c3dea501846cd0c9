"""What pretrained features say about a pool: arrays for the criteria, from stored features and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.progress import Progress, silent
from unseen.ranking.criteria.feature_space import feature_space
from unseen.ranking.criteria.new_class import prevalence, wanted_classes
from unseen.ranking.criteria.patch_classes import PatchSpace, learn_patch_classes, patch_labels
from unseen.ranking.criteria.rehearsal import Rehearsal, rehearse
from unseen.ranking.features.compute import Features
from unseen.ranking.features.image_features import blocks, patch_size

Floats = npt.NDArray[np.float64]

#: Whitening is learned from so many images of the pool, and so many patches of each.
SPACE_IMAGES, SPACE_PATCHES = 512, 64


@dataclass(frozen=True)
class KnownImage:
    """An image that is labelled, or (without boxes and classes) out for labelling.

    Attributes:
        path: of the file.
        xyxy: (N, 4) boxes, px.
        classes: (N,) int64 positions in the list of classes.
        size: width and height, px.
        scope: (M, 4) px, its labelled parts; None: all of it.
        is_labelled: whether its boxes are known.
        is_initial: whether it was labelled before the first batch.
    """

    path: str
    xyxy: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    size: tuple[int, int]
    scope: npt.NDArray[np.float32] | None = None
    is_labelled: bool = True
    is_initial: bool = False


@dataclass(frozen=True)
class FeatureEvidence:
    """What the criteria read, see `criteria.contract.Candidates`.

    Attributes:
        space: (N, D) of the pool.
        known: (L, D).
        evidence: (N, K).
        wanted: (K,).
        rehearsal: on the labelled images.
        prevalence: (K,) share of all images that seem to hold each class.
    """

    space: Floats
    known: Floats
    evidence: Floats
    wanted: Floats
    rehearsal: Rehearsal
    prevalence: Floats


def feature_evidence(
    features: Features,
    pool: Sequence[str],
    known: Sequence[KnownImage],
    class_count: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> FeatureEvidence:
    """Read the features of a pool, and what they say about its classes.

    Patches stream: no more than those of the labelled images, and a sample, are in memory. Where no
    class is wanted, those of the pool are not read.

    Args:
        features: source and store; what is missing is computed.
        pool: files to choose from.
        known: images that need not be chosen.
        class_count: K.
        seed: of the sample that whitening is learned from.
        progress: told the images whose features are computed.

    Raises:
        StoreError: the store is damaged or cannot be written.
    """
    files = [*pool, *(image.path for image in known)]
    vectors = features.vectors(files, progress=progress)
    space = feature_space(vectors, blocks(features.backbone))
    around = space[len(pool) :]
    labelled = [i for i, image in enumerate(known) if image.is_labelled]
    images = [known[i] for i in labelled]
    holds = np.zeros((len(images), class_count), dtype=bool)
    boxes, initial = np.zeros((2, class_count))
    for row, image in enumerate(images):
        counts = np.bincount(image.classes, minlength=class_count)
        holds[row] = counts > 0
        boxes += counts
        initial += counts * image.is_initial
    share = prevalence(space[: len(pool)], around[labelled], holds)
    wanted = wanted_classes(share, boxes, initial)
    whiten, patches, labels = _labelled_patches(features, files, images, seed)
    rehearsal = rehearse(around[labelled], holds, patches, labels)
    evidence = np.full((len(pool), class_count), np.nan)
    sought = np.flatnonzero(wanted)
    if len(sought) and whiten is not None:
        learned = learn_patch_classes(
            [p for p in patches if len(p)],
            [n for p, n in zip(patches, labels, strict=True) if len(p)],
        )
        sought = np.asarray([k for k in sought if learned.knows(int(k) + 1)], dtype=np.int64)
        for index, found in features.patches(pool) if len(sought) else ():
            whitened = whiten(found)
            evidence[index, sought] = [learned.evidence(whitened, int(k) + 1) for k in sought]
    return FeatureEvidence(space[: len(pool)], around, evidence, wanted, rehearsal, share)


def sampled_patches(
    features: Features, files: Sequence[str], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Patches drawn evenly from some of the files, which whitening is learned from.

    Args:
        features: source and store.
        files: their order has no say.
        rng: source of randomness.

    Returns:
        (M, D) float32; M is 0 where no file can be read.
    """
    sample = [np.zeros((0, patch_size(features.backbone)), np.float32)]
    for _, found in features.patches(rng.permutation(sorted(set(files)))[:SPACE_IMAGES].tolist()):
        flat = found.reshape(-1, found.shape[-1])
        sample.append(flat[rng.permutation(len(flat))[:SPACE_PATCHES]])
    return np.concatenate(sample)


def _labelled_patches(
    features: Features, files: Sequence[str], images: Sequence[KnownImage], seed: int
) -> tuple[PatchSpace | None, list[Floats], list[npt.NDArray[np.int64]]]:
    """The whitening, and per labelled image its whitened patches and what they show."""
    patches: list[Floats] = [np.zeros((0, 0)) for _ in images]
    labels: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64) for _ in images]
    if not images:
        return None, patches, labels
    sample = sampled_patches(features, files, np.random.default_rng([seed, 64]))
    if not len(sample):
        return None, patches, labels
    whiten = PatchSpace.of(sample)
    for row, found in features.patches([image.path for image in images]):
        image = images[row]
        patches[row] = whiten(found)
        labels[row] = patch_labels(
            image.xyxy,
            image.classes,
            grid=(found.shape[0], found.shape[1]),
            size=image.size,
            scope=image.scope,
        )
    return whiten, patches, labels
