"""What every step returns: a frozen dataclass of plain JSON data."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Base of all results."""

    dataset: str  #: name of the dataset
    seconds: float = 0.0  #: wall time of the step

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON data."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """What happened, in one or two sentences for a person."""
        return ""

    def __str__(self) -> str:
        return self.summary()

    def _repr_markdown_(self) -> str:
        """The result as a notebook shows it."""
        return as_markdown({"summary": self.summary(), **self.to_dict()})


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """One sample that a step left out, and why."""

    sample_id: str
    filepath: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrainingResult(StepResult):
    """What training returns, whichever network it was."""

    iteration: int
    checkpoint: str
    digest: str
    images: int
    boxes: int
    classes: list[str]
    class_counts: dict[str, int]
    steps: int
    final_loss: float
    device: str
    box_problems: dict[str, int] = dataclasses.field(default_factory=dict)  #: clipped, empty, ...
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    partly_labelled: int = 0  #: images of which only a part is labelled
    notes: list[str] = dataclasses.field(default_factory=list)  #: what is odd about the labels

    @property
    def remarks(self) -> str:
        """Sentences on what is labelled in part, was left out, or is odd."""
        notes = "".join(f" {note}" for note in self.notes)
        return partly(self.partly_labelled) + left_out(self.skipped, self.box_problems) + notes


def partly(images: int) -> str:
    """A sentence on partly labelled images, if there are any.

    >>> partly(2)
    ' 2 of the images are labelled in part.'
    """
    return f" {images} of the images are labelled in part." if images else ""


def left_out(skipped: Sequence[Skipped], box_problems: Mapping[str, int] | None = None) -> str:
    """Sentences on images that were left out, with the first reason, and on boxes that were.

    >>> left_out([Skipped(sample_id="1", filepath="a.png", reason="a.png: no such file")])
    ' 1 image was left out, such as: a.png: no such file.'
    >>> left_out([], {"empty": 2, "outside": 1})
    ' Boxes: 2 empty, 1 outside.'
    """
    text = ""
    if skipped:
        which = "1 image was" if len(skipped) == 1 else f"{len(skipped)} images were"
        text = f" {which} left out, such as: {skipped[0].reason.rstrip('.')}."
    problems = ", ".join(f"{n} {what}" for what, n in (box_problems or {}).items() if n)
    return text + (f" Boxes: {problems}." if problems else "")


def as_markdown(result: Mapping[str, Any]) -> str:
    """Plain data as a summary and a table of its numbers, counts and texts; lists are left out.

    >>> print(as_markdown({"summary": "done", "f1": 0.12345, "boxes": {"scratch": 3}}))
    done
    <BLANKLINE>
    | Result | |
    |---|---|
    | f1 | 0.1235 |
    | boxes | scratch: 3 |
    """
    summary = str(result.get("summary", ""))
    parts = [f"```\n{summary}\n```" if "\n" in summary else _plain(summary)]
    rows = []
    for name, value in result.items():
        if name in ("summary", "table") or isinstance(value, list) or value in (None, "", {}):
            continue
        rows.append(f"| {_plain(name.replace('_', ' '))} | {_cell(value)} |")
    if rows:
        parts.append("\n".join(["| Result | |", "|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part)


def _cell(value: Any) -> str:
    """A value in a table, what is nested in brackets."""
    if isinstance(value, Mapping):
        plain = ((k, v) for k, v in value.items() if not isinstance(v, list))
        return ", ".join(
            f"{_plain(str(k))}: ({_cell(v)})"
            if isinstance(v, Mapping)
            else f"{_plain(str(k))}: {_cell(v)}"
            for k, v in plain
        )
    return f"{value:.4g}" if isinstance(value, float) else _plain(str(value))


def _plain(text: str) -> str:
    r"""The text as Markdown that shows it as it is: `__name__` would be bold.

    >>> print(_plain("/data/__unseen__/a|b"))
    /data/\_\_unseen\_\_/a\|b
    """
    return re.sub(r"([\\`*_|<\[\]#])", r"\\\1", text)
