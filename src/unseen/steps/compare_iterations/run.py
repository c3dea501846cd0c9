"""All iterations and baselines side by side: tables, pictures and one HTML report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unseen.dataset.loop import Loop, numbered_folder, records_by_series
from unseen.errors import DatasetError
from unseen.loop.iteration import IterationSummary
from unseen.loop.overview import control
from unseen.loop.summaries import summarise
from unseen.progress import Progress
from unseen.report.pictures import BatchPicture
from unseen.report.write_report import write_report
from unseen.steps.compare_iterations import CompareConfig, CompareResult
from unseen.steps.step import step

#: Images of a batch that are drawn; the rest of a large batch is in the App.
PICTURES_PER_BATCH = 20


@step(CompareConfig, writes=False)
def compare_iterations(loop: Loop, config: CompareConfig, progress: Progress) -> CompareResult:
    """Read the records of all series and write the report; the dataset is not changed."""
    iterations = summaries(loop)
    if not iterations:
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has no record of any iteration; run train_unet, or simulate "
            "the loop, first"
        )
    classes = _classes(loop, iterations)
    facts = _facts(loop, iterations)
    progress(0, 3, "read the records")
    pictures = _batch_pictures(loop) if config.pictures else []
    progress(1, 3, "draw the report")
    folder = (
        Path(config.output).expanduser().absolute()
        if config.output
        else numbered_folder(loop.folder(config.model_dir), "report")
    )
    files = write_report(
        folder,
        title=loop.dataset.name,
        dataset=loop.dataset.name,
        classes=classes,
        iterations=iterations,
        batches=pictures,
        facts=facts,
    )
    progress(3, 3, "draw the report")
    return CompareResult(
        dataset=loop.dataset.name,
        classes=classes,
        iterations=iterations,
        table=files.text,
        report=str(files.html),
        pictures=[str(p) for p in files.pictures],
    )


def summaries(loop: Loop) -> list[IterationSummary]:
    """One summary per iteration and series; the main loop first."""
    return summarise(records_by_series(loop.dataset, loop.names.prefix))


def _classes(loop: Loop, iterations: list[IterationSummary]) -> list[str]:
    measured = next((list(i.per_class) for i in iterations if i.per_class), [])
    return measured or loop.classes() or sorted({c for i in iterations for c in i.class_counts})


def _facts(loop: Loop, iterations: list[IterationSummary]) -> dict[str, object]:
    """What a reader needs to judge the figures; the first record that knows a fact decides."""
    facts: dict[str, object] = {}
    versions: dict[str, str] = {}
    schedule = ""
    for series, records in records_by_series(loop.dataset, loop.names.prefix).items():
        for number, record in records.items():
            steps = record["steps"]
            first: Mapping[str, Any] = next(iter(steps.values()), {})
            versions = versions or first.get("versions", {})
            if evaluation := steps.get("evaluate_detector"):
                facts.setdefault("iou", evaluation["parameters"]["iou"])
                facts.setdefault("min_confidence", evaluation["parameters"]["min_confidence"])
                facts.setdefault("test_images", evaluation["images"])
            if unet := steps.get("train_unet"):
                facts.setdefault("unet_mode", unet["parameters"]["mode"])
                facts.setdefault("unet_steps", unet["steps"])
                facts.setdefault("working_scale", unet["working_scale"])
            if not series and "mean_score" in steps.get("score_samples", {}):
                score = steps["score_samples"]["mean_score"]
                facts[f"mean_unseen_score_{number}"] = round(score, 5)
            if record.get("seed") is not None:
                facts.setdefault("seed", record["seed"])
            if not schedule and "train_detector" in steps:
                given = steps["train_detector"]["parameters"]
                steps_given = given.get("steps")
                schedule = (
                    f"{steps_given} steps" if steps_given else f"{given.get('epochs')} epochs"
                )
    detector = next((i for i in iterations if i.schedule), None)
    if detector:
        weights = "pretrained" if detector.pretrained else "from scratch"
        facts["architecture"] = f"{detector.architecture} ({weights})"
        facts["schedule"] = schedule
    gained = control(loop.dataset, loop.names)
    if gained is not None:
        facts["control_group"] = gained.sentence
    for record in loop.records().values():
        entry = record["steps"].get("select_batch") or {}
        if entry.get("trust"):
            origin = entry["features"]["origin"]
            facts[f"how {entry['batch']} was divided"] = f"{entry['trust']} {origin}"
    return {**facts, **{f"version_{k}": v for k, v in versions.items()}}


def _batch_pictures(loop: Loop) -> list[BatchPicture]:
    """The first images of every batch, with what the ranking saw and what was labelled then."""
    pictures = []
    views = set(loop.dataset.list_saved_views())
    is_scored = loop.dataset.get_field(loop.names.heatmap) is not None
    steps = [record["steps"] for record in loop.records().values()]
    metrics = {
        s["select_batch"]["batch"]: s["select_batch"]["parameters"]["metric"]
        for s in steps
        if "select_batch" in s
    }
    for number, tag in loop.batches().items():
        metric = metrics.get(tag)
        if metric is None or tag not in views:
            continue
        scores = loop.entry(number - 1, "score_samples").get("thresholds", {})
        view = loop.dataset.load_saved_view(tag).limit(PICTURES_PER_BATCH)
        names = loop.names
        scored = (names.metric(metric), f"{names.heatmap}.map", names.regions)
        paths, labels = view.values(["filepath", names.label_field])
        nothing: list[Any] = [[None] * len(paths)] * 3
        columns = view.values(list(scored)) if is_scored else nothing
        rows = zip(paths, labels, *columns, strict=True)
        for rank, (path, truth, value, heat, regions) in enumerate(rows, start=1):
            pictures.append(
                BatchPicture(
                    batch=tag,
                    iteration=number,
                    rank=rank,
                    filepath=path,
                    metric_name=metric,
                    metric_value=value,
                    full_scale=scores.get("heatmap"),
                    heatmap=None if heat is None else np.asarray(heat, np.uint8),
                    regions=[(_xyxy(d), d.confidence) for d in _detections(regions)],
                    boxes=[(_xyxy(d), d.label) for d in _detections(truth)],
                )
            )
    return pictures


def _detections(value: Any) -> list[Any]:
    return list(value.detections) if value is not None else []


def _xyxy(detection: Any) -> tuple[float, float, float, float]:
    x, y, w, h = detection.bounding_box
    return (x, y, x + w, y + h)
