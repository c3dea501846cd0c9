"""Tables, verdicts and words of small benchmarks whose answers follow by hand."""

import re

import pytest

from unseen.benchmark.report.answer import answer
from unseen.benchmark.report.detectors import detector_tables, paper_tables
from unseen.benchmark.report.differences import difference_table, differences
from unseen.benchmark.report.runs import read_runs
from unseen.benchmark.report.tables import (
    cost_table,
    finding_tables,
    rare_boxes,
    read_findings,
    separation_table,
)
from unseen.report.table import Table

from .benchmark_records import detector, record

#: One initial image, then images with 0, 1, ... 9 of the 45 stains.
POOL = [{"particle": 1}, *({"particle": 1, "stain": k} for k in range(10))]


def benchmark_of(stains: dict[tuple[str, str], list[int]]):
    """(case, strategy) -> stains in the one image that it labels, per seed."""
    rows = ((*of, seed, k) for of, each in stains.items() for seed, k in enumerate(each))
    return read_runs([record(*of, POOL, [0, 1 + k], budget=1) for *of, k in rows])


def compared_in(benchmark):
    rare = rare_boxes(benchmark, read_findings(benchmark)["images"])
    return rare, differences(benchmark, rare)


def answer_of(stains: dict[tuple[str, str], list[int]]):
    benchmark = benchmark_of(stains)
    return answer(benchmark, *compared_in(benchmark))


def column(table: Table, label: str) -> list[str]:
    at = table.header.index(label)
    return [row[at] for row in table.texts]


def test_the_main_table_has_means_deviations_and_the_best_in_bold():
    stains = {("x", "mixed"): [9, 9], ("x", "random"): [0, 9]}
    benchmark = benchmark_of({**stains, ("y", "mixed"): [0, 0], ("y", "random"): [9, 0]})
    main = finding_tables(benchmark, read_findings(benchmark))[0]
    assert column(main, "x") == ["20.0 +- 0.0", "10.0 +- 14.1"]
    assert column(main, "Mean") == ["10.0", "10.0"]
    # Best on x is mixed, on y random; the means are equal, so neither is the best.
    assert main.best == {(0, 1), (1, 2)}
    assert main.to_dict()["rows"][0][1] == {"mean": 0.2, "sd": 0.0, "n": 2}
    single = benchmark_of(stains)
    assert finding_tables(single, read_findings(single))[0].header == ["Strategy", "x"]


def test_paired_differences_say_how_often_and_how_sure():
    stains = {("x", "mixed"): [9, 8, 9, 9], ("x", "random"): [1, 1, 0, 2]}
    benchmark = benchmark_of({**stains, ("x", "other"): [9, 9, 9, 8]})
    _, compared = compared_in(benchmark)
    table = difference_table("t", benchmark, {"equal images": compared}, "percent")
    assert column(table, "mixed less") == ["random", "other"]
    assert column(table, "Above / equal / below") == ["4 / 0 / 0", "1 / 2 / 1"]
    assert column(table, "Verdict") == ["above", "cannot be told apart"]
    # (8 + 7 + 9 + 7) / 4 of the 45 stains.
    assert column(table, "Difference, points") == ["+17.2", "0.0"]
    assert column(table, "Reading") == ["equal images"] * 2
    each = difference_table("t", benchmark, {"a": compared}, "percent", by_case=True)
    assert [row[2:] for row in each.texts] == [row[2:] for row in table.texts]
    assert column(each, "Reading") == ["a, x"] * 2


@pytest.mark.parametrize(
    ("mixed", "random", "other", "outcome", "headline"),
    [
        ([9, 8, 9], [1, 1, 2], None, "win", "Yes: mixed finds rare classes sooner than random."),
        ([1, 0, 1], [9, 9, 8], None, "loss", "No: mixed finds rare classes later than random."),
        ([9, 8, 9, 8], [1, 1, 2, 0], [8, 9, 9, 7], "mixed", "mixed .* random; it cannot .* other."),
        ([9], [1], None, "unknown", "Too few seeds to tell whether mixed .* sooner."),
        ([9, 8, 7], None, None, "unknown", "mixed was run, but nothing to compare it with."),
        ([9, 1, 5], [5, 5, 5], None, "unknown", "It cannot be told whether mixed .* than random."),
    ],
)
def test_the_answer_claims_what_the_differences_allow(mixed, random, other, outcome, headline):
    stains = {"mixed": mixed, "random": random, "other": other}
    said = answer_of({("x", name): seeds for name, seeds in stains.items() if seeds})
    assert said.outcome == outcome
    assert re.match(headline, said.headline)


