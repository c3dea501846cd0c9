"""Nothing that a person did is lost by a merge, on either side, however often it is repeated.

The table states each rule on one or two boxes; `test_histories` combines them at random.
"""

import dataclasses
import itertools
import json
from collections import Counter

import pytest

from unseen.annotation.merge import Changes, KnownBox, LocalBox, merge_image
from unseen.annotation.shapes import ServerBox

A, B = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2)
NEAR = (0.1, 0.1, 0.2, 0.21)


def known(kind="label", id_="k1", label="cat", box=A, **changes):
    fields = {"sent_id": id_, "shape_id": 1, "in_truth": kind == "label"} | changes
    return KnownBox(kind, id_, fields.pop("sent_id"), fields.pop("shape_id"), label, box, **fields)


def suggestion(id_="s1", box=A, **changes):
    return known("suggestion", id_, "unseen", box, **changes)


def shape(label="cat", box=A, label_id="k1", shape_id=1, **attributes):
    return ServerBox(label, box, shape_id, label_id, attributes)


def local(label="cat", box=A, id_="k1"):
    return LocalBox(id_, label, box)


def merge(base=(), mine=(), server=(), **settings):
    ids = (f"new{i}" for i in itertools.count())
    return merge_image(base, mine, server, new_id=lambda: next(ids), **settings)


def boxes(merged):
    return [(b.id, b.label, b.box, b.origin) for b in merged.boxes]


def ours(label="cat", box=A, id_="k1"):
    return id_, label, box, "local"


def theirs(label="cat", box=A, id_="k1"):
    return id_, label, box, "server"


K, P, S, GONE = known(), known("prediction"), suggestion(), known(in_truth=False)
HAND = suggestion("new0", sent_id=None)
L = local()
CAT, DOG = Counter(cat=1), Counter(dog=1)

