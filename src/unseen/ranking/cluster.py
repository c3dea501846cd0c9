"""Run one function over many items on a Ray cluster, whatever happens to its workers.

Ray's own `map_batches` starts a block again and again when its worker dies, so one image that kills
its reader would never end, and it does not tell what was repeated. Here blocks whose worker died
are halved until the item is alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
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
    """A connection to Ray, which leaving the context closes if this opened it."""

    address: str | None = None  #: None: start Ray on this machine; "auto": the one that runs here
    repeated: int = field(default=0, init=False)  #: items whose worker died, so that they ran again

    def __post_init__(self) -> None:
        """Connect; raises `ConfigError` if Ray is missing or nothing answers."""
        ray = import_ray()
        self._is_own = not ray.is_initialized()
        if not self._is_own:
            _check_connected(self.address)
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        address = self.address or os.environ.get("RAY_ADDRESS")
        options = {} if address else {"include_dashboard": False}
        try:
            _knock(address)  # Ray itself would try for minutes
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no Ray cluster at address={address!r} ({' '.join(str(error).split())}); start one "
                "with `ray start --head`, set RAY_AUTH_MODE=token here if it has a token, or leave "
                "the address out to use this machine alone"
            ) from error

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_own:
            import_ray().shutdown()

    def room(self, gpus: float = 0.0) -> int:
        """How many workers with so many GPUs each the cluster can hold now."""
        total = import_ray().cluster_resources()
        most = total.get("CPU", 0)
        return int(min(most, total.get("GPU", 0) / gpus) if gpus else most)

    def on_each_node(self, function: Callable[[], R]) -> dict[str, R | Failed]:
        """What a function returns on each machine, by the machine's address, within a minute."""
        ray = import_ray()
        remote = ray.remote(num_cpus=0)(function)
        place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = {
            node["NodeManagerAddress"]: remote.options(
                scheduling_strategy=place(node["NodeID"], soft=False)
            ).remote()
            for node in ray.nodes()
            if node["Alive"]
        }
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=60)
        answers: dict[str, R | Failed] = {}
        for node, reference in asked.items():
            try:
                answers[node] = ray.get(reference, timeout=0)
            except ray.exceptions.RayError as error:
                answers[node] = Failed(last_line(error))
        return answers

    def map(
        self, factory: Factory[T, R], items: Iterable[T], *, size: int, gpus: float = 0.0
    ) -> Iterator[tuple[T, R | Failed]]:
        """Each item with its result, in no order; at most two blocks per worker are in memory.

        A worker has one CPU core, and so many GPUs.
        An exception of the function ends the run. A worker that dies is replaced and its block
        repeated; an item on which `MOST_DEATHS` workers died is `Failed`. Workers join as machines
        do.
        """
        run = _Run(self, factory, _blocks(items, size), gpus)
        try:
            while run.hand_out():
                yield from run.collect()
        finally:
            run.end()


