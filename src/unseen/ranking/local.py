"""Score many files on this machine: reading, computing and finishing overlap.

Threads read ahead, the calling thread computes, further threads finish; at most a few batches are
in flight, so memory does not depend on the number of images.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from unseen.arrays.quantiles import StreamingQuantiles
from unseen.errors import ImageError
from unseen.ranking.scorer import ImageScore, RawScore, Scorer, Thresholds
from unseen.unet.inference import Inference

#: Images whose scores decide the thresholds; a larger pool is sampled evenly at random.
SAMPLE_IMAGES = 256
#: Bytes of maps held back until the thresholds are known.
SAMPLE_BYTES = 384_000_000
#: The heatmap is at full strength at this quantile of the pool's scores.
HEATMAP_QUANTILE = 0.999

#: Position in the list of paths and the map's (h, w) -> (h, w) float32 in [0, 1], what each pixel
#: counts; None = all in full.
Weights = Callable[[int, tuple[int, int]], "np.ndarray | None"]


@dataclass(frozen=True)
class Scored:
    """One file's score, or why there is none."""

    index: int  #: position in the list of paths
    score: ImageScore | None
    error: str | None = None


class LocalScoring:
    """Scores files in bounded memory.

    Attributes:
        thresholds: given, or known once the first result is out.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        quantile: float,
        region_quantile: float,
        threshold: float | None = None,
        thresholds: Thresholds | None = None,
        batch_size: int = 8,
        workers: int = 2,
        seed: int = 51,
        weights: Weights | None = None,
        observe: Callable[[int, RawScore], None] | None = None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            scorer: the model.
            quantile: of the pool's scores that becomes the metric's threshold.
            region_quantile: of the pool's scores that becomes the regions' threshold.
            threshold: the metric's threshold, instead of a quantile.
            thresholds: all of them, from an earlier run over the same pool.
            batch_size: images per forward pass.
            workers: threads that read.
            seed: of the sample that decides the thresholds.
            weights: what each pixel of an image counts; default: all in full.
            observe: told the position and the maps of each image, from several threads.
        """
        self._scorer = scorer
        self._quantile = quantile
        self._region_quantile = region_quantile
        self._threshold = threshold
        self.thresholds = thresholds
        self._batch_size = batch_size
        self._workers = workers
        self._seed = seed
        self._weights = weights
        self._observe = observe

    def score(self, paths: Sequence[str]) -> Iterator[Scored]:
        """Score every file once; unreadable ones come back with their error.

        The order of the results is not that of the paths; `Scored.index` tells.
        """
        order = np.arange(len(paths))
        if self.thresholds is None and len(paths) > SAMPLE_IMAGES:
            # The head of the list decides the thresholds, so it must be a fair sample.
            rng = np.random.default_rng(self._seed)
            head = np.sort(rng.choice(len(paths), SAMPLE_IMAGES, replace=False))
            order = np.concatenate([head, np.setdiff1d(order, head, assume_unique=True)])
        held: list[tuple[int, RawScore]] = []
        held_bytes = 0
        with ThreadPoolExecutor(self._workers) as threads:
            finishing: deque[Future[list[Scored]]] = deque()
            for batch in self._raw_scores(paths, order, threads):
                if isinstance(batch, Scored):
                    yield batch
                    continue
                if self.thresholds is None:
                    held += batch
                    held_bytes += sum(raw.score.nbytes + raw.present.nbytes for _, raw in batch)
                    if len(held) < SAMPLE_IMAGES and held_bytes < SAMPLE_BYTES:
                        continue
                    self.thresholds = self._decide(held)
                    batch, held = held, []
                for group in _groups(batch, self._batch_size):
                    finishing.append(threads.submit(self._finish, group))
                while len(finishing) > 2 * self._workers or (finishing and finishing[0].done()):
                    yield from finishing.popleft().result()
            if held:
                self.thresholds = self._decide(held)
                for group in _groups(held, self._batch_size):
                    finishing.append(threads.submit(self._finish, group))
            while finishing:
                yield from finishing.popleft().result()

    def _decide(self, held: list[tuple[int, RawScore]]) -> Thresholds:
        quantiles = StreamingQuantiles()
        for _, raw in held:
            # What does not count must not decide either.
            quantiles.add(raw.score if raw.counted is None else raw.score[raw.counted])
        metric = self._threshold
        return Thresholds(
            metric=quantiles.quantile(self._quantile) if metric is None else metric,
            region=quantiles.quantile(self._region_quantile),
            heatmap=quantiles.quantile(HEATMAP_QUANTILE),
        )

    def _finish(self, group: list[tuple[int, RawScore]]) -> list[Scored]:
        assert self.thresholds is not None
        thresholds = self.thresholds
        return [Scored(i, self._scorer.finish(raw, thresholds)) for i, raw in group]

    def _raw_scores(
        self, paths: Sequence[str], order: np.ndarray, threads: ThreadPoolExecutor
    ) -> Iterator[list[tuple[int, RawScore]] | Scored]:
        """The network runs here; what it says is reduced in a thread while the next batch runs."""
        reducing: deque[tuple[list[int], Future[list[RawScore]]]] = deque()
        for group in self._image_groups(paths, order):
            if isinstance(group, Scored):
                yield group
                continue
            indices, images = [i for i, _ in group], [image for _, image in group]
            found = self._scorer.infer(images)
            reducing.append((indices, threads.submit(self._reduce, found, indices, images)))
            if len(reducing) > 2:
                yield _together(*reducing.popleft())
        while reducing:
            yield _together(*reducing.popleft())

    def _reduce(
        self, found: Inference, indices: list[int], images: list[np.ndarray]
    ) -> list[RawScore]:
        weigh, shape = self._weights, (images[0].shape[0], images[0].shape[1])
        weights = None if weigh is None else [weigh(i, shape) for i in indices]
        raw_scores = self._scorer.reduce(found, images, weights)
        if self._observe is not None:
            for index, raw in zip(indices, raw_scores, strict=True):
                self._observe(index, raw)
        return raw_scores

    def _image_groups(
        self, paths: Sequence[str], order: np.ndarray
    ) -> Iterator[list[tuple[int, np.ndarray]] | Scored]:
        """Groups of equally large images; single failures in between."""
        waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
        for index, image in self._read_ahead(paths, order):
            if isinstance(image, ImageError):
                yield Scored(index, None, str(image))
                continue
            group = waiting.setdefault(image.shape, [])
            group.append((index, image))
            if len(group) == self._batch_size:
                yield waiting.pop(image.shape)
            elif sum(map(len, waiting.values())) >= 4 * self._batch_size:
                # Many different sizes: do not let images pile up, compute the largest group.
                shape = max(waiting, key=lambda s: len(waiting[s]))
                yield waiting.pop(shape)
        yield from waiting.values()

    def _read_ahead(
        self, paths: Sequence[str], order: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray | ImageError]]:
        def read(index: int) -> np.ndarray | ImageError:
            try:
                return self._scorer.read(paths[index])
            except ImageError as error:
                return error

        ahead = 2 * self._batch_size + self._workers
        todo = iter(int(i) for i in order)
        with ThreadPoolExecutor(self._workers) as readers:
            queue = deque((i, readers.submit(read, i)) for i in itertools.islice(todo, ahead))
            while queue:
                index, future = queue.popleft()
                yield index, future.result()
                following = next(todo, None)
                if following is not None:
                    queue.append((following, readers.submit(read, following)))


def _together(indices: list[int], scores: Future[list[RawScore]]) -> list[tuple[int, RawScore]]:
    return list(zip(indices, scores.result(), strict=True))


def _groups(items: list[tuple[int, RawScore]], size: int) -> Iterator[list[tuple[int, RawScore]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
