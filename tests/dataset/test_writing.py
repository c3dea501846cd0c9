"""What is written raw reads back as what FiftyOne itself would have stored."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from unseen.dataset import indexes, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def loop(wafers):
    return Loop(wafers)


def plain(value):
    """A stored value without the ids that FiftyOne gives to labels, and unpacked."""
    if isinstance(value, bytes):
        return zlib.decompress(value)  # packed less tightly than by FiftyOne, and sooner
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k != "_id"}
    return [plain(v) for v in value] if isinstance(value, list) else value


def test_scores_read_back_equal_what_fiftyone_stores(loop, rng):
    import fiftyone as fo

    writing.declare_score_fields(loop)
    writing.save_scores(loop, {})
    assert loop.dataset.exists("unseen_excess").count() == 0
    numbers = ("alpha", "threshold", "excess", "entropy", "foreground", "region_strength")
    numbers = {name: float(rng.random()) for name in numbers}
    values = {
        **numbers,
        "model": "abc",
        "expected_counts": np.asarray([0.5, 1.5], dtype=np.float32),
        "embedding": rng.normal(size=8).astype(np.float32),
        "heatmap": rng.integers(0, 255, (6, 4), dtype=np.uint8),
        "regions": [(0.1, 0.2, 0.3, 0.4, 0.9), (0.5, 0.5, 0.1, 0.1, 0.4)],
    }
    raw, public = loop.dataset.limit(2).values("id")
    writing.save_scores(loop, {raw: values})
    regions = [
        fo.Detection(label="unseen", bounding_box=list(r[:4]), confidence=r[4])
        for r in values["regions"]
    ]
    objects = {
        "expected_counts": values["expected_counts"].tolist(),
        "heatmap": fo.Heatmap(map=values["heatmap"], range=[0, 255]),
        "regions": fo.Detections(detections=regions),
    }
    sample = loop.dataset[public]
    for name, value in {**values, **objects}.items():
        sample[f"unseen_{name}"] = value
    sample.save()
    one, two = (
        {k: plain(v) for k, v in document.items() if k.startswith("unseen_")}
        for document in loop.dataset._sample_collection.find().limit(2)
    )
    assert len(one) == len(values)
    assert one == two
    back = loop.dataset[raw]
    np.testing.assert_array_equal(back.unseen_heatmap.map, values["heatmap"])
    np.testing.assert_array_equal(back.unseen_embedding, values["embedding"])
    assert [d.confidence for d in back.unseen_regions.detections] == [0.9, 0.4]


def groups(dataset):
    return {g.name: list(g.paths) for g in dataset.app_config.sidebar_groups or []}


def is_open(dataset):
    return {g.name: g.expanded for g in dataset.app_config.sidebar_groups}


def test_what_people_look_at_is_in_front_the_rest_collapsed_and_other_groups_stay(loop):
    import fiftyone as fo

    config = loop.dataset.app_config
    config.sidebar_groups = fo.DatasetAppConfig.default_sidebar_groups(loop.dataset)
    config.sidebar_groups.append(fo.SidebarGroupDocument(name="mine", paths=[]))
    loop.dataset.save()
    before = groups(loop.dataset)
    writing.declare_score_fields(loop)
    now = groups(loop.dataset)
    ours = {f for f in loop.dataset.get_field_schema() if f.startswith("unseen_")}
    front, details = now.pop("unseen"), now.pop("unseen (details)")
    # In this order: the first is drawn on top (1.22).
    assert front == ["unseen_regions", "unseen_heatmap", "unseen_excess"]
    assert set(front) | set(details) == ours
    assert len(front) + len(details) == len(ours)
    assert now == before
    assert is_open(loop.dataset)["unseen (details)"] is False
    writing.ungroup_fields(loop.dataset)
    assert groups(loop.dataset) == before


def test_what_somebody_moved_stays_and_new_fields_find_their_place(loop):
    writing.declare_score_fields(loop)
    arranged = {group.name: group for group in loop.dataset.app_config.sidebar_groups}
    arranged["unseen"].paths = ["unseen_alpha", "unseen_heatmap", "unseen_excess"]
    arranged["unseen"].expanded = False
    arranged["unseen (details)"].paths.remove("unseen_alpha")
    arranged["labels"].paths.append("unseen_regions")
    loop.dataset.save()
    before = groups(loop.dataset)
    writing.declare_detections(loop, loop.names.similar, "test")
    writing.declare_detections(loop, loop.names.overlay, "test")
    writing.group_fields(loop)
    now = groups(loop.dataset)
    front = ["unseen_alpha", "unseen_similar", "unseen_heatmap", "unseen_excess"]
    details = [*before["unseen (details)"], "unseen_overlay"]
    assert now == {**before, "unseen": front, "unseen (details)": details}
    assert is_open(loop.dataset)["unseen"] is False


def test_groups_of_an_earlier_version_are_made_anew(loop):
    writing.declare_score_fields(loop)
    wanted = groups(loop.dataset)
    former = [g for g in loop.dataset.app_config.sidebar_groups if "details" not in g.name]
    next(g for g in former if g.name == "unseen").paths = writing.own_fields(loop)
    loop.dataset.app_config.sidebar_groups = former
    loop.dataset.save()
    writing.renew_look(loop.dataset)
    assert groups(loop.dataset) == wanted


def test_what_older_iterations_left_goes_into_a_collapsed_group(loop):
    baseline = Loop(loop.dataset, Names(series="random"))
    for one, number in ((loop, 0), (loop, 1), (baseline, 11), (loop, 10)):
        field = one.names.predictions(number)
        writing.declare_detections(one, field, "test")
        key = {"gt_field": "ground_truth", "eval_key": one.names.eval_key(number)}
        loop.dataset.evaluate_detections(field, **key, progress=False)
        writing.group_fields(baseline)  # whoever is the last to write
    now = groups(loop.dataset)
    newest = ["predictions_10", "iter_10_tp", "iter_10_fp", "iter_10_fn"]
    assert now["unseen"] == newest[:1]
    assert now["unseen (details)"] == newest[1:]
    assert len({*now["unseen (earlier)"], *newest}) == 12 + len(newest)
    assert is_open(loop.dataset)["unseen (earlier)"] is False
    writing.ungroup_fields(loop.dataset)
    assert "unseen (earlier)" not in groups(loop.dataset)


def test_scored_series_leave_room_in_the_indexes_that_a_dataset_may_have(loop, monkeypatch):
    most = len(loop.dataset.list_indexes()) + 7
    monkeypatch.setattr(indexes, "MOST_INDEXES", most)
    for series in ("", "entropy"):
        writing.declare_score_fields(Loop(loop.dataset, Names(series=series)))
    assert len(loop.dataset.list_indexes()) == most
    assert "unseen_entropy_threshold" in loop.dataset.get_field_schema()


def test_predictions_of_several_samples_are_written_with_their_confidence(loop):
    writing.declare_detections(loop, "predictions_01", "test")
    one, two = loop.dataset.limit(2).values("id")
    box = np.asarray([0.1, 0.1, 0.2, 0.2], dtype=np.float32)
    boxes = {one: [("particle", box, np.float32(0.5))], two: []}
    writing.save_detections(loop.dataset, "predictions_01", boxes)
    assert loop.dataset[one].predictions_01.detections[0].confidence == 0.5
    assert loop.dataset[two].predictions_01.detections == []
    assert loop.dataset.exists("predictions_01").count() == 2
