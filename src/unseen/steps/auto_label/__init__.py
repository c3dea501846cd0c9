"""Label the rest of the pool by the detector, where it is sure enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class AutoLabelConfig(StepConfig):
    """Parameters of `auto_label`."""

    wanted_precision: float = setting(
        0.95,
        "Share of the automatic labels of a class that must be right; classes below it get none.",
        minimum=0.5,
        maximum=0.999,
    )
    level: float = setting(
        0.9, "Confidence level of that precision.", minimum=0.5, maximum=0.999, advanced=True
    )
    iou: float = settings.iou("Overlap from which a prediction counts as right.")
    gt_field: str | None = settings.gt_field()
    device: str = settings.device()
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class AutoLabelResult(StepResult):
    """Result of `auto_label`."""

    iteration: int
    field: str  #: of the automatic labels
    images: int  #: of the pool that were looked at
    labelled: int  #: of them with at least one automatic label
    boxes: int
    class_counts: dict[str, int]
    thresholds: dict[
        str, dict[str, Any]
    ]  #: class -> confidence (None = not good enough), precision, bound, recall, kept
    wanted_precision: float
    digest: str  #: of the detector's weights
    dry_run: bool = False  #: nothing was written; images, labelled and boxes are 0 then

    def summary(self) -> str:
        sure = {c: t for c, t in self.thresholds.items() if t.get("confidence") is not None}
        unsure = [c for c in self.thresholds if c not in sure]
        wanted = f"{100 * self.wanted_precision:.3g} %"
        if not sure:
            best = ", ".join(
                f"{c} at least {100 * (t.get('bound') or 0):.0f} %"
                for c, t in self.thresholds.items()
            )
            return (
                f"The detector is not good enough for any class: {wanted} right was asked for, "
                f"and the test split shows {best}. Label on, or ask for less."
            )
        from_ = ", ".join(f"{c} from {t['confidence']:.2f}" for c, t in sure.items())
        left = f" Not good enough, so without any: {', '.join(unsure)}." if unsure else ""
        if self.dry_run:
            return f"{wanted} right is reached by {from_}.{left} Nothing was written."
        return (
            f"{self.boxes} automatic labels in {self.labelled} of {self.images} images, in "
            f"{self.field!r} ({from_}; at least {wanted} right on the test split).{left} They are "
            "no labels until somebody has looked at them."
        )


STEP = Step(
    order=180,
    label="Label the rest automatically",
    config=AutoLabelConfig,
    is_long=True,
)
