"""Score many files on this machine: reading, computing and finishing overlap.

Threads read ahead, the calling thread runs the network, further threads finish. At most a few
batches are in flight, so memory does not depend on the number of images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from unseen.arrays.quantiles import StreamingQuantiles
from unseen.arrays.read_ahead import MOST_BYTES, iterate_ahead, read_ahead
from unseen.arrays.threads import computing_threads, networks_at_a_time, opencv_on_one_core
from unseen.errors import ImageError
from unseen.ranking.scorer import ImageScore, PixelSums, RawScore, Scorer, Thresholds
from unseen.unet.inference import Tile

#: Images whose scores decide the thresholds; a larger pool is sampled evenly at random.
SAMPLE_IMAGES = 256
#: Bytes of maps held back until the thresholds are known.
SAMPLE_BYTES = 384_000_000
#: Pixels of a batch beyond which more images gain nothing.
LARGE = 1536 * 1536
#: The heatmap is at full strength at this quantile of the pool's scores.
HEATMAP_QUANTILE = 0.999

#: The map's (h, w) -> (h, w) float32 in [0, 1]: what each pixel counts.
Zone = Callable[[tuple[int, int]], np.ndarray]
#: Position in the list of paths -> its zone; None = all pixels count in full.
Weights = Callable[[int], Zone | None]
_Indexed = list[tuple[int, RawScore]]


@dataclass(frozen=True)
class Scored:
    """One file's score, or why there is none."""

    index: int  #: position in the list of paths
    score: ImageScore | None
    error: str | None = None


@dataclass
class _Batch:
    """Images of one size on their way through the network."""

    indices: list[int]
    shape: tuple[int, int]  #: (h, w) of each
    zones: list[np.ndarray | None]
    tiles: list[PixelSums] = field(default_factory=list)  #: in their order

    @property
    def is_complete(self) -> bool:
        """Whether the last tile is there."""
        place = self.tiles[-1].place
        ends = place.images.stop, place.rows.stop, place.columns.stop
        return ends == (len(self.indices), *self.shape)


