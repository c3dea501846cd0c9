import numpy as np
import pytest

from unseen.errors import BudgetError, ConfigError, ShapeError
from unseen.ranking.criteria.sharing import alternate, earned_shares


def test_nothing_wanted_is_nothing_chosen():
    order, source = alternate([[], []], [1, 1], 0)
    assert order.shape == source.shape == (0,)


def test_equal_shares_take_turns_and_the_first_ranking_starts():
    order, source = alternate([[0, 1, 2], [5, 4, 3]], [1, 1], 6)
    assert order.tolist() == [0, 5, 1, 4, 2, 3]
    assert source.tolist() == [0, 1, 0, 1, 0, 1]


def test_an_image_of_both_rankings_is_taken_once_and_costs_no_turn():
    order, source = alternate([[0, 1, 2], [0, 1, 9]], [1, 1], 4)
    assert order.tolist() == [0, 1, 2, 9]
    assert source.tolist() == [0, 1, 0, 1]


def test_one_share_alone_is_that_ranking():
    ranking = np.random.default_rng(0).permutation(20)
    order, source = alternate([ranking[::-1], ranking], [0, 3], 20)
    np.testing.assert_array_equal(order, ranking)
    assert set(source.tolist()) == {1}


@pytest.mark.parametrize("shares", [(5, 3, 2), (1, 1, 1), (0.9, 0.1, 0)])
def test_every_beginning_of_a_batch_is_within_one_image_of_the_shares(shares):
    orders = [np.arange(100), np.arange(100, 200), np.arange(200, 300)]
    _, source = alternate(orders, shares, 60)
    part = np.asarray(shares) / sum(shares)
    for count in range(1, 61):
        taken = np.bincount(source[:count], minlength=3)
        assert np.abs(taken - count * part).max() <= 1


def test_a_ranking_that_ends_leaves_its_turns_to_the_others():
    order, source = alternate([[0], [1, 2, 3]], [1, 1], 4)
    assert order.tolist() == [0, 1, 2, 3]
    assert source.tolist() == [0, 1, 1, 1]


def test_the_arguments_are_left_as_they_were():
    shares = np.asarray([1.0, 1.0])
    alternate([[0], [1, 2]], shares, 3)
    assert shares.tolist() == [1, 1]


def test_more_than_the_rankings_hold_is_refused():
    with pytest.raises(BudgetError, match="budget 3"):
        alternate([[0, 1], [1, 0], [7, 8]], [1, 1, 0], 3)


def test_impossible_shares_are_named():
    for shares in ([0, 0], [1, -1]):
        with pytest.raises(ConfigError, match="shares"):
            alternate([[0], [1]], shares, 1)
    with pytest.raises(ShapeError, match="2 rankings have 1 shares"):
        alternate([[0], [1]], [1], 1)


def test_nothing_tried_earns_equal_shares():
    np.testing.assert_allclose(earned_shares([0, 0, 0], [0, 0, 0]), [1 / 3] * 3)


def test_shares_are_the_odds_after_one_success_and_one_failure():
    # (4 + 1) / (1 + 1) against (1 + 1) / (4 + 1)
    np.testing.assert_allclose(earned_shares([4, 1], [5, 5]), np.asarray([2.5, 0.4]) / 2.9)


def test_what_was_never_tried_is_worth_as_much_as_the_best():
    shares = earned_shares([4, 1, 0], [5, 5, 0])
    assert shares[2] == shares[0] > shares[1]
    assert earned_shares([0, 0], [5, 0]).tolist() == [0.5, 0.5]


def test_a_criterion_earns_more_by_finding_and_less_by_failing():
    base = earned_shares([2, 2], [5, 5])[0]
    assert earned_shares([3, 2], [5, 5])[0] > base
    assert earned_shares([2, 2], [6, 5])[0] < base


def test_no_criterion_ever_loses_its_whole_share():
    assert earned_shares([10, 0], [10, 10]).min() > 0


def test_finding_more_than_was_tried_is_refused():
    with pytest.raises(ConfigError, match="expected 0 <= found <= tried"):
        earned_shares([3], [2])
    with pytest.raises(ShapeError):
        earned_shares([1, 1], [2])
