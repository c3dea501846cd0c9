"""Find or read known structure (die grid, mask, lines) and say what counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.errors import ConfigError
from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult, left_out
from unseen.steps import settings
from unseen.steps.catalogue import Step
from unseen.structure import STRUCTURES, ZONES


@dataclass(frozen=True, kw_only=True)
class StructureConfig(StepConfig):
    """Parameters of `mark_structure`."""

    structure: str = setting(
        "grid",
        "Where it comes from: a repeating die grid, a mask file, a file of polylines, a field of polylines of this dataset; none removes it.",
        choices=STRUCTURES,
    )
    structure_file: str | None = setting(
        None,
        "Mask: an image whose pixels above 0 are inside. Polylines: a JSON file, see docs/guide.md. Both hold for every image.",
        only_with={"structure": ("mask", "polylines")},
        path="read",
    )
    structure_field: str | None = setting(
        None,
        "Field of polylines, each image with its own; closed ones have an inside.",
        only_with={"structure": ("field",)},
    )
    pitch: tuple[float, ...] = setting(
        (),
        "Width and height of one repeat of the grid. Default: found from the images.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid",)},
    )
    origin: tuple[float, ...] = setting(
        (),
        "Where a die begins in every image (x, y). Default: found in each image.",
        unit="px",
        only_with={"structure": ("grid",)},
    )
    street: tuple[float, ...] = setting(
        (),
        "Width of the vertical and of the horizontal street between dies. Default: found from the images.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid",)},
    )
    zone: str = setting(
        "everywhere",
        "Which pixels count in the ranking: everywhere, only inside the structure (the dies), only outside of it (the streets).",
        choices=ZONES,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    margin: float = setting(
        0.0,
        "Pixels nearer than this to a line of the structure do not count.",
        unit="px",
        minimum=0,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    weight: float = setting(
        0.0,
        "What a pixel that does not count still weighs: 0 ignores it, 0.3 lets it count a third.",
        minimum=0,
        maximum=1,
        only_with={"structure": ("grid", "mask", "polylines", "field")},
    )
    workers: int = settings.workers()
    seed: int = settings.seed(advanced=True)
    dry_run: bool = settings.dry_run()

    def _check_together(self) -> None:
        super()._check_together()
        for name in ("pitch", "origin", "street"):
            value = getattr(self, name)
            if value and len(value) != 2:
                raise ConfigError(
                    f"{name}={list(value)!r}; expected two numbers (x, y), or none to have them found"
                )
        if self.origin and not self.pitch:
            raise ConfigError(f"origin={list(self.origin)!r} without a pitch; give both or neither")
        needed = {
            "mask": "structure_file",
            "polylines": "structure_file",
            "field": "structure_field",
        }
        name = needed.get(self.structure, "")
        if name and not getattr(self, name):
            raise ConfigError(f"structure={self.structure!r} needs {name}; it is empty")


@dataclass(frozen=True, kw_only=True)
class StructureResult(StepResult):
    """Result of `mark_structure`."""

    structure: str  #: where it came from; "none" = removed
    images: int  #: of the view
    marked: int  #: images that have the structure now
    changed: int  #: of them, and of those that lost it: another structure than before
    zone: str  #: what counts in the ranking
    margin: float = 0.0  #: px
    weight: float = 0.0  #: of what does not count
    pitch: list[float] = dataclasses.field(default_factory=list)  #: of a grid, x and y, px
    street: list[float] = dataclasses.field(default_factory=list)  #: of a grid, x and y, px
    #: autocorrelation of a found grid along x and y, in [-1, 1]
    strength: list[float] = dataclasses.field(default_factory=list)
    median_fit: float | None = None  #: correlation of the images with the found grid
    skipped: list[Skipped] = dataclasses.field(default_factory=list)
    dry_run: bool = False  #: nothing was written; `changed` is 0 then

    def summary(self) -> str:
        if self.structure == "none" and self.dry_run:
            return f"The structure of {self.images} images would be removed."
        if self.structure == "none":
            return f"Structure removed from {self.changed} images; everything counts in full."
        have = "would have" if self.dry_run else "have"
        text = f"{self.marked} of {self.images} images {have} the structure ({self.structure})."
        if self.pitch:
            text += f" Pitch {_xy(self.pitch)} px, street {_xy(self.street)} px."
        if self.median_fit is not None:
            text += f" Median fit {self.median_fit:.2f}."
        unmarked = self.images - self.marked - len(self.skipped)
        if unmarked:
            text += f" {unmarked} images have none; they count in full."
        return f"{text}{left_out(self.skipped)} {self._what_counts()}"

    def _what_counts(self) -> str:
        near = f", without what is nearer than {self.margin:g} px to a line" if self.margin else ""
        if self.zone == "everywhere" and not self.margin:
            return "It is shown only: everything counts in the ranking."
        rest = f"; the rest counts {self.weight:g}" if self.weight else ""
        where = "everywhere" if self.zone == "everywhere" else f"only {self.zone}"
        return f"The ranking counts {where}{near}{rest}. Score the pool again to apply it."


def _xy(pair: list[float]) -> str:
    return " x ".join(f"{v:.2f}".rstrip("0").rstrip(".") for v in pair)


STEP = Step(
    order=40,
    label="Mark known structure",
    config=StructureConfig,
    view_verb="Mark",
)
