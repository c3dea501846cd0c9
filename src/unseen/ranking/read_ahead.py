"""Read files in threads, a few ahead of whoever uses them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from unseen.errors import ImageError

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    read: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int
) -> Iterator[tuple[T, R | ImageError]]:
    """Each item and what `read` returns for it, in order; an ImageError comes as the result.

    At most `ahead` results wait in memory.
    """

    def attempt(item: T) -> R | ImageError:
        try:
            return read(item)
        except ImageError as error:
            return error

    todo = iter(items)
    with ThreadPoolExecutor(workers) as threads:
        queue = deque((i, threads.submit(attempt, i)) for i in itertools.islice(todo, ahead))
        while queue:
            item, future = queue.popleft()
            yield item, future.result()
            queue.extend((i, threads.submit(attempt, i)) for i in itertools.islice(todo, 1))
