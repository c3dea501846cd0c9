"""Three-way merge of the boxes of one image: what we knew, what FiftyOne and what the server hold.

Annotators and dataset owners may work at the same time, and annotations may be loaded any number of
times. Each load therefore compares the server with its state at the previous load (`base`): changes
made there are taken over, and where nothing changed, FiftyOne's own box stays, edited or deleted as
it may be. No box drawn by a person is lost on either side, and loading twice equals loading once.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from unseen.annotation.matching import Sorted, match
from unseen.annotation.shapes import SCORE, Box, ServerBox, clip_box

Kind = Literal["label", "suggestion", "prediction"]

#: Largest difference per number between equal boxes: coordinates travel as decimal text.
SAME = 1e-5
#: A new box this close to one in FiftyOne was loaded by other means.
ADOPT = 1e-3


@dataclass(frozen=True)
class KnownBox:
    """A box on the server as it was sent or last loaded."""

    kind: Kind
    id: str  #: of the label in FiftyOne
    sent_id: str | None  #: the value of the shape's `label_id` attribute
    shape_id: int | None
    label: str
    box: Box
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    in_truth: bool = False  #: the labels in FiftyOne held it at that time

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**vars(self), "box": list(self.box), "attributes": dict(self.attributes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KnownBox:
        """The inverse of `to_dict`."""
        return cls(**{**data, "box": tuple(data["box"])})


def without_values(box: KnownBox) -> KnownBox:
    """The box without what CVAT keeps in attributes; `occluded` is none."""
    kept = {name: value for name, value in box.attributes.items() if name == "occluded"}
    return dataclasses.replace(box, sent_id=None, attributes=kept)


@dataclass(frozen=True)
class LocalBox:
    """A label in FiftyOne."""

    id: str
    label: str
    box: Box


@dataclass(frozen=True)
class MergedBox:
    """A label after the merge.

    `origin` "local" keeps FiftyOne's label as it is; "server" writes it, whether or not a label of
    this id exists. `attributes` are the server's, empty for a box unknown there.
    """

    id: str
    label: str
    box: Box
    attributes: Mapping[str, str | bool]
    origin: Literal["local", "server"]


@dataclass
class Changes:
    """Counts of what annotators did since the last load, and of local edits that stay.

    Each suggestion is accepted, left or rejected; each prediction is kept, changed or deleted.
    Those that became labels also count as added.
    """

    added: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)  #: by the new class
    deleted: Counter[str] = field(default_factory=Counter)
    suggestions_accepted: Counter[str] = field(default_factory=Counter)  #: by the class given
    suggestions_left: int = 0
    suggestions_rejected: int = 0
    predictions_kept: Counter[str] = field(default_factory=Counter)
    predictions_changed: Counter[str] = field(default_factory=Counter)  #: by the new class
    predictions_deleted: Counter[str] = field(default_factory=Counter)
    hand_drawn_suggestions: int = 0  #: boxes drawn with the suggestion class
    kept_local: int = 0  #: edits and deletions in FiftyOne that stay
    conflicts: int = 0  #: boxes changed on both sides
    edits: int = 0  #: boxes drawn, changed or deleted on the server

    def __add__(self, other: Changes) -> Changes:
        return Changes(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Merged:
    """The result of `merge_image`; boxes and base are to be stored together."""

    boxes: list[MergedBox]  #: the labels: FiftyOne's in their order, then the new ones
    base: list[KnownBox]  #: what the server holds now, for the next merge
    changes: Changes
    #: Labels that annotators drew or changed: id -> the known box that it was, None if drawn.
    sources: dict[str, KnownBox | None]


def merge_image(
    base: Sequence[KnownBox],
    local: Sequence[LocalBox],
    server: Sequence[ServerBox],
    *,
    new_id: Callable[[], str],
    suggestion_class: str = "unseen",
    vanished_classes: Collection[str] = (),
) -> Merged:
    """Take over what annotators did on the server since the last load.

    `base` is what the server held then, `local` what FiftyOne holds now, `server` what the server
    holds now. `new_id` makes ids for new labels. Boxes of `suggestion_class` never become labels.
    `vanished_classes` were deleted on the server, which deleted their boxes there; ours stay.
    """
    merge = _Merge(base, local, new_id, suggestion_class)
    pairs = match(base, server)
    merge.owned |= {base[b].id for b in pairs.values() if base[b].kind == "prediction"}
    for i, box in enumerate(server):
        merge.take(box, base[pairs[i]] if i in pairs else None)
    taken = set(pairs.values())
    for i, known in enumerate(base):
        if i in taken:
            continue
        if known.label in vanished_classes:
            merge.keep(known)
        else:
            merge.changes.edits += 1
            merge.drop(known)
    return merge.result()


def same_box(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes, once clipped, differ by at most SAME in each number."""
    first, second = clip_box(a) or a, clip_box(b) or b
    return all(abs(u - v) <= SAME for u, v in zip(first, second, strict=True))