def test_the_answer_says_where_it_does_not_hold():
    stains = {("x", "mixed"): [9, 8, 9], ("x", "random"): [1, 1, 0]}
    said = answer_of({**stains, ("y", "mixed"): [2, 1, 2], ("y", "random"): [3, 2, 4]})
    assert said.outcome == "win"
    assert said.headline.endswith("sooner than random, on average over 2 datasets.")
    (sentence,) = said.sentences
    assert sentence == "Another strategy found more on average on y (random 7 %, mixed 4 %)."


def with_detectors(classes: list[str], f1: dict[str, list[float | None]]):
    """Strategy -> F1 after 0, 1, 2 batches with seeds 0 and 1, the second .1 higher."""
    pool = [{c: 1 for c in classes} for _ in range(5)]
    known = {"classes": classes, "rare": (classes[0],)}
    runs = []
    for strategy, values in f1.items():
        for seed in range(2):
            each = [v if v is None else v + 0.1 * seed for v in values]
            runs.append(record("x", strategy, seed, pool, list(range(5)), f1=each, **known))
    return read_runs(runs)


def test_table_one_has_init_iterations_and_full():
    benchmark = with_detectors(
        ["defect"], {"mixed": [0.4, 0.6, 0.7], "sequential": [0.4, 0.5, 0.5], "full": [0.8]}
    )
    first, second = paper_tables(benchmark)
    assert first.header == ["Metric", "Init", "Iter1", "Iter2", "Full"]
    assert first.title.startswith("Table I, x")
    assert column(first, "Metric")[:3] == ["Precision", "Recall", "F1 score"]
    assert column(first, "Iter2")[2] == "0.75 +- 0.07"
    assert column(first, "Full")[2] == "0.85 +- 0.07"
    assert second.title.startswith("Table II, x")
    assert column(second, "sequential")[2] == "0.55 +- 0.07"


def test_table_three_is_by_class_and_leaves_out_what_was_not_measured():
    benchmark = with_detectors(
        ["a", "b"], {"mixed": [None, None, 0.7], "random": [None, None, 0.5]}
    )
    third = paper_tables(benchmark)[0]
    assert third.title.startswith("Table III, x")
    assert third.header == ["Class", "Metric", "Iter2"]
    assert column(third, "Class") == ["a", "", "", "b", "", "", "All", ""]
    assert third.groups == {0, 3, 6}


def test_a_class_without_test_boxes_is_undefined():
    made = record("x", "mixed", 0, POOL, [0, 1, 2])
    measured = detector(0.5, ["particle", "stain"])
    measured["per_class"]["stain"] |= {"support": 0, "ap": None}
    made["iterations"][-1]["detector"] = measured
    table = paper_tables(read_runs([made]))[0]
    assert column(table, "Iter1")[:6] == ["0.50", "0.50", "0.50", "-", "-", "-"]


def test_the_full_set_is_shown_and_is_no_competitor():
    benchmark = with_detectors(
        ["a"], {"mixed": [0.4, 0.6, 0.7], "random": [0.4, 0.5, 0.6], "full": [0.9]}
    )
    table = detector_tables(benchmark)[0]
    assert column(table, "Strategy") == ["mixed", "random", "full"]
    assert column(table, "x") == ["0.75 +- 0.07", "0.65 +- 0.07", "0.95 +- 0.07"]
    assert table.best == {(0, 1)}


def test_separation_is_that_before_the_first_batch():
    order, scores = [0, 1, 2, 3, 4], {0: {"pixel_auroc": 0.9}, 1: {"pixel_auroc": 0.7}}
    unscored = record("x", "random", 0, POOL, order)
    mixed = record("x", "mixed", 0, POOL, order, scores=scores)
    assert separation_table(read_runs([mixed, unscored])).texts == [["mixed", "0.90"]]
    assert separation_table(read_runs([unscored])) is None


def test_costs_are_seconds_per_iteration_of_what_was_measured():
    made = record("x", "mixed", 0, POOL, [0, 1, 2, 3, 4])
    for k, entry in enumerate(made["iterations"]):
        entry["seconds"] = {"train_unet": 10.0 + k, "score": None, "train_detector": None}
    made["iterations"][-1]["seconds"]["train_unet"] = None
    table = cost_table(read_runs([made]))
    assert table.header == ["Strategy", "Train the UNet"]
    assert column(table, "Train the UNet") == ["10.5"]
    assert table.notes == ["Measured on 2 cores, no GPU."]
