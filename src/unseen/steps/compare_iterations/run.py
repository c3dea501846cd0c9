"""All iterations and baselines side by side: tables, pictures and one HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unseen.dataset import reading
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop, numbered_folder
from unseen.errors import DatasetError
from unseen.loop.iteration import IterationSummary
from unseen.loop.overview import control
from unseen.loop.summaries import summarise
from unseen.progress import Progress
from unseen.report.data import BatchPicture
from unseen.report.tables import comparison_table
from unseen.report.write_report import write_report
from unseen.steps.compare_iterations import CompareConfig, CompareResult
from unseen.steps.step import step

#: Images of a batch that are drawn; the rest of a large batch is in the App.
PICTURES_PER_BATCH = 20


@step(CompareConfig, writes=False)
def compare_iterations(loop: Loop, config: CompareConfig, progress: Progress) -> CompareResult:
    """Read the records of all series and write the report; the dataset is not changed."""
    found = summaries(loop)
    if not found:
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has no record of any iteration; run train_unet, or simulate "
            "the loop, first"
        )
    classes = _classes(loop, found)
    facts = _facts(loop, found)
    gained = control(loop.dataset, loop.names)
    if gained is not None:
        facts["control_group"] = gained.sentence
    for record in loop.records().values():
        entry = record["steps"].get("select_batch") or {}
        if entry.get("trust"):
            facts[f"how {entry['batch']} was divided"] = (
                f"{entry['trust']} {entry['features']['origin']}"
            )
    progress(0, 3, "read the records")
    pictures = _batch_pictures(loop) if config.pictures else []
    progress(1, 3, "draw the report")
    folder = (
        Path(config.output).expanduser().absolute()
        if config.output
        else numbered_folder(loop.folder(config.model_dir), "report")
    )
    table = comparison_table(found, classes, facts)
    files = write_report(
        folder,
        title=config.title or loop.dataset.name,
        dataset=loop.dataset.name,
        classes=classes,
        iterations=found,
        batches=pictures,
        facts=facts,
        table_text=table,
    )
    progress(3, 3, "draw the report")
    return CompareResult(
        dataset=loop.dataset.name,
        classes=classes,
        iterations=found,
        table=table,
        report=str(files.html),
        pictures=[str(p) for p in files.pictures],
    )


def summaries(loop: Loop) -> list[IterationSummary]:
    """One summary per iteration and series; the main loop first."""
    series = [one.names.series for one in loop.all_series()]
    loops = {
        s: Loop(loop.dataset, Names(prefix=loop.names.prefix, series=s)).records() for s in series
    }
    return summarise(loops)


def _classes(loop: Loop, found: list[IterationSummary]) -> list[str]:
    for item in found:
        if item.per_class:
            return list(item.per_class)
    return loop.classes() or sorted({label for item in found for label in item.class_counts})


def _facts(loop: Loop, found: list[IterationSummary]) -> dict[str, object]:
    """What a reader needs to judge the figures."""
    facts: dict[str, object] = {}
    first: dict[str, Any] = {}
    for series in [one.names.series for one in loop.all_series()]:
        names = Names(prefix=loop.names.prefix, series=series)
        for number, record in Loop(loop.dataset, names).records().items():
            steps = record["steps"]
            first = first or next(iter(steps.values()), {})
            evaluation = steps.get("evaluate_detector")
            if evaluation and "iou" not in facts:
                facts["iou"] = evaluation["parameters"]["iou"]
                facts["min_confidence"] = evaluation["parameters"]["min_confidence"]
                facts["test_images"] = evaluation["images"]
            unet = steps.get("train_unet")
            if unet and "unet_mode" not in facts:
                facts["unet_mode"] = unet["parameters"]["mode"]
                facts["unet_steps"] = unet["steps"]
                facts["working_scale"] = unet["working_scale"]
            score = steps.get("score_samples", {})
            if not series and "mean_score" in score:
                facts[f"mean_unseen_score_{number}"] = round(score["mean_score"], 5)
            if record.get("seed") is not None:
                facts.setdefault("seed", record["seed"])
    detector = next((i for i in found if i.schedule), None)
    if detector:
        parameters = _detector_parameters(loop)
        facts["architecture"] = (
            f"{detector.architecture} ({'pretrained' if detector.pretrained else 'from scratch'})"
        )
        facts["schedule"] = (
            f"{parameters['steps']} steps"
            if parameters.get("steps")
            else f"{parameters.get('epochs')} epochs"
        )
    facts.update({f"version_{k}": v for k, v in first.get("versions", {}).items()})
    return facts


def _detector_parameters(loop: Loop) -> dict[str, Any]:
    for series in [one.names.series for one in loop.all_series()]:
        names = Names(prefix=loop.names.prefix, series=series)
        for record in Loop(loop.dataset, names).records().values():
            if "train_detector" in record["steps"]:
                found: dict[str, Any] = record["steps"]["train_detector"]["parameters"]
                return found
    return {}


def _batch_pictures(loop: Loop) -> list[BatchPicture]:
    found = []
    views = set(loop.dataset.list_saved_views())
    scored = loop.dataset.get_field(loop.names.heatmap) is not None
    records = loop.records()
    selections = {
        r["steps"]["select_batch"]["batch"]: r["steps"]["select_batch"]
        for r in records.values()
        if "select_batch" in r["steps"]
    }
    scales = {
        number: r["steps"].get("score_samples", {}).get("thresholds", {}).get("heatmap")
        for number, r in records.items()
    }
    for number, tag in loop.batches().items():
        if tag not in views or tag not in selections:
            continue
        metric = selections[tag]["parameters"]["metric"]
        full_scale = scales.get(number - 1)
        view = loop.dataset.load_saved_view(tag).limit(PICTURES_PER_BATCH)
        labels = view.values(loop.names.label_field)
        ids, paths = reading.ids_and_paths(view)
        empty: list[Any] = [None] * len(ids)
        values = view.values(loop.names.metric(metric)) if scored else empty
        heatmaps = view.values(f"{loop.names.heatmap}.map") if scored else empty
        regions = view.values(loop.names.regions) if scored else empty
        for i in range(len(ids)):
            found.append(
                BatchPicture(
                    batch=tag,
                    iteration=number,
                    rank=i + 1,
                    filepath=paths[i],
                    sample_id=ids[i],
                    metric_name=metric,
                    metric_value=values[i],
                    full_scale=full_scale,
                    heatmap=None if heatmaps[i] is None else np.asarray(heatmaps[i], np.uint8),
                    regions=[(_xyxy(d), d.confidence) for d in _detections(regions[i])],
                    boxes=[(_xyxy(d), d.label) for d in _detections(labels[i])],
                )
            )
    return found


def _detections(value: Any) -> list[Any]:
    return list(value.detections) if value is not None else []


def _xyxy(detection: Any) -> tuple[float, float, float, float]:
    x, y, w, h = detection.bounding_box
    return (x, y, x + w, y + h)
