"""Nothing that a person did is lost by a merge, on either side, however often it is done.

Here each rule is stated on one or two boxes; `test_histories` lets them meet at random.
"""

import dataclasses
import itertools
import json
from collections import Counter

import pytest

from unseen.annotation.merge import Changes, KnownBox, LocalBox, MergedBox, merge_image
from unseen.annotation.shapes import ServerBox

A, B = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.2)
NEAR = (0.1, 0.1, 0.2, 0.21)


def known(kind="label", id_="k1", label="cat", box=A, **changes):
    fields = {"sent_id": id_, "shape_id": 1, "in_truth": kind == "label"} | changes
    return KnownBox(kind, id_, fields.pop("sent_id"), fields.pop("shape_id"), label, box, **fields)


def suggestion(id_="s1", box=A, **changes):
    return known("suggestion", id_, "unseen", box, **changes)


def found(label="cat", box=A, label_id="k1", shape_id=1, **attributes):
    return ServerBox(label, box, shape_id, label_id, attributes)


def merge(base=(), local=(), found=(), **settings):
    ids = (f"new{i}" for i in itertools.count())
    return merge_image(base, local, found, new_id=lambda: next(ids), **settings)


def truth(merged):
    return [(b.id, b.label, b.box, b.origin) for b in merged.boxes]


def test_nothing_merged_with_nothing_is_nothing():
    merged = merge()
    assert (merged.boxes, merged.base) == ([], [])
    assert merged.changes == Changes()
    assert merged.changes.edits == 0


def test_what_nobody_touched_stays_as_it_is():
    merged = merge([known()], [LocalBox("k1", "cat", A)], [found()])
    assert truth(merged) == [("k1", "cat", A, "local")]
    assert merged.base == [known()]
    assert merged.changes == Changes()


@pytest.mark.parametrize(
    "change", [found("dog"), found(box=B), found(occluded=True), found(box=B, shape_id=9)]
)
def test_a_change_on_the_server_is_written_under_the_same_id(change):
    merged = merge([known()], [LocalBox("k1", "cat", A)], [change])
    assert merged.boxes == [MergedBox("k1", change.label, change.box, change.attributes, "server")]
    assert merged.changes == Changes(changed=Counter({change.label: 1}), edits=1)


def test_a_deletion_on_the_server_deletes():
    merged = merge([known()], [LocalBox("k1", "cat", A)], [])
    assert (merged.boxes, merged.base) == ([], [])
    assert merged.changes == Changes(deleted=Counter(cat=1), edits=1)


@pytest.mark.parametrize("ours", [LocalBox("k1", "dog", A), LocalBox("k1", "cat", B)])
def test_an_edit_in_fiftyone_stays_where_the_server_changed_nothing(ours):
    merged = merge([known()], [ours], [found()])
    assert truth(merged) == [(ours.id, ours.label, ours.box, "local")]
    assert merged.changes == Changes(kept_local=1)
    assert merged.changes.edits == 0


def test_a_deletion_in_fiftyone_stays_load_after_load():
    merged = merge([known()], [], [found()])
    assert merged.boxes == []
    assert merged.base == [known(in_truth=False)]
    again = merge(merged.base, [], [found()])
    assert (again.boxes, again.base, again.changes) == ([], merged.base, Changes(kept_local=1))


@pytest.mark.parametrize("ours", [[], [LocalBox("k1", "dog", A)], [LocalBox("k1", "cat", B)]])
def test_if_both_sides_changed_a_box_the_server_wins(ours):
    merged = merge([known()], ours, [found(box=NEAR)])
    assert truth(merged) == [("k1", "cat", NEAR, "server")]
    assert merged.changes == Changes(changed=Counter(cat=1), conflicts=1, edits=1)


def test_if_both_sides_made_the_same_change_there_is_no_conflict():
    merged = merge([known()], [LocalBox("k1", "dog", B)], [found("dog", B)])
    assert truth(merged) == [("k1", "dog", B, "local")]
    assert merged.changes.conflicts == 0


def test_a_box_edited_in_fiftyone_and_deleted_on_the_server_stays():
    merged = merge([known()], [LocalBox("k1", "cat", B)], [])
    assert truth(merged) == [("k1", "cat", B, "local")]
    assert merged.base == []
    assert merged.changes == Changes(kept_local=1, conflicts=1, edits=1)


def test_a_box_deleted_on_both_sides_is_gone():
    for in_truth in (True, False):
        assert merge([known(in_truth=in_truth)], [], []).boxes == []


def test_a_box_restored_in_fiftyone_and_deleted_on_the_server_stays():
    merged = merge([known(in_truth=False)], [LocalBox("k1", "cat", A)], [])
    assert truth(merged) == [("k1", "cat", A, "local")]