class _Run(Generic[T, R]):
    """The workers of one call of `Cluster.map`, and what each of them holds."""

    def __init__(
        self, cluster: Cluster, factory: Factory[T, R], blocks: Iterator[_Block[T]], gpus: float
    ) -> None:
        self._ray = ray = import_ray()
        self._cluster, self._gpus = cluster, gpus
        self._blocks, self._next = blocks, next(blocks, None)
        self._again = deque[_Block[T]]()
        self._worker = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Worker)
        self._factory = ray.put(factory)
        self._hired: dict[Any, Any] = {}  # the reference that tells that it runs -> worker
        self._held: dict[Any, deque[tuple[Any, _Block[T]]]] = {}  # of each worker that runs
        self._looked = float("-inf")
        self._alone_since = time.monotonic()
        self._why = "none has started"

    def hand_out(self) -> bool:
        """Give every worker what to do next; False if all is done."""
        if not (self._next or self._again or any(self._held.values())):
            return False
        self._hire()
        for worker in sorted(self._held, key=lambda worker: len(self._held[worker])):
            held = self._held[worker]
            while len(held) < 2 and not any(block.deaths for _, block in held):
                if self._again and held:
                    break  # a suspect runs alone, so that no other block is blamed
                block = self._again.popleft() if self._again else self._next
                if block is None:
                    break
                if block is self._next:
                    self._next = next(self._blocks, None)
                held.append((worker.run.remote(block.items), block))
        return True

    @property
    def _room(self) -> int:
        return self._cluster.room(self._gpus)

    def _hire(self) -> None:
        now = time.monotonic()
        if self._held:
            self._alone_since = now
        elif now - self._alone_since > PATIENCE:
            raise ConfigError(
                f"no worker of the Ray cluster for {PATIENCE:.0f} s (it has room for "
                f"{self._room}; the last one: {self._why}); add a machine with `ray start "
                "--address=...`, see `unseen doctor`, or use engine='local'"
            )
        if now - self._looked >= LOOK:
            self._looked = now
            for _ in range(self._room - len(self._held) - len(self._hired)):
                worker = self._worker.remote(self._factory)
                self._hired[worker.is_there.remote()] = worker

    def collect(self) -> Iterator[tuple[T, R | Failed]]:
        """Wait for a worker, or until it is time to look for more; what it has done."""
        # A worker does one after the other, so its first block is done first.
        running = {held[0][0]: worker for worker, held in self._held.items() if held}
        waiting = [*running, *self._hired]
        if not waiting:
            time.sleep(LOOK)
            return
        done, _ = self._ray.wait(waiting, timeout=LOOK)
        for reference in done:
            worker = running.get(reference) or self._hired.pop(reference)
            try:
                results = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:  # the worker, its node or its result
                self._why = last_line(error)
                self._ray.kill(worker)
                if lost := self._held.pop(worker, None):
                    self._looked = float("-inf")
                    yield from self._repeat([block for _, block in lost])
                continue
            if reference in running:
                _, block = self._held[worker].popleft()
                yield from zip(block.items, pickle.loads(results), strict=True)
            else:
                self._held[worker] = deque()

    def _repeat(self, lost: Sequence[_Block[T]]) -> Iterator[tuple[T, Failed]]:
        """Queue what a dead worker held; the first block was running, the rest only waited."""
        suspect, *innocent = lost
        deaths = suspect.deaths + 1
        if len(suspect.items) == 1 and deaths >= MOST_DEATHS:
            yield suspect.items[0], Failed(f"{deaths} workers died on it")
        else:
            # At first the whole block again: machines are switched off too.
            half = len(suspect.items) // 2 if deaths > 1 else 0
            parts = suspect.items[:half], suspect.items[half:]
            self._again.extend(_Block(part, deaths) for part in parts if part)
            self._cluster.repeated += len(suspect.items)
        self._again.extend(innocent)

    def end(self) -> None:
        """Stop every worker."""
        for worker in (*self._held, *self._hired.values()):
            self._ray.kill(worker)


class _Worker(Generic[T, R]):
    """Lives in a process of the cluster."""

    def __init__(self, factory: Factory[T, R]) -> None:
        self._factory = factory
        self._function: Callable[[Sequence[T]], Sequence[R]] | None = None

    def is_there(self) -> None:
        """Returns as soon as the process runs."""

    def run(self, items: Sequence[T]) -> bytes:
        # Made here, not above, so that its errors are those of a task and reach the user.
        if self._function is None:
            self._function = self._factory()
        # One object: Ray hands over every array by itself, which takes longer than small ones do.
        return pickle.dumps(list(self._function(items)), pickle.HIGHEST_PROTOCOL)


@contextlib.contextmanager
def named_cluster(engine: str, address: str | None) -> Iterator[Cluster | None]:
    """The cluster that the parameters of a step name; None: this process."""
    if engine == "local":
        yield None
        return
    with Cluster(address) as cluster:
        yield cluster


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


def _check_connected(address: str | None) -> None:
    """Raise `ConfigError` if this process is connected to another cluster than it should be."""
    connected = import_ray().get_runtime_context().gcs_address
    # Ray's own forms of an address ("auto", "ray://...") cannot be compared.
    if address and "//" not in address and ":" in address and address != connected:
        raise ConfigError(
            f"address={address!r}, but this process is connected to the Ray cluster at "
            f"{connected!r}; call ray.shutdown() first, or leave the address out to use that one"
        )


def _knock(address: str | None) -> None:
    """Raise an OSError if nothing listens at "host:port"; other forms are for Ray to read."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def last_line(error: Exception) -> str:
    """Of its message, which Ray ends with what matters."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()


def _blocks(items: Iterable[T], size: int) -> Iterator[_Block[T]]:
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield _Block(part)
            part = []
    if part:
        yield _Block(part)
