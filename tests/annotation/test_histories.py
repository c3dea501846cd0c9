"""Annotators, FiftyOne and loads take turns at random, against a small model of the server.

Whatever the order, nobody loses a box, and loading once at the end gives the same as loading often.
"""

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.annotation.merge import KnownBox, LocalBox, merge_image
from unseen.annotation.shapes import ServerBox

pytestmark = pytest.mark.timeout(0)  # a profile may ask for very many examples

CLASSES = ("cat", "dog", "unseen")
REAL = ("cat", "dog")


@dataclasses.dataclass
class Shape:
    """A shape on the server; `uid` follows it through new shape ids."""

    uid: int
    shape_id: int
    label: str
    box: tuple
    label_id: str | None
    attributes: dict = dataclasses.field(default_factory=dict)

    @property
    def value(self):
        return self.label, self.box, tuple(self.attributes.items())


class World:
    """One image that a server and FiftyOne hold: two labels, a suggestion and a prediction."""

    def __init__(self, unique, knows_shape_ids):
        self.unique = unique  # no two boxes ever have the same numbers
        self.counter = itertools.count(1)
        sent = [("label", "cat"), ("label", "dog"), ("suggestion", "unseen"), ("prediction", "cat")]
        self.base, self.server = [], []
        for i, (kind, label) in enumerate(sent):
            id_, box = f"{kind}{i}", self.box(3 * i, 1)
            self.server.append(Shape(next(self.counter), i, label, box, id_))
            shape_id = i if knows_shape_ids else None
            self.base.append(KnownBox(kind, id_, id_, shape_id, label, box, {}, kind == "label"))
        self.truth = [LocalBox(b.id, b.label, b.box) for b in self.base if b.in_truth]
        self.sent = (list(self.base), list(self.truth))
        self.seen = {s.uid: s.value for s in self.server}
        self.suggestion_ids = {"suggestion2"}
        self.local_only, self.must_hold, self.uid_of = {}, {}, {}
        self.was_unseen = set()

    def box(self, x, y):
        size = 0.1 + 0.002 * next(self.counter) if self.unique else 0.15
        return (0.05 * (x % 12), 0.05 * (y % 12), size, 0.15)

    # what annotators do

    def draw(self, pick, x, y):
        n = next(self.counter)
        self.server.append(Shape(n, 100 + n, CLASSES[pick % 3], self.box(x, y), None))

    def on_server(self, pick):
        return self.server[pick % len(self.server)]

    def move(self, pick, x, y):
        self.on_server(pick).box = self.box(x, y)

    def relabel(self, pick, x, y):
        self.on_server(pick).label = CLASSES[x % 3]

    def occlude(self, pick, x, y):
        self.on_server(pick).attributes = {"occluded": True} if x % 2 else {}

    def delete(self, pick, x, y):
        self.server.remove(self.on_server(pick))

    def copy(self, pick, x, y):
        n, original = next(self.counter), self.on_server(pick)
        box = self.box(x, y) if self.unique or x % 2 else original.box
        self.server.append(dataclasses.replace(original, uid=n, shape_id=100 + n, box=box))

    def renew(self, pick, x, y):
        self.on_server(pick).shape_id = 100 + next(self.counter)

    # what people do in FiftyOne

    def local_edit(self, pick, x, y):
        i = pick % len(self.truth)
        old = self.truth[i]
        label = REAL[x % 2]
        box = old.box if y % 3 == 0 and label != old.label else self.box(x, y)
        self.replace_local(old, LocalBox(old.id, label, box))

    def local_delete(self, pick, x, y):
        self.replace_local(self.truth[pick % len(self.truth)], None)

    def local_add(self, pick, x, y):
        box = LocalBox(f"local{next(self.counter)}", REAL[pick % 2], self.box(x, y))
        self.truth.append(box)
        self.local_only[box.id] = box

    def replace_local(self, old, new):
        i = self.truth.index(old)
        self.truth[i : i + 1] = [new] if new else []
        replaced = (old.label, old.box)
        self.must_hold = {u: value for u, value in self.must_hold.items() if value[:2] != replaced}
        if self.local_only.pop(old.id, None) and new:
            self.local_only[new.id] = new

    def act(self, action, pick, x, y):
        needs = self.truth if action in ("local_edit", "local_delete") else self.server
        if needs or action in ("draw", "local_add", "load"):
            getattr(self, action)(pick, x, y)

    # the load, with what must be true of every single one

    def merged(self, base, local):
        return merge_image(
            base,
            local,
            [ServerBox(s.label, s.box, s.shape_id, s.label_id, s.attributes) for s in self.server],
            new_id=lambda: f"id{next(self.counter)}",
        )

    def load(self, *_):
        merged = self.merged(self.base, self.truth)
        truth = [LocalBox(b.id, b.label, b.box) for b in merged.boxes]
        by_id = {box.id: box for box in truth}

        self.check_result(merged, truth, by_id)
        self.check_people_are_heard(merged, truth, by_id)
        self.check_tally(merged.changes)

        again = self.merged(merged.base, truth)
        assert [LocalBox(b.id, b.label, b.box) for b in again.boxes] == truth
        assert {b.origin for b in again.boxes} <= {"local"}
        assert again.base == merged.base
        assert not again.changes.edits

        self.base = [KnownBox.from_dict(b.to_dict()) for b in merged.base]
        self.truth = truth
        self.seen = {s.uid: s.value for s in self.server}
        self.uid_of = {b.id: s.uid for b, s in zip(merged.base, self.server, strict=True)}
        self.was_unseen |= {s.uid for s in self.server if s.label == "unseen"}
        return merged

    def check_result(self, merged, truth, by_id):
        assert len(by_id) == len(truth), "ids are unique"
        assert len({b.id for b in merged.base}) == len(merged.base)
        self.suggestion_ids |= {b.id for b in merged.base if b.kind == "suggestion"}
        assert not self.suggestion_ids & set(by_id)
        assert "unseen" not in {box.label for box in truth}
        assert [(b.label, b.box, b.shape_id, b.sent_id) for b in merged.base] == [
            (s.label, s.box, s.shape_id, s.label_id) for s in self.server
        ]
        assert [b.in_truth for b in merged.base] == [b.id in by_id for b in merged.base]
        ours = {box.id: box for box in self.truth}
        assert all(by_id[b.id] == ours[b.id] for b in merged.boxes if b.origin == "local")
        order = [box.id for box in self.truth if box.id in by_id]
        assert [box.id for box in truth][: len(order)] == order

    def check_people_are_heard(self, merged, truth, by_id):
        for box in self.local_only.values():
            assert by_id[box.id] == box
        if not self.unique:
            return
        real = {s.uid: s.value for s in self.server if s.label in REAL}
        self.must_hold = {
            uid: value
            for uid, value in real.items()
            if self.seen.get(uid) != value or self.must_hold.get(uid) == value
        }
        held = {(box.label, box.box) for box in truth}
        for label, box, _ in self.must_hold.values():
            assert (label, box) in held
        ours = {box.id: box for box in self.truth}
        for id_, uid in self.uid_of.items():
            if real.get(uid) is not None and real[uid] == self.seen[uid]:
                assert by_id.get(id_) == ours.get(id_), "untouched on the server: FiftyOne's stays"

    def check_tally(self, changes):
        kinds = Counter(b.kind for b in self.base)
        suggestions = changes.suggestions_left + changes.suggestions_rejected
        assert kinds["suggestion"] == suggestions + changes.suggestions_accepted.total()
        predictions = changes.predictions_kept + changes.predictions_changed
        assert kinds["prediction"] == (predictions + changes.predictions_deleted).total()
        if self.unique:
            assert bool(changes.edits) == (self.seen != {s.uid: s.value for s in self.server})

    def content(self):
        return Counter((box.label, box.box) for box in self.truth)


