"""What a load found and did, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from unseen.annotation.changes import Changes

#: Links to oddities in a report.
EXAMPLES = 20


@dataclass
class Tally:
    """The counts of one load, over all jobs of all annotation runs."""

    changes: Changes = field(default_factory=Changes)
    jobs_loaded: int = 0
    jobs_waiting: int = 0
    labelled: int = 0
    empty: int = 0
    unopened: int = 0
    removed: int = 0
    refused: int = 0
    written: int = 0
    new_classes: Counter[str] = field(default_factory=Counter)
    added_classes: set[str] = field(default_factory=set)  #: of these, the ones that were taken
    oddities: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def example(self, what: str, url: str) -> None:
        """Keep a link to something odd, while there are few."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {url}")
