"""Run one function over many items on a Ray cluster, whatever happens to its workers.

Ray's own `map_batches` starts a block again and again when its worker dies, so one image that kills
its reader would never end, and it does not tell what was repeated. Here blocks whose worker died
are halved until the item is alone.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from unseen.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

#: Deaths of a worker on one item after which the item is taken to be the cause.
MOST_DEATHS = 3
#: Seconds between two looks at how many workers the cluster has room for.
LOOK = 5.0
#: Seconds without any worker after which the run gives up.
PATIENCE = 120.0

#: Called once per worker; what it returns is called with the items of a block.
Factory = Callable[[], Callable[[Sequence[T]], Sequence[R]]]


@dataclass(frozen=True)
class Failed:
    """Why there is no result of an item."""

    reason: str


@dataclass
class _Block(Generic[T]):
    items: Sequence[T]
    deaths: int = 0


@dataclass
class Cluster:
    """A connection to Ray."""

    address: str | None = None  #: None: start Ray on this machine; "auto": the one that runs here
    gpus: float = 0.0  #: of one worker
    repeated: int = field(default=0, init=False)  #: items whose worker died, so that they ran again

    def __post_init__(self) -> None:
        """Connect; raises `ConfigError` if Ray is missing or nothing answers."""
        ray = import_ray()
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        options = {} if self.address else {"include_dashboard": False}
        try:
            _knock(self.address)  # Ray itself would try for minutes
            ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no Ray cluster at address={self.address!r} ({str(error).splitlines()[0]}); start "
                "one with `ray start --head`, or leave the address out to use this machine alone"
            ) from error

    @property
    def room(self) -> int:
        """How many workers the cluster can hold now."""
        total = import_ray().cluster_resources()
        most = total.get("CPU", 0)
        return int(min(most, total.get("GPU", 0) / self.gpus) if self.gpus else most)

    def map(
        self, factory: Factory[T, R], items: Iterable[T], *, size: int
    ) -> Iterator[tuple[T, R | Failed]]:
        """Each item with its result, in no order; at most two blocks per worker are in memory.

        An exception of the function ends the run. A worker that dies is replaced and its block
        repeated; an item on which `MOST_DEATHS` workers died is `Failed`. Workers join as machines
        do.
        """
        ray = import_ray()
        source, again = _blocks(items, size), deque[_Block[T]]()
        actors: dict[Any, deque[Any]] = {}  # actor -> what it runs, then what waits for it
        blocks: dict[Any, tuple[Any, _Block[T]]] = {}
        worker = ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0)(_Worker)
        shared = ray.put(factory)
        looked = -LOOK
        answered = time.monotonic()
        try:
            while True:
                if time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    for _ in range(self.room - len(actors)):
                        actors[worker.remote(shared)] = deque()
                for actor, held in sorted(actors.items(), key=lambda item: len(item[1])):
                    while len(held) < 2 and not any(blocks[r][1].deaths for r in held):
                        if again and held:
                            break  # a suspect runs alone, so that no other block is blamed
                        block = again.popleft() if again else next(source, None)
                        if block is None:
                            break
                        reference = actor.run.remote(block.items)
                        held.append(reference)
                        blocks[reference] = actor, block
                if not blocks and not again:
                    return
                if time.monotonic() - answered > PATIENCE:
                    raise ConfigError(
                        f"no worker of the Ray cluster answered for {PATIENCE:.0f} s (it has room "
                        f"for {self.room}); add a machine with `ray start --address=...`, or use "
                        "engine='local'"
                    )
                done, _ = ray.wait(list(blocks), timeout=LOOK) if blocks else ([], [])
                if not blocks:
                    time.sleep(LOOK)
                for actor in {blocks[reference][0] for reference in done}:
                    dead: list[_Block[T]] = []
                    in_order = list(actors[actor])
                    last = max(n for n, reference in enumerate(in_order) if reference in done)
                    for n, reference in enumerate(in_order):
                        if n > last and not dead:
                            break
                        _, block = blocks[reference]
                        try:
                            results = ray.get(reference)
                        except ray.exceptions.RayActorError:
                            dead.append(block)
                        except ray.exceptions.RayTaskError as error:
                            raise error.cause from error
                        else:
                            answered = time.monotonic()
                            yield from zip(block.items, results, strict=True)
                        actors[actor].remove(reference)
                        del blocks[reference]
                    if dead:
                        del actors[actor]
                        looked = -LOOK
                        yield from self._repeat(dead, again)
        finally:
            for actor in actors:
                ray.kill(actor)

    def _repeat(
        self, dead: Sequence[_Block[T]], again: deque[_Block[T]]
    ) -> Iterator[tuple[T, Failed]]:
        """Queue what a dead worker held; the first block was running, the rest only waited."""
        suspect, *innocent = dead
        deaths = suspect.deaths + 1
        if len(suspect.items) == 1 and deaths >= MOST_DEATHS:
            yield suspect.items[0], Failed(f"{deaths} workers died on it")
        else:
            # At first the whole block again: machines are switched off too.
            half = len(suspect.items) // 2 if deaths > 1 else 0
            parts = suspect.items[:half], suspect.items[half:]
            again.extend(_Block(part, deaths) for part in parts if part)
            self.repeated += len(suspect.items)
        again.extend(innocent)
        self.repeated += sum(len(block.items) for block in innocent)


class _Worker(Generic[T, R]):
    """Lives in a process of the cluster."""

    def __init__(self, factory: Factory[T, R]) -> None:
        self._factory = factory
        self._function: Callable[[Sequence[T]], Sequence[R]] | None = None

    def run(self, items: Sequence[T]) -> Sequence[R]:
        # Made here, not above, so that its errors are those of a task and reach the user.
        if self._function is None:
            self._function = self._factory()
        return self._function(items)


def import_ray() -> Any:
    """The module `ray`; raises `ConfigError` if it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "engine='ray' needs Ray; install it with `pip install unseen[ray]`, or use "
            "engine='local'"
        ) from error
    return ray


def _knock(address: str | None) -> None:
    """Raise an OSError if nothing listens at "host:port"; other forms are for Ray to read."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _blocks(items: Iterable[T], size: int) -> Iterator[_Block[T]]:
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield _Block(part)
            part = []
    if part:
        yield _Block(part)
