"""How long the overview of a large dataset takes: what the panel waits for.

    python benchmarks/panel.py --images 100000 --test 1000 --classes 20

The dataset has a scored pool with heatmaps, three measured iterations and a baseline. Cold means
that nothing of the answer was kept in this process; the database has read the samples before, as it
has when the App's grid is open. Then every event of the panel runs as the App sends it; for one that
changes the view, the grid's first question (how many, and the first 20) is timed too. The database is
a throw-away one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from shared import Clock, fake_scores, parser, print_json, save_fake_scores

from unseen.dataset.throwaway import ThrowawayDatabase

SIZE = 96  # px, of the heatmaps
BATCHES, BUDGET = 2, 100
MARK = "0" * 12


def make_dataset(options: argparse.Namespace) -> Any:
    """A dataset in the middle of its loop: labelled batches, one more selected."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import labelling, writing
    from unseen.dataset.fields import Names
    from unseen.dataset.loop import Loop

    rng = np.random.default_rng(0)
    kinds = [f"class {k:02d}" for k in range(options.classes)]
    dataset = fo.Dataset("panel-benchmark")
    labelled = options.test + BUDGET * (BATCHES + 1)
    samples = []
    for i in range(options.images):
        tags = ["test"]
        if i >= options.test:
            number = (i - options.test) // BUDGET
            tags = [f"batch_{number:02d}" if number else "initial"]
        truth = _boxes(rng, kinds) if i < labelled else None
        tags = tags if i < labelled else []
        samples.append(fo.Sample(filepath=f"/images/{i:07d}.png", tags=tags, ground_truth=truth))
    dataset.add_samples(samples, progress=False)
    del samples  # reloading a dataset reads every sample again that is still held
    ids = dataset.values("id")

    main = Loop(dataset)
    baseline = Loop(dataset, Names(series="random", label_field="unseen_random_labels"))
    writing.declare_score_fields(main)
    excess = rng.gamma(2, size=options.images)
    scores = fake_scores(SIZE, MARK)
    save_fake_scores(main, ids[labelled:], scores, {"excess": excess[labelled:]})
    for number in range(1, BATCHES + 1):
        first = options.test + number * BUDGET
        entry = {"batch": main.names.batch(number), "batch_ids": ids[first : first + BUDGET]}
        chosen = {"strategy": "plain", "metric": "excess"}
        main.write_entry(number - 1, "select_batch", {**entry, "parameters": chosen})
    for number in range(BATCHES + 1):
        _measure_iteration(main, number, kinds, ids[: options.test], rng)
    for number in range(1, BATCHES + 1):
        _measure_iteration(baseline, number, kinds, ids[: options.test], rng)
    labelling.record(main, ids[:labelled], "prepare_dataset")
    unet = {"digest": MARK, "parameters": {"mode": "softmax"}, "steps": 1, "working_scale": 1.0}
    main.write_entry(BATCHES, "train_unet", unet)
    entry = {"digest": MARK, "classes": kinds, "parameters": {}}
    main.write_entry(BATCHES, "score_samples", entry)
    unseen.select_batch(dataset, budget=BUDGET, strategy="plain")  # the images do not exist
    return dataset


def _boxes(rng: np.random.Generator, kinds: list[str]) -> Any:
    import fiftyone as fo

    detections = []
    for _ in range(int(rng.integers(0, 9))):
        box = [*rng.uniform(0, 0.8, 2), *rng.uniform(0.05, 0.2, 2)]
        label = kinds[min(int(rng.geometric(0.25)) - 1, len(kinds) - 1)]
        detections.append(fo.Detection(label=label, bounding_box=box))
    return fo.Detections(detections=detections)


