"""Rename classes in the labels, the predictions and the class lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unseen.errors import ConfigError
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class RenameConfig(StepConfig):
    """Parameters of `rename_classes`."""

    rename: tuple[str, ...] = setting(
        (),
        'What becomes what: OLD=NEW. Several old names may become one new name; double quotes keep spaces: " scratch"=scratch.',
    )
    dry_run: bool = settings.dry_run()

    @property
    def names(self) -> dict[str, str]:
        """Old name -> new name."""
        pairs = (pair.rpartition("=") for pair in self.rename)
        return {re.sub('^"(.+)"$', r"\1", old): new.strip() for old, _, new in pairs}

    def _check_together(self) -> None:
        for pair in self.rename:
            old, _, new = pair.rpartition("=")
            if not old or not new.strip():
                raise ConfigError(f"rename={pair!r}; expected OLD=NEW, such as 'Scratch=scratch'")
        if len(self.names) < len(self.rename):
            raise ConfigError(f"rename={list(self.rename)} renames a class twice; name it once")


@dataclass(frozen=True, kw_only=True)
class RenameResult(StepResult):
    """Result of `rename_classes`."""

    renamed: dict[str, int]  #: old name -> boxes in the label field
    images: int  #: with such a box
    fields: list[str]  #: in which boxes were renamed
    classes: list[str]  #: the classes afterwards
    dry_run: bool = False  #: nothing was written
    notes: list[str] = field(default_factory=list)  #: what else should be known

    def summary(self) -> str:
        counts = ", ".join(f"{name!r} {count}" for name, count in self.renamed.items())
        would = "would be" if self.dry_run else "were"
        text = (
            f"Boxes that {would} renamed: {counts}, on {self.images} images, in "
            f"{', '.join(self.fields) or 'no field'}. Unlabelled images stay unlabelled. Classes: "
            f"{', '.join(self.classes)}."
        )
        return " ".join([text, *self.notes])


STEP = Step(
    order=132,
    label="Rename classes",
    config=RenameConfig,
    risk="high",
)