ON_SERVER = ("draw", "move", "relabel", "occlude", "delete", "copy", "renew")
IN_FIFTYONE = ("local_edit", "local_delete", "local_add")


def histories(*actions):
    numbers = [st.integers(0, 9), st.integers(0, 11), st.integers(0, 11)]
    return st.lists(st.tuples(st.sampled_from(actions), *numbers), min_size=2, max_size=25)


random_histories = settings(
    max_examples=4 * settings().max_examples, deadline=None, derandomize=True
)


@random_histories
@given(histories(*ON_SERVER, "load", "load"), st.booleans(), st.booleans())
def test_without_edits_in_fiftyone_it_does_not_matter_when_and_how_often_one_loads(
    history, unique, knows_shape_ids
):
    world = World(unique, knows_shape_ids)
    for action in history:
        world.act(*action)
    before = len(world.truth)
    changes = world.load().changes
    assert len(world.truth) - before == changes.added.total() - changes.deleted.total()
    assert (changes.kept_local, changes.conflicts) == (0, 0)

    once = world.merged(*world.sent)
    assert world.content() == Counter((b.label, b.box) for b in once.boxes)
    assert world.content() == Counter((s.label, s.box) for s in world.server if s.label in REAL)
    if "copy" not in [action for action, *_ in history]:
        held = {box.id: box for box in world.truth}
        for shape in world.server:
            if (shape.label_id or "").startswith("label") and shape.uid not in world.was_unseen:
                assert held[shape.label_id] == LocalBox(shape.label_id, shape.label, shape.box)


@random_histories
@given(histories(*ON_SERVER, *IN_FIFTYONE, "load", "load", "load"), st.booleans())
def test_whatever_both_sides_do_nobody_loses_a_box(history, knows_shape_ids):
    world = World(True, knows_shape_ids)
    for action in history:
        world.act(*action)
    world.load()
