"""The criteria of a mixed batch, and that a new one takes a single file."""

import subprocess
import sys

import numpy as np
import pytest

from unseen.ranking.candidates import Candidates
from unseen.ranking.criteria.coverage import coverage
from unseen.ranking.criteria.new_class import new_class
from unseen.ranking.criteria.novelty import novelty

#: Centre and number of images: what is known, and two other kinds; the last one is an outlier.
CENTRES = ((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 25))
COUNTS = (40, 20, 8, 1)
KINDS = np.repeat(np.arange(4), COUNTS)


def make_pool(space, known=(), evidence=None, wanted=()):
    space = np.asarray(space, float)
    count, dimensions = space.shape
    return Candidates(
        metric=np.zeros(count),
        space=space,
        known=np.asarray(known, float).reshape(-1, dimensions),
        evidence=np.zeros((count, 0)) if evidence is None else np.asarray(evidence, float),
        wanted=np.asarray(wanted, float),
        embed=lambda positions: space[positions],
    )


@pytest.fixture
def pool(rng):
    space = np.asarray(CENTRES, float)[KINDS] + rng.normal(scale=0.1, size=(len(KINDS), 3))
    return make_pool(space, rng.normal(scale=0.1, size=(6, 3)))


def only(pool, rows):
    return make_pool(pool.space[rows], pool.known)


def test_kinds_without_labels_come_first_the_strangest_before_the_others(pool):
    # In whitened directions a kind is the farther the fewer images it has.
    assert KINDS[coverage(only(pool, KINDS < 3), 2)].tolist() == [2, 1]


def test_an_outlier_waits_for_the_clusters_and_novelty_takes_it_first(pool):
    assert set(KINDS[coverage(pool, 2)].tolist()) == {1, 2}
    assert KINDS[novelty(pool, 1)].tolist() == [3]
    assert sorted(coverage(pool, 69).tolist()) == list(range(69))  # in the end it comes as well


def test_classes_take_turns_in_proportion_and_each_ranks_by_its_evidence(rng):
    evidence = rng.normal(size=(60, 3))
    evidence[:30, 0] += 100
    evidence[30:, 2] += 100
    chosen = new_class(make_pool(np.zeros((60, 1)), (), evidence, [0.75, 0, 0.25]), 12)
    first, last = chosen[chosen < 30], chosen[chosen >= 30]
    assert first.tolist() == np.argsort(-evidence[:, 0])[:9].tolist()
    assert last.tolist() == np.argsort(-evidence[:, 2])[:3].tolist()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    # The last class is not wanted, and nothing is known of the second; ties go by position.
    [((1, 0, 0), [2, 3, 0]), ((0.5, 0.5, 0), [2, 1, 3, 0]), ((0, 0, 0), [])],
)
def test_only_images_with_evidence_of_a_wanted_class_are_offered(wanted, expected):
    nan = np.nan
    evidence = [[1, nan, nan], [nan, 3, nan], [2, nan, nan], [2, nan, 9]]
    assert new_class(make_pool(np.zeros((4, 1)), (), evidence, wanted), 9).tolist() == expected
    unknown = make_pool(np.zeros((4, 1)), (), np.full((4, 3), nan), wanted)
    assert new_class(unknown, 4).tolist() == []


TOY = """
from unseen.ranking.candidates import Criterion

CRITERION = Criterion(
    name="brightest",
    seeks="bright images",
    order=25,
    share="features",
    weight=7,
    choose=lambda pool, count: pool.described[:count],
    has_images=lambda pool: len(pool.described) > 0,
)
"""
RUN = """
import sys
import unseen.ranking.criteria as criteria

criteria.__path__.append(sys.argv[1])

from unseen.ranking.mixed import CRITERIA
from unseen.steps.select_batch import SelectResult

assert list(CRITERIA) == ["pixel", "novelty", "brightest", "coverage", "new_class"]
result = SelectResult(dataset="d", iteration=1, batch="b", strategy="mixed", sample_ids=[], pool=60,
                      criteria={"brightest": 7})
assert "7 for bright images" in result.summary()
"""


def test_a_new_criterion_is_one_file(tmp_path):
    (tmp_path / "brightest.py").write_text(TOY)
    run = [sys.executable, "-c", RUN, str(tmp_path)]
    finished = subprocess.run(run, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
