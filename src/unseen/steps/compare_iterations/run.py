"""All iterations and baselines side by side: tables, pictures and one HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.annotation.agreement import read_agreement
from unseen.annotation.origins import write_table
from unseen.dataset import reading
from unseen.dataset.loop import Loop, Record, numbered_folder, records_by_series
from unseen.errors import DatasetError
from unseen.loop.curves import IterationSummary, measured_classes, summarise
from unseen.loop.overview import control
from unseen.loop.people import with_hours
from unseen.progress import Progress
from unseen.report.pictures import BatchPicture
from unseen.report.write_report import write_report
from unseen.steps.compare_iterations import CompareConfig, CompareResult
from unseen.steps.step import step

#: Images of a batch that are drawn; the App shows all of a large batch.
PICTURES_PER_BATCH = 20
#: Stands for a field without a value.
_NONE = fo.Detections()
#: Fact -> where the records have it: step, then keys.
_FACTS = {
    "iou": ("evaluate_detector", "parameters", "iou"),
    "min_confidence": ("evaluate_detector", "parameters", "min_confidence"),
    "test_images": ("evaluate_detector", "images"),
    "unet_mode": ("train_unet", "parameters", "mode"),
    "unet_steps": ("train_unet", "steps"),
    "working_scale": ("train_unet", "working_scale"),
}


@step(CompareConfig)
def compare_iterations(loop: Loop, config: CompareConfig, progress: Progress) -> CompareResult:
    """Read the records of all series and write the report; the dataset is not changed."""
    progress(0, 3, "read the records")
    iterations = summaries(loop)
    if not iterations:
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has no record of any iteration; run train_unet, or "
            "simulate the loop, first"
        )
    counted = sorted({c for i in iterations for c in i.class_counts})
    classes = measured_classes(iterations) or loop.classes() or counted
    pictures = _batch_pictures(loop) if config.pictures else []
    progress(1, 3, "draw the report")
    folder = numbered_folder(loop.folder(config.model_dir), "report")
    files = write_report(
        Path(config.output).expanduser().absolute() if config.output else folder,
        title=loop.dataset.name,
        classes=classes,
        iterations=iterations,
        batches=pictures,
        facts=_facts(loop, iterations),
        agreement=read_agreement(loop),
    )
    boxes = files.html.with_name("boxes.csv")
    write_table(loop, boxes)
    progress(3, 3, "draw the report")
    return CompareResult(
        dataset=loop.dataset.name,
        classes=classes,
        iterations=iterations,
        table=files.text,
        report=str(files.html),
        boxes=str(boxes),
        pictures=[str(p) for p in files.pictures],
    )


def summaries(loop: Loop) -> list[IterationSummary]:
    """One summary per iteration and series; the main loop first."""
    return with_hours(loop, summarise(records_by_series(loop.dataset, loop.names.prefix)))


def _facts(loop: Loop, iterations: list[IterationSummary]) -> dict[str, object]:
    """What a reader needs to judge the figures; the first record that knows a fact decides."""
    main = loop.records()
    records = [
        record
        for of_series in records_by_series(loop.dataset, loop.names.prefix).values()
        for record in of_series.values()
    ]
    steps = [record["steps"] for record in records]
    facts: dict[str, object] = {}
    for name, (step_name, *keys) in _FACTS.items():
        if entry := next((s[step_name] for s in steps if step_name in s), None):
            facts[name] = _at(entry, keys)
    facts |= {
        f"mean_unseen_score_{number}": round(record["steps"]["score_samples"]["mean_score"], 5)
        for number, record in main.items()
        if "mean_score" in record["steps"].get("score_samples", {})
    }
    seed = next((r["seed"] for r in records if r.get("seed") is not None), None)
    if seed is not None:
        facts["seed"] = seed
    if detector := next((i for i in iterations if i.schedule), None):
        weights = "pretrained" if detector.pretrained else "from scratch"
        given = next(s["train_detector"]["parameters"] for s in steps if "train_detector" in s)
        facts["architecture"] = f"{detector.architecture} ({weights})"
        unit = "steps" if given.get("steps") else "epochs"
        facts["schedule"] = f"{given.get(unit)} {unit}"
    if gained := control(loop.dataset, loop.names):
        facts["control_group"] = gained.sentence
    for record in main.values():
        entry = record["steps"].get("select_batch") or {}
        if entry.get("trust"):
            origin = entry["features"]["origin"]
            facts[f"how {entry['batch']} was divided"] = f"{entry['trust']} {origin}"
    versions = next(iter(steps[0].values()))["versions"] if steps else {}
    return {**facts, **{f"version_{k}": v for k, v in versions.items()}}


def _at(entry: Record, keys: list[str]) -> Any:
    for key in keys:
        entry = entry[key]
    return entry


def _batch_pictures(loop: Loop) -> list[BatchPicture]:
    """The first images of every batch, with what the ranking saw and what was labelled then."""
    pictures: list[BatchPicture] = []
    names = loop.names
    views = set(loop.dataset.list_saved_views())
    is_scored = loop.dataset.get_field(names.heatmap) is not None
    selected = [record["steps"].get("select_batch") for record in loop.records().values()]
    metrics = {entry["batch"]: entry["parameters"]["metric"] for entry in selected if entry}
    for number, tag in loop.batches().items():
        if tag not in metrics or tag not in views:
            continue
        thresholds = loop.entry(number - 1, "score_samples").get("thresholds", {})
        view = loop.dataset.load_saved_view(tag).limit(PICTURES_PER_BATCH)
        paths = view.values("filepath")
        nothing: list[Any] = [[None] * len(paths)] * 3
        labels = view.values(names.label_field) if loop.has_labels else nothing[0]
        scored = [names.metric(metrics[tag]), f"{names.heatmap}.map", names.regions]
        columns = view.values(scored) if is_scored else nothing
        rows = zip(paths, labels, *columns, strict=True)
        pictures += [
            BatchPicture(
                batch=tag,
                iteration=number,
                rank=rank,
                filepath=path,
                metric_name=metrics[tag],
                metric_value=value,
                full_scale=thresholds.get("heatmap"),
                heatmap=None if heat is None else np.asarray(heat, np.uint8),
                regions=[(_xyxy(d), d.confidence) for d in (regions or _NONE).detections],
                boxes=[
                    (_xyxy(d), d.label)
                    for d in (truth or _NONE).detections
                    if reading.has_place(d.bounding_box)
                ],
            )
            for rank, (path, truth, value, heat, regions) in enumerate(rows, start=1)
        ]
    return pictures


def _xyxy(detection: Any) -> tuple[float, float, float, float]:
    x, y, w, h = detection.bounding_box
    return (x, y, x + w, y + h)
