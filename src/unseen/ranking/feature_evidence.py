"""What pretrained features say about a pool: arrays for the criteria, from features and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.progress import Progress, silent
from unseen.ranking.candidates import Candidates
from unseen.ranking.feature_space import Floats, feature_space, nearest, without_gaps
from unseen.ranking.features.compute import Features
from unseen.ranking.features.image_features import blocks, patch_size
from unseen.ranking.patch_classes import Labels, PatchSpace, learn_patch_classes, patch_labels
from unseen.ranking.rehearsal import Rehearsal, rehearse
from unseen.ranking.selection import Indices

#: Whitening is learned from this many images of the pool and this many patches of each.
SPACE_IMAGES, SPACE_PATCHES = 512, 64
#: The rarer a class, the more it is wanted: by 1 / prevalence to this power.
RARITY = 2.0


@dataclass(frozen=True)
class KnownImage:
    """An image that is labelled, or (without boxes and classes) out for labelling."""

    path: str
    xyxy: npt.NDArray[np.float32]  #: (N, 4) boxes, px
    classes: npt.NDArray[np.int64]  #: (N,) positions in the list of classes
    size: tuple[int, int]  #: width and height, px
    scope: npt.NDArray[np.float32] | None = None  #: (M, 4) px, its labelled parts; None: all of it
    is_labelled: bool = True  #: whether its boxes are known
    is_initial: bool = False  #: whether it was labelled before the first batch


@dataclass(frozen=True)
class FeatureEvidence:
    """What the criteria read, see `unseen.ranking.candidates.Candidates`."""

    space: Floats  #: (N, D) of the pool
    known: Floats  #: (L, D) of the known images
    evidence: Floats  #: (N, K)
    wanted: Floats  #: (K,)
    sought: npt.NDArray[np.bool_]  #: (K,) which classes count as a find: wanted or unlabelled ones
    rehearsal: Rehearsal  #: on the labelled images

    def candidates(
        self, metric: Floats, embed: Callable[[Indices], npt.ArrayLike], seed: int
    ) -> Candidates:
        """The pool for the criteria, together with its metric and embeddings."""
        return Candidates(metric, self.space, self.known, self.evidence, self.wanted, embed, seed)


def feature_evidence(
    features: Features,
    pool: Sequence[str],
    known: Sequence[KnownImage],
    class_count: int,
    *,
    seed: int,
    progress: Progress = silent,
) -> FeatureEvidence:
    """Read the features of a pool of files, and what they say about its K classes.

    Missing features are computed; progress counts those images, and the seed is of the sample that
    whitening is learned from. Patches stream, so that only those of the labelled images and a sample
    are in memory. If no class is wanted, the pool's patches are not read. Raises `StoreError` if
    the store is damaged or cannot be written.
    """
    files = [*pool, *(image.path for image in known)]
    # Nobody needs the vectors after this: they are twice as large as what comes of them.
    space = feature_space(features.vectors(files, progress=progress), blocks(features.backbone))
    space, around = np.split(space, [len(pool)])
    labelled = [i for i, image in enumerate(known) if image.is_labelled]
    images = [known[i] for i in labelled]
    counts = np.zeros((len(images), class_count), dtype=np.int64)
    for row, image in enumerate(images):
        counts[row] = np.bincount(image.classes, minlength=class_count)
    boxes = counts.sum(axis=0)
    initial = counts[[image.is_initial for image in images]].sum(axis=0)
    holds = counts > 0
    wanted = wanted_classes(prevalence(space, around[labelled], holds), boxes, initial)
    whiten, patches, labels = _labelled_patches(features, files, images, seed)
    rehearsal = rehearse(around[labelled], holds, patches, labels)
    evidence = np.full((len(pool), class_count), np.nan)
    if wanted.any() and whiten is not None:
        learned = learn_patch_classes(
            [p for p in patches if len(p)],
            [n for p, n in zip(patches, labels, strict=True) if len(p)],
        )
        learnable = [k for k in np.flatnonzero(wanted) if learned.knows(int(k) + 1)]
        for index, raw in features.patches(pool) if learnable else ():
            whitened = whiten(raw)
            evidence[index, learnable] = [learned.evidence(whitened, int(k) + 1) for k in learnable]
    sought = (wanted > 0) | (boxes == 0)
    return FeatureEvidence(space, around, evidence, wanted, sought, rehearsal)


def prevalence(space: Floats, known: Floats, holds: npt.NDArray[np.bool_]) -> Floats:
    """The share of all images that seem to hold each class: those whose nearest labelled image does.

    Space is (N, D) of the pool and known (L, D) of the labelled images, whose classes are in holds
    (L, K); NaN rows are left out. Returns (K,) in [0, 1].
    """
    is_described = ~np.isnan(known).any(axis=1)
    known, holds = known[is_described], holds[is_described]
    points = without_gaps(space)
    if not len(known):
        return np.zeros(holds.shape[1])
    closest, _ = nearest(points, known)
    total = holds.sum(axis=0) + holds[closest].sum(axis=0)
    return np.asarray(total / (len(points) + len(known)))


def wanted_classes(
    prevalence: Floats, labelled: npt.NDArray[np.int64], initial: npt.NDArray[np.int64]
) -> Floats:
    """How much of each class is wanted: the rarest of those that the initial images did not show.

    A class of the initial images needs no search. Of the new ones those are wanted whose prevalence
    (K,) is at most the mean over the labelled classes; the number of labelled boxes would only say
    what was searched for. `labelled` and `initial` count boxes (K,), of all labelled and of the
    initial images. Returns (K,) >= 0 that add up to 1, or all 0.
    """
    is_known = labelled > 0
    if not is_known.any():
        return np.zeros(len(prevalence))
    is_wanted = is_known & (initial == 0) & (prevalence <= prevalence[is_known].mean())
    weight = np.where(is_wanted, np.maximum(prevalence, 1e-3) ** -RARITY, 0)
    return np.asarray(weight / max(weight.sum(), 1e-30))


def sampled_patches(
    features: Features, files: Sequence[str], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """(M, D) patches drawn evenly from some of the files, in whatever order; 0 if none is readable."""
    sample = [np.zeros((0, patch_size(features.backbone)), np.float32)]
    for _, raw in features.patches(rng.permutation(sorted(set(files)))[:SPACE_IMAGES].tolist()):
        flat = raw.reshape(-1, raw.shape[-1])
        sample.append(flat[rng.permutation(len(flat))[:SPACE_PATCHES]])
    return np.concatenate(sample)


def _labelled_patches(
    features: Features, files: Sequence[str], images: Sequence[KnownImage], seed: int
) -> tuple[PatchSpace | None, list[Floats], list[Labels]]:
    """The whitening, and per labelled image its whitened patches and what they show."""
    patches: list[Floats] = [np.zeros((0, 0)) for _ in images]
    labels: list[Labels] = [np.zeros(0, dtype=np.int64) for _ in images]
    rng = np.random.default_rng([seed, 64])
    sample = sampled_patches(features, files, rng) if images else ()
    if not len(sample):
        return None, patches, labels
    whiten = PatchSpace.of(sample)
    for row, raw in features.patches([image.path for image in images]):
        image, grid = images[row], (raw.shape[0], raw.shape[1])
        patches[row] = whiten(raw)
        labels[row] = patch_labels(
            image.xyxy, image.classes, grid=grid, size=image.size, scope=image.scope
        )
    return whiten, patches, labels
