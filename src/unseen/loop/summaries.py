"""The records of loops -> the points of their learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.loop.iteration import ClassMetrics, IterationSummary

Record = Mapping[str, Any]


def summarise(loops: Mapping[str, Mapping[int, Record]]) -> list[IterationSummary]:
    """One summary per iteration and series, in the order given.

    Other series share the initial images with the main loop; where they were not measured on them
    again, their iteration 0 is left out.

    Args:
        loops: series ("" is the main loop) -> iteration -> record.
    """
    found = []
    for series, records in loops.items():
        strategy = next(
            (r["strategy"] for r in records.values() if r.get("strategy")), series or "none"
        )
        found += [
            _summary(series, strategy, number, record)
            for number, record in records.items()
            if not series or number or evaluation_of(record)
        ]
    return found


def evaluation_of(record: Record) -> dict[str, Any]:
    """What `evaluate_detector` left in a record, or an empty entry."""
    found: dict[str, Any] = (record.get("steps") or {}).get("evaluate_detector") or {}
    return found


def _summary(series: str, strategy: str, number: int, record: Record) -> IterationSummary:
    steps = record.get("steps") or {}
    detector = steps.get("train_detector", {})
    evaluation = evaluation_of(record)
    per_class = evaluation.get("per_class")
    counts = {str(k): int(n) for k, n in (record.get("class_counts") or {}).items()}
    return IterationSummary(
        series=series,
        strategy=strategy,
        iteration=number,
        images=len(record.get("labelled_ids") or ()),
        boxes=sum(counts.values()),
        class_counts=counts,
        schedule=detector.get("schedule"),
        detector=detector.get("detector"),
        architecture=detector.get("architecture"),
        pretrained=detector.get("pretrained"),
        per_class={k: ClassMetrics(**m) for k, m in per_class.items()} if per_class else None,
        macro_f1=evaluation.get("macro_f1"),
        mean_ap=evaluation.get("mean_ap"),
        seconds={name: s["seconds"] for name, s in steps.items() if "seconds" in s},
        eval_key=evaluation.get("eval_key"),
    )