class _Merge:
    """The decisions of one merge so far."""

    def __init__(
        self,
        base: Sequence[KnownBox],
        local: Sequence[LocalBox],
        new_id: Callable[[], str],
        suggestion_class: str,
    ) -> None:
        self.boxes = local
        held = defaultdict(list)
        for box in local:
            held[box.label].append(box)
        self.held = {
            label: (boxes, Sorted([clip_box(b.box) or b.box for b in boxes]))
            for label, boxes in held.items()
        }
        self.local = {box.id: box for box in local}
        #: Labels that a known box decides on; only the others can be adopted by a new box.
        self.owned = {b.id for b in base if b.kind == "label"}
        self.new_id = new_id
        self.suggestion_class = suggestion_class
        self.changes = Changes()
        self.base: list[KnownBox] = []
        self.written: dict[str, ServerBox] = {}  # by id, in the server's order
        self.sources: dict[str, KnownBox | None] = {}
        self.deleted: set[str] = set()

    def take(self, box: ServerBox, known: KnownBox | None) -> None:
        """Decide on a box on the server."""
        if known is None or not _same(box, known):
            self.changes.edits += 1
        if box.label == self.suggestion_class:
            self._take_suggestion(box, known)
        elif known is None:
            self._add(box)
        elif known.kind == "suggestion":
            self.changes.suggestions_accepted[box.label] += 1
            self._add(box, known)
        elif known.kind == "prediction":
            self._take_prediction(box, known)
        else:
            self._take_label(box, known)

    def drop(self, known: KnownBox) -> None:
        """Decide on a known box that is gone or was turned into a suggestion."""
        ours = self.local.get(known.id)
        if known.kind == "suggestion":
            self.changes.suggestions_rejected += 1
        elif known.kind == "prediction":
            self.changes.predictions_deleted[known.label] += 1
        elif ours is not None and (_differs(ours, known) or not known.in_truth):
            self.changes.kept_local += 1
            self.changes.conflicts += 1
        else:
            self.changes.deleted[known.label] += 1
            self.deleted.add(known.id)

    def keep(self, known: KnownBox) -> None:
        """Keep a known box that vanished with its class; nobody judged it."""
        if known.kind == "label":
            ours = self.local.get(known.id)
            self.changes.kept_local += _differs(ours, known)
            known = dataclasses.replace(known, in_truth=ours is not None)
        self.base.append(known)

    def result(self) -> Merged:
        attributes = {b.id: b.attributes for b in self.base if b.in_truth}
        boxes = []
        for box in self.boxes:
            if box.id in self.written:
                boxes.append(_from_server(box.id, self.written[box.id]))
            elif box.id not in self.deleted:
                known = attributes.get(box.id, {})
                boxes.append(MergedBox(box.id, box.label, box.box, known, "local"))
        boxes += [_from_server(i, s) for i, s in self.written.items() if i not in self.local]
        return Merged(boxes, self.base, self.changes, self.sources)

    def _take_suggestion(self, box: ServerBox, known: KnownBox | None) -> None:
        if known is not None and known.kind == "suggestion":
            self.changes.suggestions_left += 1
            self._remember(box, known.id, kind="suggestion", in_truth=False)
            return
        self.changes.hand_drawn_suggestions += 1
        if known is not None:
            self.drop(known)
        # A new id even for a former label, which FiftyOne keeps if it was edited there.
        self._remember(box, self.new_id(), kind="suggestion", in_truth=False)

    def _take_prediction(self, box: ServerBox, known: KnownBox) -> None:
        if _same(box, known):
            self.changes.predictions_kept[box.label] += 1
        else:
            self.changes.predictions_changed[box.label] += 1
        if known.id in self.local:  # loaded by other means, and perhaps edited since
            self.changes.added[box.label] += 1
            self._take_label(box, known)
        else:
            self._add(box, known)

    def _take_label(self, box: ServerBox, known: KnownBox) -> None:
        """Decide on a box that both sides may have changed."""
        ours = self.local.get(known.id)
        if _same(box, known):
            self.changes.kept_local += _differs(ours, known)
            # The old numbers stay, so that rounding cannot add up from load to load.
            self._remember(box, known.id, in_truth=ours is not None, box=known.box)
            return
        if known.kind == "label":
            self.changes.changed[box.label] += 1
        agree = ours is not None and ours.label == box.label and same_box(ours.box, box.box)
        if not agree:
            self.changes.conflicts += _differs(ours, known)
        if not agree or dict(box.attributes) != dict(known.attributes):
            self.written[known.id] = box
            self.sources[known.id] = known
        self._remember(box, known.id, in_truth=True)

    def _add(self, box: ServerBox, known: KnownBox | None = None) -> None:
        """Add a label; if FiftyOne already holds it under an id of its own, use that one."""
        self.changes.added[box.label] += 1
        twin = None
        if box.label in self.held:
            boxes, places = self.held[box.label]
            near = places.like(clip_box(box.box) or box.box, ADOPT)
            twin = next((boxes[i] for i in near if boxes[i].id not in self.owned), None)
        own = known.id if known is not None and known.kind == "prediction" else None
        id_ = twin.id if twin else own or self.new_id()
        self.owned.add(id_)
        self.sources[id_] = known
        if twin is None or box.attributes or not same_box(twin.box, box.box):
            self.written[id_] = box
        self._remember(box, id_, in_truth=True)

    def _remember(
        self,
        server: ServerBox,
        id_: str,
        *,
        in_truth: bool,
        kind: Kind = "label",
        box: Box | None = None,
    ) -> None:
        """Add what the server holds to the next base."""
        self.base.append(
            KnownBox(
                kind,
                id_,
                server.label_id,
                server.shape_id,
                server.label,
                box or server.box,
                server.attributes,
                in_truth,
            )
        )


def _same(box: ServerBox, known: KnownBox) -> bool:
    """Whether the server still holds what it held; the score of a suggestion says nothing."""
    ours = {SCORE: ""} if known.kind == "suggestion" else {}
    is_alike = {**box.attributes, **ours} == {**known.attributes, **ours}
    return box.label == known.label and is_alike and same_box(box.box, known.box)


def _differs(ours: LocalBox | None, known: KnownBox) -> bool:
    """Whether FiftyOne holds something else than the server held."""
    return ours is None or ours.label != known.label or not same_box(ours.box, known.box)


def _from_server(id_: str, box: ServerBox) -> MergedBox:
    return MergedBox(id_, box.label, box.box, box.attributes, "server")
