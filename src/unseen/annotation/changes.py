"""What annotators did, counted."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def _per_class() -> Counter[str]:
    return Counter()


@dataclass
class Changes:
    """What happened on the server since the last look at it, and what became of our own edits.

    Of the suggestions that the server held, each is accepted, left or rejected; of the predictions,
    each is kept, changed or deleted. Those that became labels count as added as well.
    """

    added: Counter[str] = field(default_factory=_per_class)
    changed: Counter[str] = field(default_factory=_per_class)  #: by the new class
    deleted: Counter[str] = field(default_factory=_per_class)
    suggestions_accepted: Counter[str] = field(default_factory=_per_class)  #: by the class given
    suggestions_left: int = 0
    suggestions_rejected: int = 0
    predictions_kept: Counter[str] = field(default_factory=_per_class)  #: as they were sent
    predictions_changed: Counter[str] = field(default_factory=_per_class)  #: by the new class
    predictions_deleted: Counter[str] = field(default_factory=_per_class)
    hand_drawn_suggestions: int = 0  #: boxes that a person gave the suggestion class
    kept_local: int = 0  #: edits and deletions made in FiftyOne that stay
    conflicts: int = 0  #: boxes that both sides changed
    edits: int = 0  #: boxes that a person drew, changed or deleted on the server

    @property
    def any(self) -> bool:
        """Whether a person did anything on the server."""
        return self.edits > 0

    def __add__(self, other: Changes) -> Changes:
        return Changes(
            **{
                f.name: getattr(self, f.name) + getattr(other, f.name)
                for f in dataclasses.fields(self)
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data (`dataclasses.asdict` garbles counters)."""
        return {
            f.name: dict(value) if isinstance(value := getattr(self, f.name), Counter) else value
            for f in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Changes:
        """The inverse of `to_dict`."""
        values: dict[str, Any] = {
            name: Counter(value) if isinstance(value, Mapping) else value
            for name, value in data.items()
        }
        return cls(**values)