def test_boxes_of_fiftyone_that_the_server_never_saw_stay():
    merged = merge([], [LocalBox("l1", "cat", A)], [found("dog", A, None)])
    assert truth(merged) == [("l1", "cat", A, "local"), ("new0", "dog", A, "server")]


def test_rounding_is_no_change_and_does_not_add_up():
    base = [known()]
    for step in range(1, 4):
        merged = merge(base, [LocalBox("k1", "cat", A)], [found(box=(A[0] + 4e-6 * step, *A[1:]))])
        base = merged.base
    assert merged.changes.edits == 1  # 1.2e-5 from what was sent


def test_a_box_that_stuck_out_before_it_was_sent_is_no_edit():
    sent = known(box=(0.0, 0.1, 0.2, 0.2))
    merged = merge([sent], [LocalBox("k1", "cat", (-0.1, 0.1, 0.3, 0.2))], [])
    assert merged.boxes == []
    assert merged.changes.deleted == Counter(cat=1)


def test_a_suggestion_becomes_a_label_only_by_a_class():
    merged = merge([suggestion()], [], [found("cat", A, "s1")])
    assert truth(merged) == [("new0", "cat", A, "server")]
    assert merged.base == [known(id_="new0", sent_id="s1")]
    expected = Changes(added=Counter(cat=1), suggestions_accepted=Counter(cat=1), edits=1)
    assert merged.changes == expected


@pytest.mark.parametrize("box", [A, B])
def test_a_suggestion_left_or_moved_is_left(box):
    merged = merge([suggestion()], [], [found("unseen", box, "s1")])
    assert merged.boxes == []
    assert merged.base == [suggestion(box=box)]
    assert merged.changes == Changes(suggestions_left=1, edits=int(box != A))


def test_a_deleted_suggestion_is_rejected():
    merged = merge([suggestion()], [], [])
    assert (merged.boxes, merged.base) == ([], [])
    assert merged.changes == Changes(suggestions_rejected=1, edits=1)


def test_a_suggestion_drawn_by_hand_is_no_label_even_under_a_new_shape_id():
    merged = merge([], [], [found("unseen", A, None)])
    assert merged.boxes == []
    assert merged.base == [suggestion("new0", sent_id=None)]
    assert merged.changes == Changes(hand_drawn_suggestions=1, edits=1)
    again = merge(merged.base, [], [found("unseen", A, None, shape_id=2)])
    assert again.changes == Changes(suggestions_left=1)


def test_a_label_turned_into_a_suggestion_is_deleted_and_may_come_back_under_a_new_id():
    merged = merge([known()], [LocalBox("k1", "cat", A)], [found("unseen")])
    assert merged.boxes == []
    assert merged.base == [suggestion("new0", sent_id="k1")]
    assert merged.changes.deleted == Counter(cat=1)
    assert truth(merge(merged.base, [], [found("dog")])) == [("new0", "dog", A, "server")]


def test_a_label_turned_into_a_suggestion_stays_if_fiftyone_edited_it():
    merged = merge([known()], [LocalBox("k1", "cat", B)], [found("unseen")])
    assert truth(merged) == [("k1", "cat", B, "local")]
    assert "k1" not in {b.id for b in merged.base}


@pytest.mark.parametrize(
    ("on_server", "tally"),
    [
        ([found()], {"added": Counter(cat=1), "predictions_kept": Counter(cat=1)}),
        (
            [found("dog")],
            {"added": Counter(dog=1), "predictions_changed": Counter(dog=1), "edits": 1},
        ),
        ([], {"predictions_deleted": Counter(cat=1), "edits": 1}),
        (
            [found("unseen")],
            {"predictions_deleted": Counter(cat=1), "hand_drawn_suggestions": 1, "edits": 1},
        ),
    ],
)
def test_a_prediction_becomes_a_label_of_the_same_id_unless_it_is_deleted(on_server, tally):
    merged = merge([known("prediction")], [], on_server)
    assert merged.changes == Changes(**tally)
    assert [b.id for b in merged.boxes] == ["k1"] * sum(merged.changes.added.values())
    assert "prediction" not in {b.kind for b in merged.base}


def test_a_prediction_that_fiftyone_holds_already_and_edited_is_not_overwritten():
    merged = merge([known("prediction")], [LocalBox("k1", "dog", B)], [found()])
    assert truth(merged) == [("k1", "dog", B, "local")]


def test_a_copy_is_a_new_box_and_the_original_keeps_its_id():
    boxes = [found(box=B, shape_id=2), found(box=A, shape_id=1)]
    merged = merge([known()], [LocalBox("k1", "cat", A)], boxes)
    assert truth(merged) == [("k1", "cat", A, "local"), ("new0", "cat", B, "server")]
    renewed = [dataclasses.replace(f, shape_id=f.shape_id + 7) for f in boxes]
    same = merge([known(shape_id=None)], [LocalBox("k1", "cat", A)], renewed)
    assert truth(same) == truth(merged)


