"""Score many files on the machines of a Ray cluster; the numbers are those of one process.

The images that decide the thresholds are scored here. The rest goes to workers, each with a UNet of
its own. They need to see the image files under the same paths, and neither FiftyOne's database nor
the checkpoint.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unseen.arrays.packed import packed
from unseen.ranking.cluster import Cluster, Failed
from unseen.ranking.local import LocalScoring, Scored, Zone
from unseen.ranking.scorer import ImageScore, Scorer

if TYPE_CHECKING:
    from unseen.ranking.scorer import Thresholds
    from unseen.steps.score_samples import ScoreConfig

#: Images of a block, and so the most that a killed worker loses.
BLOCK = 64

_Item = tuple[int, str, "Zone | None"]


@dataclass
class RayScoring:
    """What `LocalScoring` does, on a cluster."""

    local: LocalScoring
    cluster: Cluster
    config: ScoreConfig

    @property
    def thresholds(self) -> Thresholds | None:
        """Given, or known before the first result."""
        return self.local.thresholds

    @property
    def repeated(self) -> int:
        """Images that were computed again because a worker died."""
        return self.cluster.repeated

    def score(self, paths: Sequence[str]) -> Iterator[Scored]:
        """Score every file once, in no order; see `LocalScoring.score`.

        A file on which several workers died comes back with that as its error. Workers pack the
        arrays, because whoever takes the results of all of them is the bottleneck.
        """
        here = set()
        if self.local.thresholds is None:
            for scored in self.local.score(paths, only_sample=True):
                here.add(scored.index)
                yield scored
        zone = self.local.weights or (lambda index: None)
        items = ((i, path, zone(i)) for i, path in enumerate(paths) if i not in here)
        gpus = float(self.local.scorer.device.type == "cuda")
        blocks = self.cluster.map(self._factory(), items, size=BLOCK, gpus=gpus)
        for (index, path, _), result in blocks:
            if isinstance(result, Failed):
                result = Scored(index, None, f"{path}: {result.reason}; exclude the sample")
            yield result

    def _factory(self) -> Callable[[], Callable[[Sequence[_Item]], list[Scored]]]:
        checkpoint = Path(self.local.scorer.path)
        files = {p.name: p.read_bytes() for p in (checkpoint, checkpoint.with_suffix(".json"))}
        # The scorer has the exponent that the run was given, perhaps not that of the parameters.
        config = replace(self.config, alpha=self.local.scorer.alpha)
        settings = replace(self.local, scorer=None, weights=None)  # type: ignore[arg-type]  # set there
        return partial(_load, files, checkpoint.name, config, settings)


def _load(
    files: dict[str, bytes], name: str, config: ScoreConfig, settings: LocalScoring
) -> Callable[[Sequence[_Item]], list[Scored]]:
    """In a worker, once."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        scorer = Scorer(Path(folder) / name, config)

    def score(items: Sequence[_Item]) -> list[Scored]:
        zones = [zone for *_, zone in items]
        local = replace(settings, scorer=scorer, weights=zones.__getitem__)
        scored = {one.index: one for one in local.score([path for _, path, _ in items])}
        return [
            replace(scored[n], index=index, score=_packed(scored[n].score))
            for n, (index, *_) in enumerate(items)
        ]

    return score


def _packed(score: ImageScore | None) -> ImageScore | None:
    if score is None:
        return None
    heatmap = score.heatmap
    return replace(
        score,
        embedding=packed(np.asarray(score.embedding)),
        heatmap=None if heatmap is None else packed(np.asarray(heatmap)),
    )
