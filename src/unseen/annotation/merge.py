"""Three-way merge of the boxes of one image: what we knew, what FiftyOne holds, what the server holds.

Annotators and the owners of the dataset may work at the same time, and annotations may be loaded
any number of times. So each load compares the server with what it held at the last look (`base`):
what people changed there since then is taken over; where they changed nothing, FiftyOne's own box
stays, edited or deleted as it may be. Nothing that a person drew is lost on either side, and
loading twice is loading once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unseen.annotation.changes import Changes
from unseen.annotation.extents import Box
from unseen.annotation.matching import Kind, KnownBox, match, overlap, same_box
from unseen.annotation.shapes import FoundBox

__all__ = ["Changes", "KnownBox", "LocalBox", "Merged", "MergedBox", "merge_image"]

#: A new box this close to one that FiftyOne holds already was loaded by other means.
ADOPT = 1e-3


@dataclass(frozen=True)
class LocalBox:
    """A box that FiftyOne holds in the ground truth now."""

    id: str
    label: str
    box: Box


@dataclass(frozen=True)
class MergedBox:
    """A box of the new ground truth.

    `origin` "local" leaves FiftyOne's own label as it is; "server" writes it, whether or not a
    label of this id exists. `attributes` are those on the server, empty for a box unknown there.
    """

    id: str
    label: str
    box: Box
    attributes: Mapping[str, str | bool]
    origin: Literal["local", "server"]


@dataclass(frozen=True)
class Merged:
    """The result of `merge_image`."""

    boxes: list[MergedBox]  #: the ground truth: FiftyOne's order, then what is new
    base: list[KnownBox]  #: what the server holds now; the `base` of the next merge
    changes: Changes


def merge_image(
    base: Sequence[KnownBox],
    local: Sequence[LocalBox],
    found: Sequence[FoundBox],
    *,
    new_id: Callable[[], str],
    suggestion_class: str = "unseen",
    vanished_classes: Collection[str] = (),
) -> Merged:
    """Take over what annotators did on the server since the last look at it.

    Args:
        base: what the server held then, or what was sent.
        local: what the ground truth holds now.
        found: what the server holds now.
        new_id: makes an id for a label that FiftyOne does not have yet.
        suggestion_class: boxes of this class never become ground truth.
        vanished_classes: classes that were deleted on the server, which deletes their boxes there;
            ours stay.

    Returns:
        The new ground truth, the new base (both are to be stored together), and the tally.
    """
    merge = _Merge(base, local, new_id, suggestion_class)
    pairs = match(base, found)
    merge.owned |= {base[b].id for b in pairs.values() if base[b].kind == "prediction"}
    for i, f in enumerate(found):
        merge.take(f, base[pairs[i]] if i in pairs else None)
    taken = set(pairs.values())
    for i, b in enumerate(base):
        if i in taken:
            continue
        if b.label in vanished_classes:
            merge.keep(b)
        else:
            merge.changes.edits += 1
            merge.drop(b)
    return merge.result()


class _Merge:
    """The state of one merge: what was decided so far."""

    def __init__(
        self,
        base: Sequence[KnownBox],
        local: Sequence[LocalBox],
        new_id: Callable[[], str],
        suggestion_class: str,
    ) -> None:
        self.boxes = local
        self.local = {box.id: box for box in local}
        #: Labels whose fate their known box decides; the other local ones may be adopted.
        self.owned = {b.id for b in base if b.kind == "label"}
        self.new_id = new_id
        self.suggestion_class = suggestion_class
        self.changes = Changes()
        self.base: list[KnownBox] = []
        self.written: dict[str, FoundBox] = {}  # by id, in the server's order
        self.deleted: set[str] = set()

    def take(self, f: FoundBox, b: KnownBox | None) -> None:
        """Decide on a box that the server holds; `b` is what we knew of it."""
        if b is None or not _same(f, b):
            self.changes.edits += 1
        if f.label == self.suggestion_class:
            self._take_suggestion(f, b)
        elif b is None:
            self._add(f)
        elif b.kind == "suggestion":
            self.changes.suggestions_accepted[f.label] += 1
            self._add(f)
        elif b.kind == "prediction":
            self._take_prediction(f, b)
        else:
            self._take_label(f, b)

    def drop(self, b: KnownBox) -> None:
        """Decide on a known box that is no longer what it was: gone, or now a suggestion."""
        ours = self.local.get(b.id)
        if b.kind == "suggestion":
            self.changes.suggestions_rejected += 1
        elif b.kind == "prediction":
            self.changes.predictions_deleted[b.label] += 1
        elif ours is not None and (_differs(ours, b) or not b.in_truth):
            self.changes.kept_local += 1
            self.changes.conflicts += 1
        else:
            self.changes.deleted[b.label] += 1
            self.deleted.add(b.id)

    def keep(self, b: KnownBox) -> None:
        """Keep a known box that went with its class: nobody gave a verdict on it."""
        if b.kind == "label":
            ours = self.local.get(b.id)
            self.changes.kept_local += _differs(ours, b)
            b = dataclasses.replace(b, in_truth=ours is not None)
        self.base.append(b)

    def result(self) -> Merged:
        """The decisions, put together."""
        attributes = {b.id: b.attributes for b in self.base if b.in_truth}
        boxes = []
        for box in self.boxes:
            if box.id in self.written:
                boxes.append(_from_server(box.id, self.written[box.id]))
            elif box.id not in self.deleted:
                known = attributes.get(box.id, {})
                boxes.append(MergedBox(box.id, box.label, box.box, known, "local"))
        boxes += [_from_server(i, f) for i, f in self.written.items() if i not in self.local]
        return Merged(boxes, self.base, self.changes)

    def _take_suggestion(self, f: FoundBox, b: KnownBox | None) -> None:
        if b is not None and b.kind == "suggestion":
            self.changes.suggestions_left += 1
            self._remember(f, b.id, kind="suggestion", in_truth=False)
            return
        self.changes.hand_drawn_suggestions += 1
        if b is not None:
            self.drop(b)
        # A new id even for what was a label: FiftyOne may keep the label, if it was edited there.
        self._remember(f, self.new_id(), kind="suggestion", in_truth=False)

    def _take_prediction(self, f: FoundBox, b: KnownBox) -> None:
        if _same(f, b):
            self.changes.predictions_kept[f.label] += 1
        else:
            self.changes.predictions_changed[f.label] += 1
        if b.id in self.local:  # loaded by other means, and perhaps edited since
            self.changes.added[f.label] += 1
            self._take_label(f, b)
        else:
            self._add(f, b.id)

    def _take_label(self, f: FoundBox, b: KnownBox) -> None:
        """A box that FiftyOne and the server may both have changed."""
        ours = self.local.get(b.id)
        if _same(f, b):
            self.changes.kept_local += _differs(ours, b)
            # The old numbers stay, so that rounding cannot add up from one load to the next.
            self._remember(f, b.id, in_truth=ours is not None, box=b.box)
            return
        if b.kind == "label":
            self.changes.changed[f.label] += 1
        agree = ours is not None and ours.label == f.label and same_box(ours.box, f.box)
        if not agree:
            self.changes.conflicts += _differs(ours, b)
        if not agree or dict(f.attributes) != dict(b.attributes):
            self.written[b.id] = f
        self._remember(f, b.id, in_truth=True)

    def _add(self, f: FoundBox, id_: str | None = None) -> None:
        """A new label; if FiftyOne holds it already under an id of its own, that one is used."""
        self.changes.added[f.label] += 1
        twins = [
            box
            for box in self.boxes
            if box.id not in self.owned and box.label == f.label and same_box(box.box, f.box, ADOPT)
        ]
        twin = max(twins, key=lambda box: overlap(box.box, f.box), default=None)
        id_ = twin.id if twin else id_ or self.new_id()
        self.owned.add(id_)
        if twin is None or f.attributes or not same_box(twin.box, f.box):
            self.written[id_] = f
        self._remember(f, id_, in_truth=True)

    def _remember(
        self,
        f: FoundBox,
        id_: str,
        *,
        in_truth: bool,
        kind: Kind = "label",
        box: Box | None = None,
    ) -> None:
        """Add to the next base what the server holds."""
        self.base.append(
            KnownBox(
                kind, id_, f.label_id, f.shape_id, f.label, box or f.box, f.attributes, in_truth
            )
        )


def _same(f: FoundBox, b: KnownBox) -> bool:
    """Whether the server still holds what it held."""
    return (
        f.label == b.label and same_box(f.box, b.box) and dict(f.attributes) == dict(b.attributes)
    )


def _differs(ours: LocalBox | None, b: KnownBox) -> bool:
    """Whether FiftyOne holds something else than the server held."""
    return ours is None or ours.label != b.label or not same_box(ours.box, b.box)


def _from_server(id_: str, f: FoundBox) -> MergedBox:
    return MergedBox(id_, f.label, f.box, f.attributes, "server")
