"""Figures of runs whose answers follow by hand."""

import math

import numpy as np
import pytest

from unseen.benchmark.report.measures import (
    equal_boxes,
    equal_images,
    finding,
    found_over_images,
    over_cases,
    over_seeds,
    paired,
    values_of,
)
from unseen.benchmark.report.runs import read_runs
from unseen.errors import UnseenError

from .benchmark_records import record

#: Image 0 is the initial one. Beyond it: 6 stains in 3 images; 8 particles.
POOL = [{"particle": 2, "stain": 1}, {"stain": 3}, {"particle": 4}, {"particle": 2, "stain": 2}]
POOL += [{}, {"particle": 2}, {"stain": 1}]


def two(first: list[int], second: list[int], **more):
    orders = {"ranked": first, "random": second}
    benchmark = read_runs([record("bare", s, 0, POOL, o, **more) for s, o in orders.items()])
    return benchmark, *benchmark.runs


def test_shares_are_of_what_could_be_found_beyond_the_initial_images():
    benchmark, run, other = two([0, 1, 2], [0, 4, 5])
    figures = finding(run, equal_images(benchmark, run))
    assert figures.boxes == 3 + 3 + 4
    assert figures.rare_boxes == 3 / 6
    assert figures.rare_images == 1 / 3
    p, q = 6 / 10, 4 / 10  # of all labelled boxes: particles 2 + 4, stains 1 + 3
    assert figures.balance == pytest.approx(-p * math.log2(p) - q * math.log2(q))
    nothing = finding(other, equal_images(benchmark, other))
    assert (nothing.rare_boxes, nothing.rare_images) == (0, 0)


def test_at_equal_boxes_the_crossing_image_counts_by_the_share_of_its_boxes():
    # The other one labels 3 + 0 + 2 = 5 boxes; ours 3, then 3 in one image of which 2 are allowed.
    benchmark, run, other = two([0, 1, 2], [0, 4, 5])
    np.testing.assert_allclose(equal_boxes(benchmark, run), [1, 2 / 3, 0])
    np.testing.assert_allclose(equal_boxes(benchmark, other), [1, 1, 1])
    figures = finding(run, equal_boxes(benchmark, run))
    assert figures.boxes == pytest.approx(5)
    assert figures.rare_boxes == pytest.approx(2 / 6)
    assert figures.rare_images == pytest.approx((2 / 3) / 3)


def test_every_strategy_has_equally_many_boxes_at_equal_boxes(rng):
    pool = [{"particle": int(p), "stain": int(p) % 3} for p in rng.integers(0, 9, 30)]
    orders = [[0, *(1 + rng.permutation(29)[:12]).tolist()] for _ in range(4)]
    runs = [record("bare", f"s{k}", 0, pool, order, budget=4) for k, order in enumerate(orders)]
    benchmark = read_runs(runs)
    boxes = [finding(r, equal_boxes(benchmark, r)).boxes for r in benchmark.runs]
    np.testing.assert_allclose(boxes, boxes[0])


def test_shares_over_images_begin_at_nothing_found():
    _, run, _ = two([0, 1, 3, 6], [0, 2, 4, 5], budget=3)
    # 3, 5 and 6 of 6 found after 1, 2 and 3 images.
    np.testing.assert_allclose(found_over_images(run), [0, 3 / 6, 5 / 6, 1])


def test_nothing_rare_is_undefined_not_zero():
    benchmark, run, _ = two([0, 1, 2], [0, 4, 5], rare=())
    figures = finding(run, equal_images(benchmark, run))
    assert (figures.rare_boxes, figures.rare_images) == (None, None)
    assert found_over_images(run) is None


def many(shares: dict[tuple[str, str, int], int]):
    """Runs that label one image each with that many of ten stains."""
    runs = []
    for (case, strategy, seed), stains in shares.items():
        pool = [{"particle": 1}, *({"stain": k} for k in range(5))]  # 0 + 1 + 2 + 3 + 4 stains
        runs.append(record(case, strategy, seed, pool, [0, 1 + stains], budget=1))
    return read_runs(runs)


def measured(benchmark):
    def share(run):
        return finding(run, equal_images(benchmark, run)).rare_boxes

    return values_of(benchmark.runs, share)


def test_means_and_deviations_are_over_seeds_and_then_over_cases():
    stains = {("a", "s", 0): 1, ("a", "s", 1): 3, ("b", "s", 0): 4, ("a", "t", 0): 0}
    values = measured(many({**stains, ("a", "t", 1): 0}))
    figures = over_seeds(values, "a", "s")
    assert (figures.mean, figures.n) == (pytest.approx(0.2), 2)
    assert figures.sd == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert over_seeds(values, "b", "s").sd is None
    assert over_cases(values, "s") == pytest.approx((0.2 + 0.4) / 2)
    assert over_cases(values, "t") is None  # it was not run on b


def test_pairs_share_case_and_seed():
    stains = {("a", "s", 0): 3, ("a", "s", 1): 4, ("a", "s", 2): 2, ("a", "t", 1): 1}
    values = measured(many({**stains, ("a", "t", 2): 2}))
    np.testing.assert_allclose(paired(values, "a", "s", "t"), [0.3, 0])


def test_missing_runs_are_those_that_others_have():
    benchmark = many({("a", "s", 0): 1, ("a", "s", 1): 1, ("b", "t", 0): 1, ("b", "s", 0): 1})
    assert benchmark.missing == [("a", "t", 0), ("a", "t", 1), ("b", "s", 1), ("b", "t", 1)]


def test_the_first_strategy_may_be_named():
    records = [record("a", s, 0, POOL, [0, 1]) for s in ("s", "t")]
    assert read_runs(records).first == "s"
    assert read_runs(records, "t").strategies == ["t", "s"]
    with pytest.raises(UnseenError, match="first='u', but no run of it has finished"):
        read_runs(records, "u")


def test_runs_that_cannot_be_compared_are_refused():
    run = record("a", "s", 0, POOL, [0, 1])
    with pytest.raises(UnseenError, match="no run has finished yet"):
        read_runs([])
    with pytest.raises(UnseenError, match="two runs of s on a with seed 0"):
        read_runs([run, run])
    elsewhere = record("a", "t", 0, POOL, [2, 1])
    other_pool = record("a", "t", 0, [*POOL, {"stain": 1}], [0, 1])
    for other in (elsewhere, other_pool):
        with pytest.raises(UnseenError, match="different pools, classes or initial images"):
            read_runs([run, other])
    broken = {k: v for k, v in run.items() if k != "pool"}
    with pytest.raises(UnseenError, match=r"run 'a s 0' cannot be read \(KeyError\('pool'\)\)"):
        read_runs([broken])
