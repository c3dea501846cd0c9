"""What an index answers is what every sample together would; nobody's own view changes its order."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.dataset import indexes, labelling
from unseen.dataset.fields import REMOVED, SENT, Names
from unseen.dataset.loop import Loop
from unseen.loop.facts import pool_sizes, read_facts, read_records

pytestmark = pytest.mark.fiftyone

NAMES = Names()
MARK = "abcdef012345"
TAGS = ((), ("test",), ("initial",), ("excluded",), ("mine",), ("mine", "test"))
LABELS = (
    None,
    {"_cls": "Detections", "detections": []},
    {"detections": None},  # as map_labels().save() leaves it
    {"_cls": "Detections", "detections": [{"label": "particle"}, {"label": "scratch"}]},
)
RECORDS = (None, {"step": "test", "iteration": 0})
STATES = (None, SENT, REMOVED, "loaded")
MARKS = (None, MARK, "another")


@pytest.fixture
def loop():
    """Every combination of tags, labels, records, states and marks, in no order."""
    dataset = fo.Dataset()
    kinds = [
        (t, k, r, s, m)
        for t in TAGS
        for k in LABELS
        for r in RECORDS
        for s in STATES
        for m in MARKS
    ]
    dataset.add_samples(
        [fo.Sample(filepath=f"/{i * 241 % len(kinds):04d}.png") for i in range(len(kinds))],
        progress=False,
    )
    loop = Loop(dataset)
    dataset.add_sample_field(NAMES.label_field, fo.EmbeddedDocumentField, fo.Detections)
    labelling.declare(loop)
    for name in (NAMES.annotation, NAMES.model):
        dataset.add_sample_field(name, fo.StringField)
    dataset.add_sample_field(NAMES.excess, fo.FloatField)
    samples = dataset._sample_collection
    for i, (tags, labels, record, state, mark) in enumerate(kinds):
        values = {NAMES.label_field: labels, NAMES.labelled: record, NAMES.annotation: state}
        values |= {NAMES.model: mark, "tags": list(tags), NAMES.excess: i % 7 / 2}
        samples.update_one({"filepath": f"/{i:04d}.png"}, {"$set": values})
    loop.write_entry(0, "train_unet", {"digest": MARK})
    loop.write_entry(0, "score_samples", {"digest": MARK})
    yield loop
    dataset.delete()


def answers(loop):
    facts = read_facts(loop, read_records(loop))
    chosen = {name: sorted(view.values("id")) for name, view in views(loop).items()}
    return facts, chosen, loop.label_counts(), labelling.notes(loop), labelling.ids_until(loop, 0)


def views(loop):
    return {"pool": loop.pool, "labelled": loop.labelled, "test": loop.test}


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("only", [None, {NAMES.model: MARK}])
def test_positions_of_the_pool_count_by_path_without_what_is_left_out(loop, rng, is_whole, only):
    if not is_whole:
        loop = loop.on(loop.dataset.match_tags(["mine", "initial"]).sort_by("unseen_excess"))
    samples = loop.dataset._sample_collection
    for one, other in (("/0000.png", "/0072.png"), ("/0001.png", "/0002.png")):
        samples.update_one(
            {"filepath": one}, {"$set": {"filepath": other}}
        )  # twice, in the pool and out
    pool = sorted(zip(*loop.pool.match(only or {}).values(["filepath", "id"]), strict=True))
    ids = [sample_id for _, sample_id in pool]
    without = ids[2:20:5]
    left = [i for i in ids if i not in without]
    order = rng.permutation(len(left)).tolist()
    for _ in range(2):  # without indexes, and with them
        drawn = indexes.pool_ids(loop, order, only=only, without=without)
        assert drawn == [left[i] for i in order]
        assert indexes.pool_ids(loop, order[:3], only=only, without=without) == drawn[:3]
        assert indexes.pool_ids(loop, [], only=only) == []
        indexes.ensure(loop)


def test_what_indexes_answer_is_what_a_look_at_every_sample_does(loop):
    without = answers(loop)
    indexes.ensure(loop)
    assert answers(Loop(loop.dataset)) == without
    facts, chosen, *_ = without
    assert facts.counts.pool == len(chosen["pool"])
    assert facts.counts.labelled == len(chosen["labelled"])
    assert facts.counts.test == len(chosen["test"])
    scored = len(loop.pool.match({NAMES.model: MARK}))
    assert facts.counts.unscored == len(chosen["pool"]) - scored
    # Of a view, every sample is looked at.
    assert pool_sizes(loop, MARK) == pool_sizes(Loop(loop.dataset.view()), MARK)


@pytest.mark.parametrize(
    "query",
    [
        indexes.tagged("test", "initial"),
        indexes.labels_set(NAMES),
        indexes.labels_recorded(NAMES),
        indexes.handed_out(NAMES),
        indexes.scored(NAMES, MARK),
        indexes.not_plain(NAMES, ["test", "initial"]),
    ],
)
def test_no_question_looks_at_every_sample(loop, query):
    indexes.ensure(loop)
    plan = loop.dataset._sample_collection.find(query).explain()
    assert "COLLSCAN" not in str(plan)
    assert plan["executionStats"]["nReturned"] > 0


@pytest.mark.parametrize(
    "stage",
    [
        fo.MatchTags(["mine", "initial"]),
        fo.MatchTags("test", bool=False),
        fo.Match({NAMES.model: MARK}),
        fo.Match({NAMES.annotation: {"$in": [SENT, REMOVED]}}),
        fo.Exists(NAMES.labelled),
    ],
)
def test_a_view_of_the_users_keeps_its_order(loop, stage):
    before = loop.dataset.add_stage(stage).values("id")
    indexes.ensure(loop)
    assert loop.dataset.add_stage(stage).values("id") == before
    assert len(before) > 2


def test_cleaning_removes_our_indexes_and_no_other(wafers):
    wafers.create_index("tags")
    before = set(wafers._sample_collection.index_information())
    unseen.split_dataset(wafers, initial=1)
    names = set(wafers._sample_collection.index_information()) - before
    assert {name.split(":")[0] for name in names} == {"unseen"}
    unseen.clean_dataset(wafers)
    assert set(wafers._sample_collection.index_information()) == before


def test_what_only_looks_makes_no_index(wafers):
    before = wafers._sample_collection.index_information()
    unseen.prepare_dataset(wafers, initial=1, dry_run=True)
    unseen.overview.now(wafers)
    assert wafers._sample_collection.index_information() == before
    unseen.prepare_dataset(wafers, initial=1)
    assert len(wafers._sample_collection.index_information()) == len(before) + 3
