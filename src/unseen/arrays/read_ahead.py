"""Read files in threads, a few ahead of whoever uses them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar, cast

from unseen.arrays.threads import computing_threads
from unseen.errors import ImageError

T = TypeVar("T")
R = TypeVar("R")

MOST_BYTES = 256_000_000


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int
) -> Iterator[tuple[T, R | ImageError]]:
    """Each item and what `read` returns for it, in order; an ImageError comes as the result.

    At most `ahead` results wait in memory, and of arrays as large as the last one so many that they
    take about `MOST_BYTES`.
    """

    def attempt(item: T) -> R | ImageError:
        try:
            return read(item)
        except ImageError as error:
            return error

    todo = iter(items)
    room = workers  # until the size of a result is known
    queue: deque[tuple[T, Future[R | ImageError]]] = deque()
    with computing_threads(workers) as threads:
        while True:
            free = max(0, room - len(queue))
            queue.extend((i, threads.submit(attempt, i)) for i in itertools.islice(todo, free))
            if not queue:
                return
            item, future = queue.popleft()
            result = future.result()
            size = int(getattr(result, "nbytes", 0))
            room = min(ahead, max(1, MOST_BYTES // max(1, size)))
            yield item, result


def iterate_ahead(items: Iterator[T], *, ahead: int) -> Iterator[T]:
    """The items of an iterator, which runs in a thread that may be `ahead` items further."""
    end = object()
    with computing_threads(1) as thread:
        queue = deque(thread.submit(next, items, end) for _ in range(ahead + 1))
        while (item := queue.popleft().result()) is not end:
            queue.append(thread.submit(next, items, end))
            yield cast("T", item)
            del item
