"""Every shape that CVAT stores becomes one box or is left out and named; nothing crashes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseen.annotation import shapes
from unseen.annotation.shapes import ServerLabel, clip_box, read_job

LABELS = {
    1: ServerLabel("scratch", {11: "label_id", 12: "depth", 13: "sure"}),
    2: ServerLabel("unseen", {21: "label_id"}),
}
SIZES = {4: (200, 100), 5: (200, 100)}
ID = "6b02a397603ff14fa6f9befd"

quick = settings(max_examples=200, deadline=None, derandomize=True)


DEFAULTS = dict(id=1, frame=4, label_id=1, rotation=0.0, occluded=False, outside=False)


def shape(points, type_="rectangle", **changes):
    made = {"type": type_, "points": points, "attributes": [], "elements": []}
    return {**made, **DEFAULTS, **changes}


def read(*drawn, **others):
    return read_job({"shapes": list(drawn), "tags": [], "tracks": [], **others}, LABELS, SIZES)


def only_box(job):
    """The one box of frame 4 as x1, y1, x2, y2 in px."""
    (only,) = job.boxes[4]
    x, y, w, h = only.box
    return [v * s for v, s in zip((x, y, x + w, y + h), (200, 100, 200, 100), strict=True)]


def kinds(job):
    return [oddity.kind for oddity in job.oddities]


@pytest.mark.parametrize("nothing", [{}, {"shapes": [], "tags": [], "tracks": []}])
def test_an_empty_job_has_an_empty_list_for_every_frame(nothing):
    job = read_job(nothing, LABELS, SIZES)
    assert (job.boxes, job.oddities) == ({4: [], 5: []}, [])


@pytest.mark.parametrize("points", [[20, 10, 60, 40], [60, 40, 20, 10], [20, 40, 60, 10]])
def test_a_rectangle_is_its_relative_box_whatever_corners_it_was_drawn_from(points):
    job = read(shape(points))
    assert (job.boxes[4][0].box, job.oddities) == ((0.1, 0.1, 0.2, 0.3), [])


CUBOID = [10, 20, 10, 60, 40, 25, 40, 65, 50, 20, 50, 60, 20, 15, 20, 55]
BONES = [
    {"type": "points", "points": points, "outside": outside}
    for points, outside in [([30, 40], False), ([50, 20], False), ([190, 90], True)]
]


@pytest.mark.parametrize(
    ("type_", "points", "box"),
    [
        ("polygon", [10, 20, 50, 30, 30, 60], [10, 20, 50, 60]),
        ("polyline", [10, 20, 50, 30], [10, 20, 50, 30]),
        ("points", [10, 20, 50, 30], [10, 20, 50, 30]),
        ("ellipse", [50, 50, 80, 40], [20, 40, 80, 60]),
        ("mask", [0, 3, 2, 1, 20, 30, 22, 31], [20, 30, 23, 32]),
        ("cuboid", CUBOID, [10, 15, 50, 65]),
        ("skeleton", [], [30, 20, 50, 40]),  # the box around its visible points
    ],
)
def test_any_other_shape_becomes_the_box_around_it_and_is_named(type_, points, box):
    job = read(shape(points, type_, elements=BONES if type_ == "skeleton" else []))
    assert only_box(job) == pytest.approx(box)
    assert kinds(job) == [f"{type_} converted to its bounding box"]
    assert (job.oddities[0].frame, job.oddities[0].shape_id) == (4, 1)


@quick
@given(st.floats(-400, 400), st.floats(1, 20), st.floats(1, 20))
def test_a_rotated_shape_is_the_box_around_its_outline(rotation, a, b):
    turn = math.radians(rotation)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    t = np.linspace(0, 2 * np.pi, 3601)
    for type_, points, outline, accuracy in (
        ("rectangle", [100 - a, 50 - b, 100 + a, 50 + b], [[-a, -b], [a, -b], [a, b], [-a, b]], 0),
        ("ellipse", [100, 50, 100 + a, 50 - b], np.c_[a * np.cos(t), b * np.sin(t)], 1e-4),
    ):
        job = read(shape(points, type_, rotation=rotation))
        turned = np.array(outline) @ matrix.T + [100, 50]
        expected = [*turned.min(axis=0), *turned.max(axis=0)]
        assert only_box(job) == pytest.approx(expected, abs=max(accuracy, 1e-9))
        if type_ == "rectangle":
            name = ["rotated rectangle converted to its bounding box"]
            assert kinds(job) == name * (rotation != 0)


def test_the_fiftyone_id_and_the_other_attributes_are_read_by_name():
    values = {11: ID, 12: "0.5", 13: "", 21: "of another class"}
    attributes = [{"spec_id": spec, "value": value} for spec, value in values.items()]
    (box,) = read(shape([20, 10, 60, 40], occluded=True, attributes=attributes)).boxes[4]
    assert box.label_id == ID
    assert box.attributes == {"depth": "0.5", "occluded": True}


@pytest.mark.parametrize("value", ["", "hello", ID[:-1], ID + "0", "g" * 24])
def test_what_is_not_an_id_is_no_id(value):
    (box,) = read(shape([1, 1, 9, 9], attributes=[{"spec_id": 11, "value": value}])).boxes[4]
    assert (box.label_id, box.attributes) == (None, {})


def test_what_sticks_out_is_clipped_and_rounding_at_the_border_is_not_counted():
    job = read(shape([-5, -5, 500, 60]))
    assert only_box(job) == pytest.approx([0, 0, 200, 60])
    assert kinds(job) == [shapes.CLIPPED]
    job = read(shape([-0.004, 0, 200.004, 100]))
    assert job.boxes[4][0].box == (0, 0, 1, 1)
    assert job.oddities == []


@pytest.mark.parametrize(
    ("dropped", "kind"),
    [
        *[
            (shape(points, type_), shapes.MALFORMED)
            for type_, points in [
                ("rectangle", [1, 2, 3]),
                ("rectangle", [1, 2, math.nan, 9]),
                ("rectangle", [1, 2, math.inf, 9]),
                ("polygon", [1, 2, 3]),
                ("cuboid", [1, 2] * 9),
                ("mask", [5, 5, 3, 3]),
                ("mask", [3, 5, 5, 3, 9]),
                ("skeleton", []),
            ]
        ],
        *[
            (shape(points, type_), shapes.EMPTY)
            for type_, points in [
                ("rectangle", [20, 10, 20, 40]),
                ("rectangle", [300, 10, 320, 40]),
                ("polyline", [10, 10, 60, 10]),
                ("points", [10, 10]),
                ("points", [10, 10, 10, 10]),
            ]
        ],
        (shape([1, 2, 9, 9], frame=50), shapes.FOREIGN_FRAME),
        (shape([1, 2, 9, 9], label_id=99), shapes.UNKNOWN_CLASS),
        (shape([1, 2, 9, 9], "blob"), shapes.UNKNOWN_TYPE),
    ],
)
def test_what_gives_no_box_is_dropped_by_name(dropped, kind):
    job = read(dropped, shape([20, 10, 60, 40], id=2))
    assert kinds(job) == [kind]
    assert [box.shape_id for box in job.boxes[4]] == [2]


def test_an_image_without_a_size_has_no_boxes():
    job = read_job({"shapes": [shape([1, 2, 9, 9])]}, LABELS, {4: (0, 0)})
    assert (job.boxes, kinds(job)) == ({4: []}, [shapes.MALFORMED])


def test_hidden_shapes_are_skipped_silently_and_tags_counted():
    job = read(shape([1, 2, 9, 9], outside=True), tags=[{"frame": 5, "label_id": 1}] * 2)
    assert (job.boxes[4], kinds(job)) == ([], [shapes.TAG, shapes.TAG])


def test_of_a_track_the_visible_key_frames_are_taken():
    def key_frame(frame, **changes):
        made = shape([20, 10, 60, 40], frame=frame, **changes)
        return {key: value for key, value in made.items() if key not in ("id", "label_id")}

    key_frames = [
        key_frame(4, attributes=[{"spec_id": 12, "value": "0.5"}]),
        key_frame(5, outside=True),
    ]
    mark = [{"spec_id": 11, "value": ID}]
    job = read(tracks=[{"id": 7, "label_id": 1, "attributes": mark, "shapes": key_frames}])
    assert only_box(job) == pytest.approx([20, 10, 60, 40])
    assert (job.boxes[5], kinds(job)) == ([], [shapes.TRACK])
    (box,) = job.boxes[4]
    assert (box.label, box.label_id, box.shape_id) == ("scratch", ID, None)
    assert box.attributes == {"depth": "0.5"}


def test_of_a_skeleton_track_the_parts_of_the_same_frame_are_taken():
    def part(*points):
        return {"shapes": [{"frame": 4 + i, "points": p} for i, p in enumerate(points)]}

    track = {
        "label_id": 1,
        "shapes": [{"type": "skeleton", "frame": 4, "points": []}],
        "elements": [part([30, 40], [190, 90]), part([50, 20], [1, 1])],
    }
    assert only_box(read(tracks=[track])) == pytest.approx([30, 20, 50, 40])


@quick
@given(st.tuples(*[st.floats(0, 1, width=32)] * 4), st.sampled_from([(200, 100), (1600, 1199)]))
def test_a_box_that_was_sent_comes_back_the_same(corners, size):
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    sent = clip_box((x1, y1, x2 - x1, y2 - y1))
    if sent is None:
        assert x1 == x2 or y1 == y2
        return
    x, y, w, h = sent
    points = [x * size[0], y * size[1], (x + w) * size[0], (y + h) * size[1]]
    job = read_job({"shapes": [shape(points)]}, LABELS, {4: size})
    if job.boxes[4]:
        assert job.boxes[4][0].box == pytest.approx(sent, abs=1e-12)
        assert job.oddities == []
    else:
        assert min(w, h) < 1e-12


@quick
@given(st.tuples(*[st.floats(-2, 2)] * 4))
def test_clipping_keeps_exactly_what_is_inside(box):
    clipped = clip_box(box)
    left, right = max(box[0], 0), min(box[0] + box[2], 1)
    top, bottom = max(box[1], 0), min(box[1] + box[3], 1)
    if clipped is None:
        assert right - left <= 0 or bottom - top <= 0
    else:
        x, y, w, h = clipped
        assert (x, y, x + w, y + h) == pytest.approx((left, top, right, bottom), abs=1e-12)
        assert clip_box(clipped) == clipped


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_clipping_drops_what_is_not_finite(bad):
    assert clip_box((bad, 0, 1, 1)) is clip_box((0, 0, 1, bad)) is None
    assert clip_box([]) is None


numbers = st.integers(-300, 300) | st.floats()
any_attribute = st.fixed_dictionaries(
    {"spec_id": st.sampled_from([11, 12, 99]), "value": st.text(max_size=3) | st.booleans()}
)
any_shapes = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*shapes.TYPES, "blob"]),
        "points": st.lists(numbers, max_size=18) | st.lists(st.floats(-1e308, 1e308), min_size=4),
        "frame": st.sampled_from([4, 5, 6]),
        "label_id": st.sampled_from([1, 2, 3]),
        "elements": st.lists(st.fixed_dictionaries({"points": st.lists(numbers)}), max_size=3),
    },
    optional={
        "id": st.integers() | st.none(),
        "rotation": st.floats(-1e9, 1e9),
        "attributes": st.lists(any_attribute, max_size=3),
        "outside": st.booleans(),
        "occluded": st.booleans(),
    },
)
any_tracks = st.fixed_dictionaries(
    {"label_id": st.sampled_from([1, 9]), "shapes": st.lists(any_shapes, max_size=4)}
)


@quick
@given(st.lists(any_shapes, max_size=4), st.lists(any_tracks, max_size=2))
def test_whatever_numbers_the_server_holds_only_boxes_inside_the_image_come_out(drawn, tracks):
    job = read(*drawn, tracks=tracks)
    assert set(job.boxes) == set(SIZES)
    for box in itertools.chain(*job.boxes.values()):
        x, y, w, h = box.box
        assert min(x, y) >= 0 < min(w, h)
        assert max(x + w, y + h) <= 1
        assert box.label in {"scratch", "unseen"}
        assert "" not in box.attributes.values()


def test_the_order_in_which_the_server_lists_shapes_does_not_matter():
    drawn = [shape([i, i, i + 9, i + 9], id=i) for i in range(5)]
    assert read(*drawn).boxes == read(*reversed(drawn)).boxes


KEYS = [*shape([]), "shapes", "tags", "tracks", "spec_id", "value"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=8,
)


@quick
@given(st.data(), st.sampled_from(["shapes", "tags", "tracks"]), st.sampled_from(KEYS))
def test_an_answer_of_any_form_is_read_without_failing(data, part, key):
    damaged = {**shape([20, 10, 60, 40]), "shapes": [shape([1, 2, 3, 4])]}
    damaged[key] = data.draw(JSON)
    whole = data.draw(JSON)
    for value in ([damaged, shape([20, 10, 60, 40])], [whole], whole):
        job = read_job({part: value}, LABELS, SIZES)
        assert set(job.boxes) == set(SIZES)
        for box in itertools.chain(*job.boxes.values()):
            assert min(box.box) >= 0


def test_a_shape_that_says_nothing_is_dropped_by_name():
    job = read({}, 7, shape(None), shape(["1", "x"]), tracks=[{}])
    assert job.boxes == {4: [], 5: []}
    assert set(kinds(job)) == {shapes.MALFORMED, shapes.TRACK}
    assert kinds(job).count(shapes.MALFORMED) == 5
