"""What is written raw reads back as what FiftyOne itself would have stored."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

NAMES = Names()


def score(rng, **changes):
    return {
        "alpha": 1.5,
        "threshold": 2.0,
        "excess": 0.25,
        "entropy": 3.0,
        "foreground": 4.0,
        "region_strength": 1.25,
        "model": "abc",
        "expected_counts": np.asarray([0.5, 1.5], dtype=np.float32),
        "embedding": rng.normal(size=8).astype(np.float32),
        "heatmap": rng.integers(0, 255, (6, 4), dtype=np.uint8),
        "regions": [(0.1, 0.2, 0.3, 0.4, 0.9), (0.5, 0.5, 0.1, 0.1, 0.4)],
        **changes,
    }


def test_scores_read_back_equal_what_fiftyone_stores(wafers, rng):
    import fiftyone as fo

    writing.declare_score_fields(Loop(wafers, NAMES))
    raw, public = wafers.limit(2).values("id")
    values = score(rng)
    writing.save_scores(Loop(wafers, NAMES), {raw: values})
    sample = wafers[public]
    for name in values.keys() - {"expected_counts", "embedding", "heatmap", "regions"}:
        sample[f"unseen_{name}"] = values[name]
    sample["unseen_expected_counts"] = values["expected_counts"].tolist()
    sample["unseen_embedding"] = values["embedding"]
    sample["unseen_heatmap"] = fo.Heatmap(map=values["heatmap"], range=[0, 255])
    sample["unseen_regions"] = fo.Detections(
        detections=[
            fo.Detection(label="unseen", bounding_box=list(r[:4]), confidence=r[4])
            for r in values["regions"]
        ]
    )
    sample.save()

    collection = wafers._sample_collection
    documents = [
        {k: v for k, v in d.items() if k.startswith("unseen_")}
        for d in (collection.find_one({"filepath": wafers[i].filepath}) for i in (raw, public))
    ]

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k != "_id"}
        return [plain(v) for v in value] if isinstance(value, list) else value

    assert plain(documents[0]) == plain(documents[1])
    back = wafers[raw]
    np.testing.assert_array_equal(back.unseen_heatmap.map, values["heatmap"])
    np.testing.assert_array_equal(back.unseen_embedding, values["embedding"])
    assert [d.confidence for d in back.unseen_regions.detections] == [0.9, 0.4]


def test_nothing_to_write_is_no_error(wafers):
    writing.declare_score_fields(Loop(wafers, NAMES))
    writing.save_scores(Loop(wafers, NAMES), {})
    assert wafers.exists("unseen_excess").count() == 0


def test_all_fields_sit_in_one_group_and_other_groups_stay(wafers, rng):
    import fiftyone as fo

    groups = fo.DatasetAppConfig.default_sidebar_groups(wafers)
    groups.append(fo.SidebarGroupDocument(name="mine", paths=[]))
    wafers.app_config.sidebar_groups = groups
    wafers.save()
    before = [(g.name, list(g.paths)) for g in groups]
    writing.declare_score_fields(Loop(wafers, NAMES))
    found = {g.name: list(g.paths) for g in wafers.app_config.sidebar_groups}
    ours = {f for f in wafers.get_field_schema() if f.startswith("unseen_")}
    assert set(found["unseen"]) == ours
    assert not any(ours & set(paths) for name, paths in found.items() if name != "unseen")
    assert {name for name, _ in before} <= set(found)
    writing.ungroup_fields(wafers)
    assert "unseen" not in {g.name for g in wafers.app_config.sidebar_groups or []}
    assert "mine" in {g.name for g in wafers.app_config.sidebar_groups}


def test_what_older_iterations_left_goes_into_a_collapsed_group(wafers):
    for number in (0, 1, 10):
        field = NAMES.predictions(number)
        writing.declare_detections(Loop(wafers, NAMES), field, "test")
        wafers.evaluate_detections(
            field, gt_field="ground_truth", eval_key=NAMES.eval_key(number), progress=False
        )
    baseline = Names(series="random")
    writing.declare_detections(Loop(wafers, NAMES), baseline.predictions(11), "test")
    wafers.evaluate_detections(
        baseline.predictions(11),
        gt_field="ground_truth",
        eval_key=baseline.eval_key(11),
        progress=False,
    )
    writing.group_fields(Loop(wafers, baseline))  # a baseline was the last to write
    groups = {g.name: g for g in wafers.app_config.sidebar_groups}
    newest = {"predictions_10", "iter_10_tp", "iter_10_fp", "iter_10_fn"}
    assert set(groups["unseen"].paths) == newest
    earlier = groups["unseen (earlier)"]
    assert earlier.expanded is False
    assert len(earlier.paths) == 12
    assert not newest & set(earlier.paths)
    writing.ungroup_fields(wafers)
    assert "unseen (earlier)" not in {g.name for g in wafers.app_config.sidebar_groups or []}


def test_predictions_of_several_samples_are_written_with_their_confidence(wafers):
    writing.declare_detections(Loop(wafers, NAMES), "predictions_01", "test")
    one, two = wafers.limit(2).values("id")
    box = np.asarray([0.1, 0.1, 0.2, 0.2], dtype=np.float32)
    writing.save_detections(
        wafers, "predictions_01", {one: [("particle", box, np.float32(0.5))], two: []}
    )
    assert wafers[one].predictions_01.detections[0].confidence == 0.5
    assert wafers[two].predictions_01.detections == []
    assert wafers.exists("predictions_01").count() == 2