# fmt: off
#: What is known, local boxes, shapes on the server; then the labels and the counted changes.
RULES = {
    "nothing": ([], [], [], [], {}),
    "untouched": ([K], [L], [shape()], [ours()], {}),
    "server: class": ([K], [L], [shape("dog")], [theirs("dog")], dict(changed=DOG, edits=1)),
    "server: box": ([K], [L], [shape(box=B)], [theirs(box=B)], dict(changed=CAT, edits=1)),
    "server: occluded": ([K], [L], [shape(occluded=True)], [theirs()], dict(changed=CAT, edits=1)),
    "server: new shape id": (
        [K], [L], [shape(box=B, shape_id=9)], [theirs(box=B)], dict(changed=CAT, edits=1)),
    "server: deleted": ([K], [L], [], [], dict(deleted=CAT, edits=1)),
    "local: class": ([K], [local("dog")], [shape()], [ours("dog")], dict(kept_local=1)),
    "local: box": ([K], [local(box=B)], [shape()], [ours(box=B)], dict(kept_local=1)),
    "local: deleted": ([K], [], [shape()], [], dict(kept_local=1)),
    "local: deleted before": ([GONE], [], [shape()], [], dict(kept_local=1)),
    "both, local class": (
        [K], [local("dog")], [shape(box=NEAR)], [theirs(box=NEAR)],
        dict(changed=CAT, conflicts=1, edits=1)),
    "both, local box": (
        [K], [local(box=B)], [shape(box=NEAR)], [theirs(box=NEAR)],
        dict(changed=CAT, conflicts=1, edits=1)),
    "both, deleted locally": (
        [K], [], [shape(box=NEAR)], [theirs(box=NEAR)], dict(changed=CAT, conflicts=1, edits=1)),
    "both, deleted there": (
        [K], [local(box=B)], [], [ours(box=B)], dict(kept_local=1, conflicts=1, edits=1)),
    "both, the same": (
        [K], [local("dog", B)], [shape("dog", B)], [ours("dog", B)], dict(changed=DOG, edits=1)),
    "both deleted": ([K], [], [], [], dict(deleted=CAT, edits=1)),
    "both deleted before": ([GONE], [], [], [], dict(deleted=CAT, edits=1)),
    "suggestion accepted": (
        [S], [], [shape(label_id="s1")], [theirs(id_="new0")],
        dict(added=CAT, suggestions_accepted=CAT, edits=1)),
    "suggestion left": ([S], [], [shape("unseen", A, "s1")], [], dict(suggestions_left=1)),
    "suggestion moved": (
        [S], [], [shape("unseen", B, "s1")], [], dict(suggestions_left=1, edits=1)),
    "suggestion deleted": ([S], [], [], [], dict(suggestions_rejected=1, edits=1)),
    "suggestion by hand": (
        [], [], [shape("unseen", A, None)], [], dict(hand_drawn_suggestions=1, edits=1)),
    "suggestion by hand, loaded before, new shape id": (
        [HAND], [], [shape("unseen", A, None, 2)], [], dict(suggestions_left=1)),
    "suggestion from a label": (
        [K], [L], [shape("unseen")], [], dict(deleted=CAT, hand_drawn_suggestions=1, edits=1)),
    "suggestion from a label edited locally": (
        [K], [local(box=B)], [shape("unseen")], [ours(box=B)],
        dict(kept_local=1, conflicts=1, hand_drawn_suggestions=1, edits=1)),
    "prediction kept": (
        [P], [], [shape()], [theirs()], dict(added=CAT, predictions_kept=CAT)),
    "prediction changed": (
        [P], [], [shape("dog")], [theirs("dog")],
        dict(added=DOG, predictions_changed=DOG, edits=1)),
    "prediction deleted": ([P], [], [], [], dict(predictions_deleted=CAT, edits=1)),
    "prediction made a suggestion": (
        [P], [], [shape("unseen")], [],
        dict(predictions_deleted=CAT, hand_drawn_suggestions=1, edits=1)),
    "prediction replaced by hand": (
        [P], [], [shape("cat", NEAR, None, 2)], [theirs(box=NEAR, id_="new0")],
        dict(added=CAT, predictions_deleted=CAT, edits=2)),
}
#: What is known of the server after a rule.
KNOWN_AFTER = {
    "nothing": [], "untouched": [K], "server: deleted": [],
    "local: deleted": [GONE], "local: deleted before": [GONE],
    "both, deleted there": [], "both deleted": [], "both deleted before": [],
    "suggestion accepted": [known(id_="new0", sent_id="s1")],
    "suggestion left": [S], "suggestion moved": [suggestion(box=B)], "suggestion deleted": [],
    "suggestion by hand": [HAND],
    "suggestion from a label": [suggestion("new0", sent_id="k1")],
    "suggestion from a label edited locally": [suggestion("new0", sent_id="k1")],
    "prediction kept": [K], "prediction deleted": [],
}

