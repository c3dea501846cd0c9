"""What the database and the records say about a loop: everything that the rules decide from.

Everything is counted in the database, which reads the samples that are not plain ones of the pool
and looks into indexes for the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fiftyone.core.odm as foo
from bson import MinKey

from unseen.annotation.sendings import Sending, decoded
from unseen.dataset import indexes, structure
from unseen.dataset.fields import ITERATION_METHOD, REMOVED, SENDING_METHOD, SENT, Names
from unseen.dataset.loop import Loop, Record, records_by_series
from unseen.dataset.runs import stored_runs
from unseen.dataset.structure import StructureRecord
from unseen.loop.overview_data import CURRENT, NONE, OLD, Batch, Counts, Facts


# --- records ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Records:
    """What is recorded of one loop."""

    records: dict[int, Record]  #: iteration -> record, ascending
    all_series: dict[str, dict[int, Record]]  #: the same of every loop with this prefix
    sendings: dict[str, Sending]  #: annotation key -> how it was sent
    evaluations: dict[str, Record]  #: evaluation key -> FiftyOne's config
    structure: StructureRecord | None  #: what of an image counts

    def entries(self, step: str) -> Iterator[Record]:
        """The entries of a step, newest iteration first."""
        for record in reversed(self.records.values()):
            if step in record["steps"]:
                yield record["steps"][step]

    def newest(self, step: str) -> Record:
        """The newest entry of a step, or an empty one."""
        return next(self.entries(step), {})

    def newest_iteration(self, step: str) -> int | None:
        """The newest iteration with an entry of a step."""
        return max(
            (n for n, record in self.records.items() if step in record["steps"]), default=None
        )

    def batch(self, tag: str | None) -> Record:
        """The entry of `select_batch` that chose a batch, or an empty one."""
        entries = self.entries("select_batch")
        return next((e for e in entries if tag is not None and e.get("batch") == tag), {})


def read_records(loop: Loop) -> Records:
    """The records as the database holds them now."""
    names = loop.names
    by_series = records_by_series(loop.dataset, names.prefix)
    sendings: dict[str, Sending] = {}
    evaluations: dict[str, Record] = {}
    known = None
    others: dict[str, Any] = {"config.method": {"$ne": ITERATION_METHOD}}
    for key, config in stored_runs(loop.dataset, **others):
        if config.get("type") == "evaluation" or "pred_field" in config:
            evaluations[key] = config
        elif config.get("prefix") != names.prefix:
            continue
        elif config.get("method") == SENDING_METHOD and config.get("series") == names.series:
            sending = decoded(config["sending"])
            sendings[sending.anno_key] = sending
        elif key == names.structure_key:
            known = structure.decode(config)
    return Records(by_series.get(names.series, {}), by_series, sendings, evaluations, known)


#: Lists of ids; with each of them, a moment that is kept changes too.
_LONG = (
    *(f"config.steps.select_batch.{name}" for name in ("batch_ids", "sources")),
    "config.labelled_ids",
    "config.written",
)


def stamp(dataset: Any) -> str:
    """A digest that changes whenever a sample, a run or the dataset's own description does.

    It is made of what the database can answer from an index or from a few small documents.
    """
    samples = dataset._sample_collection
    newest: dict[str, Any] = next(
        samples.find({}, {"_id": 0, "last_modified_at": 1}).sort("last_modified_at", -1).limit(1),
        {},
    )
    about = foo.get_db_conn().datasets.find_one(
        {"_id": dataset._doc.id}, {"last_modified_at": 1, "last_deletion_at": 1, "classes": 1}
    )
    runs = stored_runs(dataset, without=_LONG)
    parts = [samples.estimated_document_count(), newest, about, runs]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


# --- how models and scores stand to the labels -----------------------------------------------------
@dataclass(frozen=True)
class ScoreState:
    """How the newest scores stand to the newest UNet."""

    state: str  #: one of STATES; "old" = by an earlier UNet, or under another zone
    mark: str | None  #: of the samples that the newest UNet scored; None before there is a UNet
    has_new_zone: bool  #: the newest UNet scored, but what counts was changed since


def score_state(records: Records) -> ScoreState:
    """Whether the newest scores are those of the newest UNet, under the zone that counts now.

    A UNet that the user named for the newest scoring counts as the newest.
    """
    unet, scores = records.newest("train_unet"), records.newest("score_samples")
    is_named = bool((scores.get("parameters") or {}).get("checkpoint"))
    is_newest = not unet or (is_named and _at(scores) >= _at(unet))
    digest = scores["digest"] if scores.get("digest") and is_newest else unet.get("digest")
    mark = structure.score_mark(str(digest), records.structure) if digest else None
    if not scores:
        return ScoreState(NONE, mark, False)
    scored = structure.scored_mark(scores)
    is_same_unet = mark is not None and scored[:12] == mark[:12]
    return ScoreState(CURRENT if scored == mark else OLD, mark, is_same_unet and scored != mark)


def freshness(
    records: Records, step: str, iteration: int, labels: tuple[int, int]
) -> tuple[str, int]:
    """Whether the newest model of `step` learned from the labels of `iteration` as they are now.

    Known by the numbers of labelled images and boxes, `labels`; a box that only moved does not
    count. Returns one of STATES, and how many images were labelled since.
    """
    number = records.newest_iteration(step)
    if number is None:
        return NONE, 0
    learned = tuple(records.newest(step).get("labelled") or (0, 0))
    if number < iteration or learned != labels:
        return OLD, labels[0] - learned[0]
    return CURRENT, 0


def measured(records: Records, iteration: int) -> tuple[bool, bool]:
    """Whether the detector of an iteration predicted on the test split, and was measured there."""
    steps = records.records.get(iteration, {"steps": {}})["steps"]
    trained = _at(steps.get("train_detector"))
    if not trained:
        return False, False
    is_measured = _at(steps.get("evaluate_detector")) >= trained
    applied = steps.get("apply_detector") or {}
    is_on_test = (applied.get("parameters") or {}).get("target") == "test"
    return is_measured or (is_on_test and _at(applied) >= trained), is_measured


def _at(entry: Mapping[str, Any] | None) -> str:
    return str((entry or {}).get("at", ""))


# --- samples ---------------------------------------------------------------------------------------
def place_of(tags: frozenset[str], is_labelled: bool, state: str | None, names: Names) -> str:
    """The one place of a sample: test, excluded, labelled, out, or pool (as `Loop.pool`)."""
    if names.test_tag in tags:
        return "test"
    if names.excluded_tag in tags:
        return "excluded"
    if is_labelled:
        return "labelled"
    return {REMOVED: "excluded", SENT: "out"}.get(state or "", "pool")


@dataclass(frozen=True)
class Kind:
    """What a sample is to the loop."""

    tags: frozenset[str]  #: those that mean something to the loop
    is_labelled: bool
    is_scored: bool  #: with the mark that was asked for
    place: str

    @staticmethod
    def expression(loop: Loop, mark: str | None) -> dict[str, Any]:
        """The MongoDB expression that `read` reads."""
        names = loop.names
        return {
            "tags": {"$setIntersection": [{"$ifNull": ["$tags", []]}, loop.own_tags]},
            "labelled": loop.is_labelled,
            "state": {"$ifNull": [f"${names.annotation}", None]},
            "scored": {"$eq": [f"${names.model}", mark]} if mark else {"$literal": False},
        }

    @classmethod
    def read(cls, row: Mapping[str, Any], names: Names) -> Kind:
        """The kind from a value of `expression`."""
        tags, is_labelled = frozenset(row["tags"]), bool(row["labelled"])
        place = place_of(tags, is_labelled, row["state"], names)
        return cls(tags, is_labelled, bool(row["scored"]), place)


@dataclass(frozen=True)
class _Group:
    """Samples of one kind."""

    kind: Kind
    images: int
    boxes: int


def read_facts(loop: Loop, records: Records) -> Facts:
    """Counts, the newest batch, and how models and scores stand to the labels."""
    names, scores = loop.names, score_state(records)
    groups = _groups(loop, scores.mark)
    numbers = {n: tag for g in groups for tag in g.kind.tags if (n := names.batch_number(tag))}
    labelled = {tag for g in groups if g.kind.is_labelled for tag in g.kind.tags}
    iteration = max((n for n, tag in numbers.items() if tag in labelled), default=0)
    counts = _counts(groups, names)
    number = max(numbers, default=0)
    tag = numbers.get(number, names.initial_tag)
    batch = _batch(groups, tag, number, records, records.sendings.get(batch_key(names, number)))
    test = records.sendings.get(names.own_anno_key("test"))
    labels = (counts.labelled, counts.boxes)
    unet, new_images = freshness(records, "train_unet", iteration, labels)
    detector, _ = freshness(records, "train_detector", iteration, labels)
    is_applied, is_evaluated = measured(records, iteration)
    return Facts(
        counts=counts,
        iteration=iteration,
        is_split=counts.test > 0 or counts.initial > 0,
        batch=batch if batch.images or number else None,
        test_backend=test.backend if test is not None and test.complete else None,
        unet=unet,
        new_images=new_images,
        scores=scores.state,
        has_new_zone=scores.has_new_zone,
        detector=detector,
        is_applied=is_applied,
        is_evaluated=is_evaluated,
    )


def batch_key(names: Names, number: int) -> str:
    """The annotation key of a batch; 0 = the initial images."""
    return names.anno_key(number) if number else names.own_anno_key("initial")


def pool_sizes(loop: Loop, mark: str | None) -> tuple[int, int]:
    """Numbers of images in the pool of the view, and of those of them with a mark."""
    if loop.is_whole:
        counts = _counts(_groups(loop, mark), loop.names)
        return counts.pool, counts.pool - counts.unscored
    is_scored = {"$cond": [{"$eq": [f"${loop.names.model}", mark]}, 1, 0]} if mark else 0
    group = {"_id": None, "size": {"$sum": 1}, "scored": {"$sum": is_scored}}
    pipeline = [*loop.pool._pipeline(), {"$group": group}]
    row = next(loop.dataset._sample_collection.aggregate(pipeline), {"size": 0, "scored": 0})
    return row["size"], row["scored"]


def _groups(loop: Loop, mark: str | None) -> list[_Group]:
    """All samples of the dataset by kind; the plain ones of the pool are what the others leave."""
    samples = loop.dataset._sample_collection
    boxes = {"$ifNull": [f"${loop.names.label_field}.detections", []]}
    group = {
        "_id": Kind.expression(loop, mark),
        "images": {"$sum": 1},
        "boxes": {"$sum": {"$cond": [{"$isArray": boxes}, {"$size": boxes}, 0]}},
    }
    rows = samples.aggregate(
        [{"$match": indexes.not_plain(loop.names, loop.own_tags)}, {"$group": group}]
    )
    groups = [_Group(Kind.read(r["_id"], loop.names), r["images"], r["boxes"]) for r in rows]
    # Counted in an index; what the database keeps as its size is wrong after a crash.
    images = samples.count_documents({"_id": {"$gte": MinKey()}})
    scored = samples.count_documents(indexes.scored(loop.names, mark)) if mark else 0
    plain = images - sum(g.images for g in groups)
    plain_scored = scored - sum(g.images for g in groups if g.kind.is_scored)
    for is_scored, count in ((True, plain_scored), (False, plain - plain_scored)):
        kind = Kind(frozenset(), is_labelled=False, is_scored=is_scored, place="pool")
        groups.append(_Group(kind, max(0, count), 0))
    return groups


def _counts(groups: list[_Group], names: Names) -> Counts:
    images: Counter[str] = Counter()
    for group in groups:
        kind = group.kind
        images[kind.place] += group.images
        images["unscored"] += group.images * (kind.place == "pool" and not kind.is_scored)
        images["test_unlabelled"] += group.images * (kind.place == "test" and not kind.is_labelled)
        if names.initial_tag in kind.tags:
            images["initial"] += group.images
            images["initial_unlabelled"] += group.images * (not kind.is_labelled)
    return Counts(
        images=sum(g.images for g in groups),
        boxes=sum(g.boxes for g in groups if g.kind.place == "labelled"),
        **images,
    )


def _batch(
    groups: list[_Group], tag: str, number: int, records: Records, sending: Sending | None
) -> Batch:
    images: Counter[str] = Counter()
    for group in groups:
        if tag in group.kind.tags:
            gone = group.kind.place == "excluded"
            part = "removed" if gone else "labelled" if group.kind.is_labelled else "unlabelled"
            images[part] += group.images
    tasks = sending.live_tasks if sending else []
    return Batch(
        name=tag,
        number=number,
        images=images.total(),
        labelled=images["labelled"],
        removed=images["removed"],
        sent=len(sending.sent_ids()) if sending else 0,
        backend=sending.backend if sending else None,
        complete=bool(sending and sending.complete),
        closed=bool(sending and sending.closed),
        strategy=(records.batch(tag).get("parameters") or {}).get("strategy"),
        url=next((task.url for task in tasks), sending.url if sending else None),
        age_days=sending.age_days if sending else None,
    )
