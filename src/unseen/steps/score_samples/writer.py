"""Scores on their way into the database, in a thread of its own, so that computing goes on."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pymongo.errors import ConnectionFailure

from unseen.dataset import writing
from unseen.dataset.loop import Loop
from unseen.dataset.mongodb import reason
from unseen.ranking.local import Scored
from unseen.results import Skipped

logger = logging.getLogger(__name__)

#: Samples written in one bulk operation.
CHUNK = 256
#: Seconds for which a database may be away; a run on many machines should not end for that.
AWAY = 120.0


class ScoreWriter:
    """Writes scores in chunks and counts them; unreadable images are listed.

    Leaving the context writes what is complete, also after Ctrl-C or a failure, so that a new run
    continues from there.
    """

    def __init__(self, loop: Loop, mark: str) -> None:
        self._loop = loop
        self._mark = mark
        self._chunk: dict[str, dict[str, Any]] = {}
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] = self._thread.submit(lambda: None)
        self._total = 0.0
        self.scored = self.regions = 0
        self.skipped: list[Skipped] = []

    @property
    def seen(self) -> int:
        """Images that were scored or skipped."""
        return self.scored + len(self.skipped)

    @property
    def mean(self) -> float:
        """Mean unseen score of the scored images."""
        return self._total / self.scored if self.scored else 0.0

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with self._thread:
            self._flush()
            self._pending.result()

    def add(self, sample_id: str, filepath: str, result: Scored) -> None:
        """Take one image's score, or the reason why there is none."""
        if result.score is None:
            skipped = Skipped(sample_id=sample_id, filepath=filepath, reason=result.error or "")
            logger.warning("skipped: %s", skipped.reason)
            self.skipped.append(skipped)
            return
        self.scored += 1
        self.regions += len(result.score.regions)
        self._total += result.score.mean_score
        self._chunk[sample_id] = {**vars(result.score), "model": self._mark}
        if len(self._chunk) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._pending.result()  # one chunk in flight bounds the memory
        if self._chunk:
            chunk, self._chunk = self._chunk, {}
            self._pending = self._thread.submit(self._save, chunk)

    def _save(self, chunk: dict[str, dict[str, Any]]) -> None:
        """Write a chunk, again if the database went away meanwhile: it sets, and adds nothing."""
        started = time.monotonic()
        while True:
            try:
                return writing.save_scores(self._loop, chunk)
            except ConnectionFailure as error:
                if time.monotonic() - started > AWAY:
                    raise
                logger.warning(
                    "the database is away; scores wait for it up to %.0f s: %s", AWAY, reason(error)
                )
                time.sleep(1)