def test_a_copy_nearer_to_where_the_box_was_does_not_take_its_id():
    boxes = [found(box=NEAR, shape_id=2), found(box=B, shape_id=1)]
    merged = merge([known()], [LocalBox("k1", "cat", A)], boxes)
    assert truth(merged) == [("k1", "cat", B, "server"), ("new0", "cat", NEAR, "server")]


def test_a_copy_from_another_image_is_new():
    merged = merge([known()], [LocalBox("k1", "cat", A)], [found(), found("cat", A, "other", 2)])
    assert [b.id for b in merged.boxes] == ["k1", "new0"]


def test_a_box_without_the_id_is_recognised_by_its_shape_id_wherever_it_went():
    for lost in (None, "edited by hand"):
        merged = merge([known()], [LocalBox("k1", "cat", A)], [found("dog", B, lost)])
        assert truth(merged) == [("k1", "dog", B, "server")]


def test_a_box_drawn_in_place_of_a_prediction_is_a_new_box():
    merged = merge([known("prediction")], [], [found("cat", NEAR, None, 2)])
    assert [b.id for b in merged.boxes] == ["new0"]
    tally = Changes(added=Counter(cat=1), predictions_deleted=Counter(cat=1), edits=2)
    assert merged.changes == tally


def test_a_box_without_marks_is_recognised_by_class_and_overlap():
    base, ours = [known(sent_id=None, shape_id=1)], [LocalBox("k1", "cat", A)]
    assert [b.id for b in merge(base, ours, [found("cat", NEAR, None, 2)]).boxes] == ["k1"]
    for elsewhere in (B, (0.2, 0.1, 0.2, 0.2)):  # IoU 0 and 1/3
        merged = merge(base, ours, [found("cat", elsewhere, None, 2)])
        assert [b.id for b in merged.boxes] == ["new0"]
    assert [b.id for b in merge(base, ours, [found("dog", A, None, 2)]).boxes] == ["new0"]


@pytest.mark.parametrize("kind", ["suggestion", None])
def test_a_box_that_fiftyones_own_loader_brought_in_is_not_doubled(kind):
    base = [] if kind is None else [suggestion()]
    ours = LocalBox("s1", "cat", (0.1004, 0.1, 0.2, 0.2))
    merged = merge(base, [ours], [found("cat", A, "s1")])
    assert truth(merged) == [("s1", "cat", A, "server")]
    exact = merge(base, [dataclasses.replace(ours, box=A)], [found("cat", A, "s1")])
    assert truth(exact) == [("s1", "cat", A, "local")]
    marked = merge(base, [dataclasses.replace(ours, box=A)], [found("cat", A, "s1", occluded=True)])
    assert truth(marked) == [("s1", "cat", A, "server")]
    other = merge(base, [dataclasses.replace(ours, label="dog")], [found("cat", A, "s1")])
    assert [b.label for b in other.boxes] == ["dog", "cat"]


def test_a_new_box_does_not_take_the_label_of_a_prediction_that_is_still_there():
    boxes = [found("dog", B, None, 2), found()]
    merged = merge([known("prediction")], [LocalBox("k1", "dog", B)], boxes)
    assert [b.id for b in merged.base] == ["new0", "k1"]


def test_local_boxes_that_share_an_id_are_both_kept():
    ours = [LocalBox("l1", "cat", A), LocalBox("l1", "dog", B)]
    assert [(b.label, b.box) for b in merge([], ours, []).boxes] == [("cat", A), ("dog", B)]


def test_two_new_boxes_do_not_share_one_local_label():
    merged = merge([], [LocalBox("l1", "cat", A)], [found("cat", A, None, i) for i in (1, 2)])
    assert truth(merged) == [("l1", "cat", A, "local"), ("new0", "cat", A, "server")]


def test_the_labels_of_a_class_that_was_deleted_on_the_server_stay():
    base = [known(), suggestion(shape_id=2), known("prediction", "p1", shape_id=3)]
    ours = [LocalBox("k1", "cat", A)]
    merged = merge(base, ours, [], vanished_classes={"cat", "unseen"})
    assert truth(merged) == [("k1", "cat", A, "local")]
    assert merged.base == base
    assert merged.changes.edits == 0
    assert merge(base, ours, []).boxes == []
    deleted_here = merge([known()], [], [], vanished_classes={"cat"})
    assert deleted_here.base == [known(in_truth=False)]
    assert deleted_here.boxes == []


def test_known_boxes_survive_json():
    box = known(attributes={"occluded": True, "depth": "0.5"})
    assert KnownBox.from_dict(json.loads(json.dumps(box.to_dict()))) == box


def test_changes_add_up():
    one = Changes(added=Counter(cat=2), kept_local=1)
    two = Changes(added=Counter(cat=1, dog=1), edits=1)
    total = sum([one, two], Changes())
    assert total == Changes(added=Counter(cat=3, dog=1), kept_local=1, edits=1)
