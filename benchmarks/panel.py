"""How long the overview of a large dataset takes: what the panel waits for.

    python benchmarks/panel.py --images 100000 --test 1000 --classes 20

The dataset has a scored pool with heatmaps, three measured iterations and a baseline. Cold means
that nothing of the answer was kept in this process; the database has read the samples before, as it
has when the App's grid is open. Then every event of the panel runs as the App sends it, and where it
changes the view, the grid's first question (how many, and the first 20) is timed with it. The
database is a throw-away one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from database import fake_score

from unseen.dataset.loop import Loop
from unseen.dataset.throwaway import ThrowawayDatabase

SIZE = 96  # px, of the heatmaps


def make_dataset(images: int, test: int, classes: int, batches: int = 2, budget: int = 100) -> Any:
    """A dataset in the middle of its loop: `batches` labelled batches, one more selected."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import writing
    from unseen.dataset.fields import Names

    rng = np.random.default_rng(0)
    names, baseline = Names(), Names(series="random", label_field="unseen_random_labels")
    kinds = [f"class {k:02d}" for k in range(classes)]
    mark = "0" * 12
    dataset = fo.Dataset("panel-benchmark")
    labelled = budget * (batches + 1)
    samples = []
    for i in range(images):
        tags, truth = [], None
        if i < test:
            tags, truth = ["test"], _boxes(rng, kinds)
        elif i < test + labelled:
            number = (i - test) // budget
            tags = [f"batch_{number:02d}" if number else "initial"]
            truth = _boxes(rng, kinds)
        path = f"/images/{i:07d}.png"
        samples.append(fo.Sample(filepath=path, tags=tags, ground_truth=truth))
    dataset.add_samples(samples, progress=False)
    del samples  # reloading a dataset reads every sample again that is still held
    ids = dataset.values("id")

    writing.declare_score_fields(Loop(dataset, names))
    scores = [fake_score(rng, SIZE, mark) for _ in range(512)]
    excess = rng.gamma(2, size=images)
    for begin in range(test + labelled, images, 256):
        chunk = {
            ids[i]: {**scores[i % 512], "excess": float(excess[i])}
            for i in range(begin, min(begin + 256, images))
        }
        writing.save_scores(Loop(dataset, names), chunk)

    for loop in (names, baseline):
        for number in range(batches + 1):
            if loop is baseline and not number:
                continue
            _measure(unseen, dataset, loop, number, kinds, ids[:test], rng, budget, labelled)
    entry = {"digest": mark, "classes": kinds, "parameters": {}}
    Loop(dataset, names).write_entry(batches, "train_unet", {"digest": mark})
    Loop(dataset, names).write_entry(batches, "score_samples", entry)
    unseen.select_batch(dataset, budget=budget)
    return dataset


def _boxes(rng: np.random.Generator, kinds: list[str]) -> Any:
    import fiftyone as fo

    found = []
    for _ in range(int(rng.integers(0, 9))):
        box = [*rng.uniform(0, 0.8, 2), *rng.uniform(0.05, 0.2, 2)]
        label = kinds[min(int(rng.geometric(0.25)) - 1, len(kinds) - 1)]
        found.append(fo.Detection(label=label, bounding_box=box))
    return fo.Detections(detections=found)


def _measure(
    unseen: Any,
    dataset: Any,
    names: Any,
    number: int,
    kinds: list[str],
    test: list[str],
    rng: np.random.Generator,
    budget: int,
    labelled: int,
) -> None:
    """Shaken ground truth as predictions, and their evaluation."""
    from unseen.dataset import writing

    field = names.predictions(number)
    writing.declare_detections(Loop(dataset, names), field, "benchmark")
    found = {}
    view = dataset.select(test)
    truths = view.values(
        ["id", "ground_truth.detections.label", "ground_truth.detections.bounding_box"]
    )
    for sample_id, labels, boxes in zip(*truths, strict=True):
        found[sample_id] = [
            (label, np.abs(np.asarray(box) + rng.normal(0, 0.01, 4)), float(rng.uniform(0.2, 1)))
            for label, box in zip(labels, boxes, strict=True)
            if rng.random() < 0.6 + 0.1 * number
        ]
    writing.save_detections(dataset, field, found)
    top = {"labelled_ids": [], "class_counts": dict.fromkeys(kinds, 10 * (number + 1))}
    if not names.series:
        rows = dataset.match_tags(["initial", *(names.batch(n) for n in range(1, number + 1))])
        counts = rows.count_values("ground_truth.detections.label")
        top = {"labelled_ids": rows.values("id"), "class_counts": counts}
    parameters = {"classes": kinds, "parameters": {}, "digest": "d"}
    Loop(dataset, names).write_entry(number, "train_detector", parameters, **top)
    entry = {"parameters": {"target": "test"}, "field": field}
    Loop(dataset, names).write_entry(number, "apply_detector", entry, strategy=names.series or "diverse")
    place = {"series": names.series, "label_field": names.label_field}
    unseen.evaluate_detector(dataset, gt_field="ground_truth", **place)


