"""What can go wrong between a client and a server, on purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Fault:
    """Matching requests fail `times` times after `skip` that pass; see `CvatDouble.fail`."""

    method: str
    path_regex: str
    status: int | None = None
    html: bool | str = True
    retry_after: float | str | None = None
    times: int = 1
    skip: int = 0
    drop: str | None = None
    hang: float = 0.0
    json: object = None
    headers: dict[str, str] = field(default_factory=dict)
    seen: int = 0

    def __post_init__(self) -> None:
        if self.drop not in (None, "before", "during", "after"):
            raise ValueError(f"drop {self.drop!r} is not 'before', 'during' or 'after'")
        if self.status is None and self.drop is None and not self.hang:
            raise ValueError("a fault needs a status, a drop or a hang")

    def hits(self, method: str, path: str) -> bool:
        """Whether this request fails; counts it."""
        if self.method not in ("*", method) or not re.search(self.path_regex, path):
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times

    @property
    def is_over(self) -> bool:
        return self.seen >= self.skip + self.times