def _measure_iteration(
    loop: Any, number: int, kinds: list[str], test: list[str], rng: np.random.Generator
) -> None:
    """Shaken ground truth as predictions, and their evaluation."""
    import unseen
    from unseen.dataset import writing

    dataset, names = loop.dataset, loop.names
    field = names.predictions(number)
    writing.declare_detections(loop, field, "benchmark")
    paths = [f"ground_truth.detections.{name}" for name in ("label", "bounding_box")]
    truths = dataset.select(test).values(["id", *paths])
    predictions = {
        sample_id: [
            (label, np.abs(np.asarray(box) + rng.normal(0, 0.01, 4)), float(rng.uniform(0.2, 1)))
            for label, box in zip(labels, boxes, strict=True)
            if rng.random() < 0.6 + 0.1 * number
        ]
        for sample_id, labels, boxes in zip(*truths, strict=True)
    }
    writing.save_detections(dataset, field, predictions)
    top = {"labelled_images": 0, "class_counts": dict.fromkeys(kinds, 10 * (number + 1))}
    if not names.series:
        rows = dataset.match_tags(["initial", *(names.batch(n) for n in range(1, number + 1))])
        counts = rows.count_values("ground_truth.detections.label")
        top = {"labelled_images": len(rows), "class_counts": counts}
    parameters = {"classes": kinds, "parameters": {}, "digest": "d"}
    loop.write_entry(number, "train_detector", parameters, **top)
    entry = {"parameters": {"target": "test"}, "field": field}
    loop.write_entry(number, "apply_detector", entry, strategy=names.series or "diverse")
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
                clock = Clock()
                ask(dataset)
                seconds.setdefault(f"{name}_{state}", []).append(clock.lap())
        overview.forget()
        clock = Clock()
        now, ranking, progress = (ask(dataset) for ask in questions.values())
        seconds.setdefault("panel_cold", []).append(clock.lap())
        overview.stopping(progress, ranking, now)
        seconds.setdefault("stopping", []).append(clock.lap())
    return {name: round(float(np.median(values)), 4) for name, values in seconds.items()}


#: Event and parameters, in the order of a visit: the sections, then what can be clicked in them.
EVENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("on_load", {}),
    ("change_tab", {"value": "Ranking"}),
    ("show_bars", {"x": 2.0}),
    ("show_bars", {"data": [{"x": 1.0}, {"x": 4.0}]}),
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

    panels = OperatorRegistry().list_operators(type="panel")
    panel = next(p for p in panels if p.name == "curation")
    overview.forget()
    state: dict[str, Any] = {}
    seconds = {}
    for event, params in EVENTS:
        sent = {"panel_id": "p", "__method__": event, "panel_state": dict(state), **params}
        ctx = ExecutionContext(
            {"dataset_name": dataset.name, "view": [], "params": sent},
            executor=Executor(),
            operator_uri=panel.uri,
            required_secrets=panel._plugin_secrets,
        )
        clock = Clock()
        panel.execute(ctx)
        name = "_".join([event, *(str(v) for k, v in params.items() if k == "value")])
        seconds[name] = round(clock.lap(), 4)
        for asked in ctx.executor.to_json()["requests"]:
            if asked["operator_uri"] == "patch_panel_state":
                state.update(asked["params"]["state"])
            if asked["operator_uri"] == "set_view":
                seconds[f"{name}_grid"] = _open_view(dataset, asked["params"])
    return seconds


def _open_view(dataset: Any, params: dict[str, Any]) -> float:
    """Seconds that the grid waits for a view."""
    import fiftyone as fo

    clock = Clock()
    if params.get("name"):
        view = dataset.load_saved_view(params["name"])
    else:
        view = fo.DatasetView._build(dataset, params["view"])
    len(view)
    view.limit(20).values("filepath")
    return round(clock.lap(), 4)


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=100_000)
    arguments.add_argument("--test", type=int, default=1000, help="images of the test split")
    arguments.add_argument("--classes", type=int, default=20)
    options = arguments.parse_args()
    with ThrowawayDatabase(plugins=Path(__file__).resolve().parents[1]):
        dataset = make_dataset(options)
        result = measure(dataset)
        events = measure_events(dataset)
    for name, seconds in events.items():
        print(f"event {name}: {seconds:.3f} s")
    for name, seconds in result.items():
        goal = (" (goal 2)" if name == "panel_cold" else " (goal 1)") if "cold" in name else ""
        print(f"{name.replace('_', ', ')}: {seconds:.3f} s{goal}")
    print_json(options, {**result, "events": events})


if __name__ == "__main__":
    main()
