import math

import pytest
from report_facts import CLASSES, counted, full_set, point, scored

from unseen.loop.curves import balance, read_curves


def test_no_iterations_give_no_series():
    curves = read_curves([])
    assert curves.judged is None
    assert curves.series == ()


def test_baselines_start_from_the_shared_initial_images(loop):
    curves = read_curves(loop)
    assert [s.label for s in curves.series] == ["Diverse", "Sequential", "Random"]
    assert all(s.points[0] is loop[0] for s in curves.series)


def test_a_series_keeps_its_own_initial_images(loop):
    own = point("random", "random", 0, scored(0.1, 0.1, 0.1), counted(9, 9, 9))
    random = read_curves([*loop, own]).others[1]
    assert random.points[0] is own


def test_the_full_set_is_no_series(loop):
    curves = read_curves([*loop, full_set()])
    assert curves.full == full_set()
    assert len(curves.series) == 3


def test_the_ranked_series_is_judged_even_where_the_main_loop_is_a_baseline():
    main = [point("", "random", i, None, counted(5, 5, 5)) for i in range(2)]
    ranked = [point("diverse", "diverse", 1, None, counted(9, 5, 5))]
    assert read_curves([*main, *ranked]).judged.name == "diverse"


def test_an_iteration_without_labelled_images_is_left_out(loop):
    prepared = point("", "diverse", 3, None, counted(0, 0, 0), images=0)
    assert read_curves([*loop, prepared]) == read_curves(loop)


def test_the_order_of_the_input_does_not_matter(loop):
    assert read_curves(loop[::-1]) == read_curves(loop)


def test_two_series_of_one_strategy_have_different_labels(loop):
    twice = [*loop, point("again", "random", 1, None, counted(1, 1, 1))]
    labels = [s.label for s in read_curves(twice).series]
    assert len(set(labels)) == len(labels) == 4


@pytest.mark.parametrize(
    ("counts", "classes", "expected"),
    [
        ({}, CLASSES, None),
        ({"particle": 5}, ["particle"], None),
        (counted(4, 4, 4), CLASSES, 1),
        (counted(4, 0, 0), CLASSES, 0),
        (counted(7, 7, 0), CLASSES, math.log(2) / math.log(3)),
    ],
)
def test_balance_is_the_normalised_entropy(counts, classes, expected):
    assert balance(counts, classes) == (expected and pytest.approx(expected))