COPY = [shape(box=B, shape_id=2), shape(shape_id=1)]
NO_MARK, ROUNDED = known(sent_id=None), local("cat", (0.1004, *A[1:]), "s1")
NEW_B = theirs(box=B, id_="new0")
IDENTITIES = {
    "restored locally": ([GONE], [L], [], [ours()]),
    "local, never on the server": (
        [], [local(id_="l1")], [shape("dog", A, None)], [ours(id_="l1"), theirs("dog", A, "new0")]),
    "stuck out of the image when sent": (
        [known(box=(0.0, 0.1, 0.2, 0.2))], [local(box=(-0.1, 0.1, 0.3, 0.2))], [], []),
    "prediction, held and edited locally": (
        [P], [local("dog", B)], [shape()], [ours("dog", B)]),
    "copy": ([K], [L], COPY, [ours(), NEW_B]),
    "copy, after all shape ids changed": (
        [known(shape_id=None)], [L], [dataclasses.replace(c, shape_id=c.shape_id + 7) for c in COPY],
        [ours(), NEW_B]),
    "copy nearer to the old place": (
        [K], [L], [shape(box=NEAR, shape_id=2), shape(box=B, shape_id=1)],
        [theirs(box=B), theirs(box=NEAR, id_="new0")]),
    "copy from another image": (
        [K], [L], [shape(), shape("cat", A, "other", 2)], [ours(), theirs(id_="new0")]),
    "by shape id, mark lost": ([K], [L], [shape("dog", B, None)], [theirs("dog", B)]),
    "by shape id, mark edited": ([K], [L], [shape("dog", B, "by hand")], [theirs("dog", B)]),
    "by class and overlap": ([NO_MARK], [L], [shape("cat", NEAR, None, 2)], [theirs(box=NEAR)]),
    "no overlap": ([NO_MARK], [L], [shape("cat", B, None, 2)], [NEW_B]),
    "IoU 1/3": (
        [NO_MARK], [L], [shape("cat", (0.2, 0.1, 0.2, 0.2), None, 2)],
        [theirs(box=(0.2, 0.1, 0.2, 0.2), id_="new0")]),
    "overlap, another class": (
        [NO_MARK], [L], [shape("dog", A, None, 2)], [theirs("dog", A, "new0")]),
    **{
        f"loaded by FiftyOne itself, {name}, base of {len(base)}": (base, [box], [there], expected)
        for base in ([], [S])
        for name, box, there, expected in [
            ("rounded", ROUNDED, shape(label_id="s1"), [theirs(id_="s1")]),
            ("exact", local(id_="s1"), shape(label_id="s1"), [ours(id_="s1")]),
            ("marked", local(id_="s1"), shape(label_id="s1", occluded=True), [theirs(id_="s1")]),
            ("another class", local("dog", id_="s1"), shape(label_id="s1"),
             [ours("dog", A, "s1"), theirs(id_="new0")]),
        ]
    },
    "local boxes that share an id": (
        [], [local(id_="l1"), local("dog", B, "l1")], [],
        [ours(id_="l1"), ours("dog", B, "l1")]),
    "two new boxes and one local label": (
        [], [local(id_="l1")], [shape("cat", A, None, i) for i in (1, 2)],
        [ours(id_="l1"), theirs(id_="new0")]),
}
# fmt: on


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule):
    base, mine, server, expected, changes = RULES[rule]
    merged = merge(base, mine, server)
    assert boxes(merged) == expected
    assert merged.changes == Changes(**changes)
    assert merged.base == KNOWN_AFTER.get(rule, merged.base)


def test_a_change_on_the_server_brings_its_attributes_along():
    (box,) = merge([K], [L], [shape(occluded=True)]).boxes
    assert box.attributes == {"occluded": True}


@pytest.mark.parametrize("case", IDENTITIES)
def test_which_box_is_which(case):
    base, mine, server, expected = IDENTITIES[case]
    assert boxes(merge(base, mine, server)) == expected


def test_a_new_box_does_not_take_the_label_of_a_prediction_that_is_still_there():
    merged = merge([P], [local("dog", B)], [shape("dog", B, None, 2), shape()])
    assert [b.id for b in merged.base] == ["new0", "k1"]


def test_a_suggestion_made_from_a_label_comes_back_under_a_new_id():
    merged = merge([suggestion("new0", sent_id="k1")], [], [shape("dog")])
    assert boxes(merged) == [theirs("dog", A, "new0")]


def test_rounding_is_no_change_and_does_not_add_up():
    base = [K]
    for step in range(1, 4):
        merged = merge(base, [L], [shape(box=(A[0] + 4e-6 * step, *A[1:]))])
        base = merged.base
    assert merged.changes.edits == 1  # 1.2e-5 from what was sent


def test_the_labels_of_a_class_that_was_deleted_on_the_server_stay():
    base = [K, suggestion(shape_id=2), known("prediction", "p1", shape_id=3)]
    merged = merge(base, [L], [], vanished_classes={"cat", "unseen"})
    assert (boxes(merged), merged.base, merged.changes.edits) == ([ours()], base, 0)
    deleted_here = merge([K], [], [], vanished_classes={"cat"})
    assert (deleted_here.boxes, deleted_here.base) == ([], [known(in_truth=False)])


def test_known_boxes_survive_json():
    box = known(attributes={"occluded": True, "depth": "0.5"})
    assert KnownBox.from_dict(json.loads(json.dumps(box.to_dict()))) == box


def test_changes_add_up():
    one = Changes(added=Counter(cat=2), kept_local=1)
    two = Changes(added=Counter(cat=1, dog=1), edits=1)
    total = sum([one, two], Changes())
    assert total == Changes(added=Counter(cat=3, dog=1), kept_local=1, edits=1)