@dataclass
class LocalScoring:
    """Scores files in bounded memory."""

    scorer: Scorer
    quantile: float  #: of the pool's scores, becomes the metric's threshold
    region_quantile: float  #: of the pool's scores, becomes the regions' threshold
    threshold: float | None = None  #: the metric's threshold, instead of a quantile
    thresholds: Thresholds | None = None  #: of an earlier run; else set before the first result
    batch_size: int = 8  #: images per forward pass
    workers: int = 2  #: threads that read, and as many that finish
    seed: int = 51  #: of the sample that decides the thresholds
    weights: Weights | None = None
    repeated = 0  #: no worker of its own dies
    #: called with the position and the maps of each image
    observe: Callable[[int, RawScore], None] | None = None

    def score(self, paths: Sequence[str], *, only_sample: bool = False) -> Iterator[Scored]:
        """Score every file once; unreadable ones come back with their error.

        The results are not in the order of the paths; see `Scored.index`. With `only_sample`, stop
        as soon as the thresholds are known, after the images that decided them.
        """
        order = np.arange(len(paths))
        if self.thresholds is None and len(paths) > SAMPLE_IMAGES:
            # The first images decide the thresholds, so they must be a fair sample.
            rng = np.random.default_rng(self.seed)
            head = np.sort(rng.choice(len(paths), SAMPLE_IMAGES, replace=False))
            order = np.concatenate([head, np.setdiff1d(order, head, assume_unique=True)])
        held: _Indexed = []
        held_bytes = 0
        finishing: deque[Future[list[Scored]]] = deque()
        with opencv_on_one_core(), computing_threads(self.workers) as pool:

            def finish(images: _Indexed) -> None:
                for start in range(0, len(images), self.batch_size):
                    group = images[start : start + self.batch_size]
                    finishing.append(pool.submit(self._finish, group))

            for batch in self._raw_scores(paths, order, pool):
                if isinstance(batch, Scored):
                    yield batch
                    continue
                if self.thresholds is None:
                    held += batch
                    held_bytes += _nbytes(batch)
                    if len(held) < SAMPLE_IMAGES and held_bytes < SAMPLE_BYTES:
                        continue
                    self.thresholds = self._decide(held)
                    batch, held = held, []
                finish(batch)
                if only_sample:
                    break
                # Large images wait for their turn one by one.
                most = 1 if _nbytes(batch) > SAMPLE_BYTES // 4 else 2 * self.workers
                while len(finishing) > most or (finishing and finishing[0].done()):
                    yield from finishing.popleft().result()
            if held:
                self.thresholds = self._decide(held)
                finish(held)
            while finishing:
                yield from finishing.popleft().result()

    def _decide(self, held: _Indexed) -> Thresholds:
        quantiles = StreamingQuantiles()
        for _, raw in held:
            # Pixels without weight must not decide either.
            quantiles.add(raw.score if raw.counted is None else raw.score[raw.counted])
        metric = quantiles.quantile(self.quantile) if self.threshold is None else self.threshold
        return Thresholds(
            metric=metric,
            region=quantiles.quantile(self.region_quantile),
            heatmap=quantiles.quantile(HEATMAP_QUANTILE),
        )

    def _finish(self, group: _Indexed) -> list[Scored]:
        assert self.thresholds is not None
        return [Scored(i, self.scorer.finish(raw, self.thresholds)) for i, raw in group]

    def _raw_scores(
        self, paths: Sequence[str], order: np.ndarray, pool: ThreadPoolExecutor
    ) -> Iterator[_Indexed | Scored]:
        """A thread prepares tiles, others run the network on them, and `pool` sums its maps."""
        networks = networks_at_a_time(self.scorer.device)
        running: deque[tuple[_Batch, Future[Future[PixelSums]]]] = deque()

        def run(batch: _Batch, tile: Tile) -> Future[PixelSums]:
            return pool.submit(self.scorer.sums, self.scorer.run(tile), batch.zones)

        def settled() -> Iterator[_Indexed]:
            batch, future = running.popleft()
            batch.tiles.append(future.result().result())
            if batch.is_complete:
                yield self._reduced(batch)

        cores = max(1, torch.get_num_threads() // networks)
        with computing_threads(networks, cores=cores) as threads:
            for item in iterate_ahead(self._prepared(paths, order), ahead=networks):
                if isinstance(item, Scored):
                    yield item
                    continue
                running.append((item[0], threads.submit(run, *item)))
                del item  # not needed while the caller is busy
                while len(running) > networks + 2:  # maps are larger than what is kept of them
                    yield from settled()
            while running:
                yield from settled()

    def _prepared(
        self, paths: Sequence[str], order: np.ndarray
    ) -> Iterator[tuple[_Batch, Tile] | Scored]:
        """What the network takes, of one batch after the other; single failures in between."""
        for group in self._image_groups(paths, order):
            if isinstance(group, Scored):
                yield group
                continue
            indices, images = [i for i, _ in group], [image for _, image in group]
            shape = images[0].shape[:2]
            zones = [self.weights and self.weights(i) for i in indices]
            batch = _Batch(indices, shape, [zone and zone(shape) for zone in zones])
            for tile in self.scorer.tiles(images):
                yield batch, tile

    def _reduced(self, batch: _Batch) -> _Indexed:
        raw_scores = self.scorer.reduce(batch.tiles, batch.zones)
        found = list(zip(batch.indices, raw_scores, strict=True))
        if self.observe is not None:
            for index, raw in found:
                self.observe(index, raw)
        return found

    def _image_groups(
        self, paths: Sequence[str], order: np.ndarray
    ) -> Iterator[list[tuple[int, np.ndarray]] | Scored]:
        """Groups of equally large images; single failures in between."""
        waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
        images = read_ahead(
            lambda index: self.scorer.read(paths[index]),
            order.tolist(),
            workers=self.workers,
            ahead=2 * self.batch_size + self.workers,
        )
        for index, image in images:
            if isinstance(image, ImageError):
                yield Scored(index, None, str(image))
                continue
            group = waiting.setdefault(image.shape, [])
            group.append((index, image))
            taken = sum(i.nbytes for images in waiting.values() for _, i in images)
            if len(group) == self.batch_size or len(group) * image[..., 0].size >= LARGE:
                yield waiting.pop(image.shape)
            elif sum(map(len, waiting.values())) >= 4 * self.batch_size or taken > MOST_BYTES:
                # Many different sizes: compute the largest group, so that images do not pile up.
                yield waiting.pop(max(waiting, key=lambda shape: len(waiting[shape])))
            del group, image
        yield from waiting.values()


def _nbytes(batch: _Indexed) -> int:
    return sum(raw.score.nbytes + raw.present.nbytes for _, raw in batch)
