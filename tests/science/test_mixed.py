import numpy as np
import pytest

from unseen.errors import BudgetError, ConfigError, ShapeError
from unseen.science import selection
from unseen.science.mixed import CRITERIA, mixed

PIXEL, TEXTURE, OBJECT, NEW_CLASS = range(4)
NOTHING = (0, 0, 0, 0)


def _pool(count=200, seed=0):
    """Metric, texture of which nothing stands out, expected new examples, embeddings."""
    rng = np.random.default_rng(seed)
    novelty = rng.uniform(1.0, 1.5, count)
    return rng.gamma(1, size=count), novelty, rng.uniform(size=count), rng.normal(size=(count, 4))


def _mixed(metric, novelty, new, budget, embeddings, objects=None, found=NOTHING, tried=NOTHING):
    objects = np.full(len(metric), np.nan) if objects is None else objects
    return mixed(
        metric,
        novelty,
        objects,
        new,
        budget,
        found=found,
        tried=tried,
        embed=lambda at: embeddings[at],
    )


def test_an_empty_budget_asks_for_no_embedding():
    def never(positions):
        raise AssertionError(positions)

    batch = mixed([], [], [], [], 0, found=NOTHING, tried=NOTHING, embed=never)
    assert batch.order.shape == batch.source.shape == (0,)


def test_with_nothing_but_pixels_to_go_by_it_is_the_diverse_batch():
    metric, novelty, _, embeddings = _pool()
    batch = _mixed(metric, novelty, np.zeros(200), 12, embeddings)
    near = selection.candidates(metric, 12)
    expected = near[selection.diverse(metric[near], embeddings[near], 12)]
    np.testing.assert_array_equal(batch.order, expected)
    assert set(batch.source.tolist()) == {PIXEL}


def test_only_the_candidates_are_embedded():
    metric, novelty, new, embeddings = _pool()
    asked = []

    def embed(positions):
        asked.append(positions)
        return embeddings[positions]

    mixed(metric, novelty, novelty, new, 10, found=NOTHING, tried=NOTHING, embed=embed)
    (positions,) = asked
    np.testing.assert_array_equal(positions, selection.candidates(metric, 10))


def test_criteria_with_something_to_say_take_turns_at_first():
    metric, novelty, new, embeddings = _pool()
    novelty[[17, 60, 90, 141]] = 40.0, 30.0, 20.0, 10.0
    objects = np.linspace(-9, 9, 200)
    objects[[2, 5, 8, 11]] = 90.0, 80.0, 70.0, 60.0
    batch = _mixed(metric, novelty, new, 12, embeddings, objects)
    assert np.bincount(batch.source).tolist() == [3, 3, 3, 3]
    assert batch.order[batch.source == TEXTURE].tolist() == [17, 60, 90]
    assert batch.order[batch.source == OBJECT].tolist() == [2, 5, 8]
    by_class = batch.order[batch.source == NEW_CLASS]
    assert (np.diff(new[by_class]) <= 0).all()
    assert len(set(batch.order.tolist())) == 12


def test_what_does_not_stand_out_is_never_chosen_for_its_texture():
    metric, novelty, new, embeddings = _pool()
    novelty[17] = 40.0
    batch = _mixed(metric, novelty, new, 30, embeddings)
    assert batch.order[batch.source == TEXTURE].tolist() == [17]
    assert len(batch.order) == 30


def test_without_a_new_and_rare_class_no_image_is_chosen_for_it():
    metric, novelty, _, embeddings = _pool()
    novelty[:20] += 40
    batch = _mixed(metric, novelty, np.zeros(200), 10, embeddings)
    assert np.bincount(batch.source, minlength=4).tolist() == [5, 5, 0, 0]


def test_what_found_something_gets_more_of_the_next_batch():
    metric, novelty, new, embeddings = _pool()
    novelty[:30] += 40
    # Odds (7 + 1) / 1, 1 / (7 + 1) twice, 1 / (6 + 1) with one success and one failure added.
    batch = _mixed(
        metric, novelty, new, 20, embeddings, novelty, found=(7, 0, 0, 0), tried=(7, 7, 7, 6)
    )
    odds = np.asarray([8, 1 / 8, 1 / 8, 1 / 7])
    expected = 20 * odds / odds.sum()
    assert np.abs(np.bincount(batch.source, minlength=4) - expected).max() <= 1


def test_texture_that_has_proven_its_worth_goes_on_beyond_the_images_that_stand_out():
    metric, novelty, _, embeddings = _pool()
    novelty[17] = 40.0
    none = np.zeros(200)
    before = _mixed(metric, novelty, none, 20, embeddings, found=(0, 1, 0, 0), tried=(4, 4, 0, 0))
    assert np.bincount(before.source, minlength=4).tolist() == [19, 1, 0, 0]
    after = _mixed(metric, novelty, none, 20, embeddings, found=(0, 2, 0, 0), tried=(4, 4, 0, 0))
    by_texture = after.order[after.source == TEXTURE]
    assert len(by_texture) > 10
    assert by_texture.tolist() == np.argsort(-novelty)[: len(by_texture)].tolist()


def test_objects_need_not_stand_out_where_their_novelty_is_known():
    metric, novelty, _, embeddings = _pool()
    objects = np.linspace(-9, 9, 200)
    objects[150:] = np.nan
    batch = _mixed(metric, novelty, np.zeros(200), 10, embeddings, objects)
    assert batch.order[batch.source == OBJECT].tolist() == [149, 148, 147, 146, 145]


def test_the_order_of_the_pool_decides_nothing():
    metric, novelty, new, embeddings = _pool()
    novelty[[3, 50, 70]] = 10.0, 30.0, 20.0
    turn = np.random.default_rng(1).permutation(200)
    objects = 2 * novelty
    straight = _mixed(metric, novelty, new, 15, embeddings, objects)
    turned = _mixed(metric[turn], novelty[turn], new[turn], 15, embeddings[turn], objects[turn])
    np.testing.assert_array_equal(turn[turned.order], straight.order)
    np.testing.assert_array_equal(turned.source, straight.source)


def test_the_whole_pool_can_be_chosen():
    metric, novelty, new, embeddings = _pool(20)
    batch = _mixed(metric, novelty, new, 20, embeddings)
    assert sorted(batch.order.tolist()) == list(range(20))


def test_unknown_textures_are_left_to_the_other_criteria():
    metric, _, new, embeddings = _pool()
    batch = _mixed(metric, np.full(200, np.nan), new, 10, embeddings)
    assert TEXTURE not in batch.source


def test_arguments_that_do_not_fit_are_named():
    metric, novelty, new, embeddings = _pool(20)
    with pytest.raises(BudgetError, match="budget 21"):
        _mixed(metric, novelty, new, 21, embeddings)
    with pytest.raises(ShapeError, match="19 and 20 novelties"):
        _mixed(metric, novelty[1:], new, 2, embeddings)
    with pytest.raises(ShapeError, match=", ".join(CRITERIA)):
        _mixed(metric, novelty, new, 2, embeddings, found=(0, 0), tried=(0, 0))
    with pytest.raises(ConfigError, match="found"):
        _mixed(metric, novelty, new, 2, embeddings, found=(2, 0, 0, 0), tried=(1, 0, 0, 0))
