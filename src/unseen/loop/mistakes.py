"""Which errors of the newest detector cost most, and how far its confidences can be believed."""

from __future__ import annotations

from scipy import stats

from unseen.detector.calibration import ReliabilityBin, calibration_error
from unseen.detector.error_types import KINDS
from unseen.loop.curves import ErrorKind, IterationSummary
from unseen.loop.overview_data import Interval
from unseen.loop.progress_data import Mistake, Mistakes, Reliability

#: Boxes or predictions from which on something can be said about a kind, or about confidences.
FEW_BOXES, FEW_PREDICTIONS = 5, 50
#: A gain in AP, and a distance from the confidence, below which nothing is made of it.
SMALL = 0.01
NEAR = 0.05
#: What to do about a kind; {} is the class with most of them.
_ADVICE = {
    "class": "What is called {} often is not: compare these labels, and label more of what it is taken for.",
    "place": "See whether boxes of {} are drawn tightly and alike everywhere.",
    "both": "Look at those of {} first.",
    "duplicate": "See whether {} is drawn as one box or as several, the same everywhere.",
    "background": "Label images of what is taken for {}; where nothing is, an image without boxes teaches it.",
    "missed": "Label more images with {}.",
}


def read_mistakes(measured: IterationSummary | None) -> Mistakes | None:
    """The errors on record for an iteration; None where none are."""
    if measured is None or not measured.errors:
        return None
    kinds = [_mistake(kind, measured.errors[kind]) for kind in KINDS if kind in measured.errors]
    kinds.sort(key=lambda m: -m.cost)
    return Mistakes(
        iteration=measured.iteration,
        kinds=kinds,
        sentence=_sentence(kinds[0]),
        reliability=[_reliability(b) for b in measured.reliability],
        calibration_error=calibration_error(measured.reliability),
        confidence_sentence=_confidence(measured.reliability),
    )


def _mistake(kind: str, error: ErrorKind) -> Mistake:
    classes = dict(sorted(error.counts.items(), key=lambda item: -item[1]))
    return Mistake(
        kind=kind,
        name=KINDS[kind],
        cost=max(0.0, error.cost),
        boxes=sum(classes.values()),
        classes=classes,
        advice=_ADVICE[kind].format(next(iter(classes))) if classes else "",
    )


def _sentence(worst: Mistake) -> str:
    if worst.cost < SMALL:
        return "No kind of error costs as much as .01 of AP."
    boxes = "1 box" if worst.boxes == 1 else f"{worst.boxes} boxes"
    text = f'"{worst.name.capitalize()}" costs most: without it AP would be {worst.cost:.2f} higher'
    if worst.boxes < FEW_BOXES:
        return f"{text}. With {boxes} from the confidence on, that is too few to act on."
    return f"{text} ({boxes}). {worst.advice}"


def _reliability(of_range: ReliabilityBin) -> Reliability:
    tried = stats.binomtest(of_range.right, of_range.predictions)
    bounds = tried.proportion_ci(method="wilson")
    return Reliability(
        confidence=of_range.confidence,
        share=of_range.right / of_range.predictions,
        interval=Interval(low=float(bounds.low), high=float(bounds.high)),
        predictions=of_range.predictions,
    )


def _confidence(bins: list[ReliabilityBin]) -> str:
    total, error = sum(b.predictions for b in bins), calibration_error(bins)
    if error is None or total < FEW_PREDICTIONS:
        return f"{total} predictions are too few to judge the confidences."
    text = f"Confidences are {error:.2f} off on average, over {total} predictions"
    if error < NEAR:
        return f"{text}: they can be read as probabilities."
    surplus = sum(b.confidence * b.predictions - b.right for b in bins)
    return f"{text}: {'higher' if surplus > 0 else 'lower'} than the share that is right."
