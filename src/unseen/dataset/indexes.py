"""The questions about a loop that an index answers, and these indexes.

They hold only samples of which something is known, such as those with tags, so that a look at the
loop reads these and none of the plain ones in the pool. MongoDB takes one of them only for a query
that asks for no others, which is why each query here says so; a user's own view never does, and
keeps its order. Without the indexes, as in a dataset of an earlier version before its next step,
every answer is the same, but takes a look at every sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bson import MinKey, ObjectId
from pymongo import IndexModel

from unseen.dataset.fields import REMOVED, SENT, Names
from unseen.ranking import METRICS

if TYPE_CHECKING:
    from unseen.dataset.loop import Loop

Query = dict[str, Any]

#: What an image can be ranked by, in the grid too; the first one of every scored image.
RANKING = (*METRICS, "entropy", "foreground")
#: MongoDB allows 64 for a dataset; some are left to the user.
MOST_INDEXES = 48
#: A query may have 16 MB.
PATHS_AT_ONCE = 10_000
_TAGGED: Query = {"tags.0": {"$exists": True}}
_HANDED = {"$type": "string"}
_DOCUMENT = {"$type": "object"}
#: True of every iteration and of none, of every value and of none: they name paths of an index.
_ANY_ITERATION = {"$ne": -1}
_ANY_VALUE = {"$gte": MinKey()}


# --- queries ---------------------------------------------------------------------------------------
def tagged(*tags: str) -> Query:
    """Samples with one of these tags."""
    return {"tags": {"$in": list(tags)}, **_TAGGED}


def labels_set(names: Names) -> Query:
    """Samples whose label field is set."""
    return {names.label_field: _DOCUMENT, f"{names.labelled}.iteration": _ANY_ITERATION}


def labels_recorded(names: Names) -> Query:
    """Samples whose labels are on record."""
    return {names.labelled: _DOCUMENT, f"{names.labelled}.iteration": _ANY_ITERATION}


def scored(names: Names, mark: str, metric: str = RANKING[0]) -> Query:
    """Samples that were scored with a mark; the index has them in the order of the metric."""
    return {names.model: mark, names.metric(metric): _ANY_VALUE}


def handed_out(names: Names) -> Query:
    """Samples that are with the annotators, or that they removed."""
    return {names.annotation: {"$in": [SENT, REMOVED], **_HANDED}}


def not_plain(names: Names, tags: Sequence[str]) -> Query:
    """Samples with one of the loop's own tags, labels, a record of labels, or that are out or removed.

    Every other sample is unlabelled and in the pool.
    """
    known = [tagged(*tags), labels_set(names), labels_recorded(names), handed_out(names)]
    return {"$or": known}


# --- the pool --------------------------------------------------------------------------------------
def pool_ids(
    loop: Loop,
    positions: Sequence[int],
    *,
    only: Query | None = None,
    without: Collection[str] = (),
) -> list[str]:
    """Ids at the positions of the pool in directory order; `without` and all but `only` do not count.

    Only paths stream, of a whole dataset from their index: a million take a second. So a draw is the
    same in every database that holds the same paths.
    """
    if not positions:
        return []
    samples = loop.dataset._sample_collection
    pool = loop.pool.match(only or {})
    passed = _paths(samples, [{"$match": {"_id": {"$in": [ObjectId(i) for i in without]}}}])
    pipeline = pool._pipeline()
    if loop.is_whole and only is None:
        known = not_plain(loop.names, loop.own_tags)
        outside = _paths(samples, [{"$match": known}])
        for sample_id in _paths(samples, pool.match(known)._pipeline()):
            outside.pop(sample_id, None)
        passed, pipeline = passed | outside, []
    places, number = set(positions), -1
    found: dict[int, tuple[str, int]] = {}  # position -> path, and how many before have it too
    left, before = Counter(passed.values()), ("", 0)
    in_order = [*pipeline, {"$sort": {"filepath": 1}}, {"$project": {"_id": 0, "filepath": 1}}]
    for row in _stream(samples, in_order):
        path = row["filepath"]
        if left.get(path, 0) > 0:  # of several samples with one path, any
            left[path] -= 1
            continue
        number += 1
        before = (path, before[1] + 1 if before[0] == path else 0)
        if number in places:
            found[number] = before
        if len(found) == len(places):
            break
    ids: dict[str, list[str]] = {}
    paths = [path for path, _ in found.values()]
    for start in range(0, len(paths), PATHS_AT_ONCE):
        here = {"$match": {"filepath": {"$in": paths[start : start + PATHS_AT_ONCE]}}}
        for sample_id, path in sorted(_paths(samples, [here, *pipeline]).items()):
            if sample_id not in passed:
                ids.setdefault(path, []).append(str(sample_id))
    return [ids[found[p][0]][found[p][1]] for p in positions if p in found]


def _paths(samples: Any, pipeline: Sequence[Query]) -> dict[ObjectId, str]:
    rows = _stream(samples, [*pipeline, {"$project": {"filepath": 1}}])
    return {row["_id"]: row["filepath"] for row in rows}


def _stream(samples: Any, pipeline: Sequence[Query]) -> Iterator[Any]:
    # Without a size, the server sends 16 MB at once, which are many more as Python objects.
    rows: Iterator[Any] = samples.aggregate(pipeline, allowDiskUse=True, batchSize=5000)
    return rows


# --- indexes ---------------------------------------------------------------------------------------
def ensure(loop: Loop, metric: str = RANKING[0]) -> None:
    """Make the indexes that are missing, as far as there is room; `metric` ranks the pool."""
    names, samples = loop.names, loop.dataset._sample_collection
    handed_out = {names.annotation: _HANDED}
    wanted = [_index(names, _TAGGED, "tags"), _index(names, handed_out, names.annotation)]
    if loop.has_labels:
        labels = {"$or": [{names.label_field: _DOCUMENT}, {names.labelled: _DOCUMENT}]}
        wanted.append(_index(names, labels, f"{names.labelled}.iteration"))
    if loop.dataset.get_field(names.model) is not None:
        for path in dict.fromkeys([names.metric(RANKING[0]), names.metric(metric)]):
            some = {names.model: {"$gt": ""}, path: _ANY_VALUE}
            wanted.append(_index(names, some, names.model, path))
        wanted += [IndexModel(names.metric(one)) for one in RANKING]  # "Sort by" in the App
    known = samples.index_information()
    missing = [index for index in wanted if index.document["name"] not in known]
    missing = missing[: max(0, MOST_INDEXES - len(known))]
    if missing:
        samples.create_indexes(missing)


def drop(loop: Loop) -> None:
    """Remove the indexes of this prefix."""
    samples = loop.dataset._sample_collection
    for name in samples.index_information():
        if name.startswith(f"{loop.names.prefix}:"):
            samples.drop_index(name)


def _index(names: Names, some: Query, *paths: str) -> IndexModel:
    """An index of some samples, with a name that is ours."""
    keys = [(path, 1) for path in paths]
    name = f"{names.prefix}:{','.join(paths)}"
    return IndexModel(keys, name=name, partialFilterExpression=some)