def measure(dataset: Any, rounds: int = 5) -> dict[str, float]:
    """Seconds per question, cold and warm, median of some rounds."""
    from unseen.loop import overview

    questions = {"now": overview.now, "ranking": overview.ranking, "progress": overview.progress}
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, ask in questions.items():
            overview.forget()
            for state in ("cold", "warm"):
                began = time.perf_counter()
                ask(dataset)
                seconds.setdefault(f"{name}_{state}", []).append(time.perf_counter() - began)
        overview.forget()
        began = time.perf_counter()
        answers = [ask(dataset) for ask in questions.values()]
        seconds.setdefault("panel_cold", []).append(time.perf_counter() - began)
        began = time.perf_counter()
        overview.stopping(answers[2], answers[1], answers[0])
        seconds.setdefault("stopping", []).append(time.perf_counter() - began)
    return {name: round(float(np.median(found)), 4) for name, found in seconds.items()}


#: Event and parameters, in the order of a visit: the sections, then what can be clicked in them.
EVENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("on_load", {}),
    ("change_tab", {"value": "Ranking"}),
    ("show_bin", {"x": 2.0}),
    ("show_lasso", {"data": [{"x": 1.0}, {"x": 4.0}]}),
    ("open_row", {"row": 3}),
    ("show_batch", {}),
    ("change_tab", {"value": "Progress"}),
    ("change_axis", {"value": "boxes"}),
    ("show_hits", {"row": 1}),
    ("show_false", {"row": 1}),
    ("show_missed", {"row": 1}),
    ("compare", {}),
    ("change_tab", {"value": "When to stop"}),
    ("change_tab", {"value": "Now"}),
    ("after_action", {}),
)


def measure_events(dataset: Any) -> dict[str, float]:
    """Seconds per event of the panel, the first one with nothing kept."""
    from fiftyone.operators.executor import ExecutionContext, Executor
    from fiftyone.operators.registry import OperatorRegistry

    from unseen.loop import overview

    found = OperatorRegistry().list_operators(type="panel")
    (panel,) = [p for p in found if p.name == "curation"]
    overview.forget()
    state: dict[str, Any] = {}
    seconds = {}
    for event, params in EVENTS:
        request = {
            "dataset_name": dataset.name,
            "view": [],
            "params": {
                "panel_id": "p",
                "__method__": event,
                "panel_state": dict(state),
                **params,
            },
        }
        secrets = panel._plugin_secrets
        ctx = ExecutionContext(
            request, executor=Executor(), operator_uri=panel.uri, required_secrets=secrets
        )
        began = time.perf_counter()
        panel.execute(ctx)
        took = time.perf_counter() - began
        name = "_".join([event, *(str(v) for k, v in params.items() if k == "value")])
        seconds[name] = round(took, 4)
        for asked in ctx.executor.to_json()["requests"]:
            if asked["operator_uri"] == "patch_panel_state":
                state.update(asked["params"]["state"])
            if asked["operator_uri"] == "set_view":
                seconds[f"{name}_grid"] = _open_view(dataset, asked["params"])
    return seconds


def _open_view(dataset: Any, params: dict[str, Any]) -> float:
    """Seconds that the grid waits for a view."""
    import fiftyone as fo

    began = time.perf_counter()
    view = (
        dataset.load_saved_view(params["name"])
        if params.get("name")
        else fo.DatasetView._build(dataset, params["view"])
    )
    len(view)
    view.limit(20).values("filepath")
    return round(time.perf_counter() - began, 4)


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--test", type=int, default=1000, help="images of the test split")
    parser.add_argument("--classes", type=int, default=20)
    args = parser.parse_args()
    with ThrowawayDatabase(plugins=Path(__file__).resolve().parents[1]):
        dataset = make_dataset(args.images, args.test, args.classes)
        result = measure(dataset)
        events = measure_events(dataset)
    for name, seconds in events.items():
        print(f"event {name}: {seconds:.3f} s")
    for name, seconds in result.items():
        goal = " (goal 1)" if name.endswith("cold") and name != "panel_cold" else ""
        goal = " (goal 2)" if name == "panel_cold" else goal
        print(f"{name.replace('_', ', ')}: {seconds:.3f} s{goal}")
    print(json.dumps({**result, "events": events}))


if __name__ == "__main__":
    main()
