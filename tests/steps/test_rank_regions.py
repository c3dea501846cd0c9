"""The strongest unseen regions of the pool: which, in which order, and what stays of earlier ranks."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, DatasetError

pytestmark = pytest.mark.fiftyone

UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}
REGIONS = "unseen_regions"
ALL = {"count": 1000, "max_per_image": 1000}


@pytest.fixture
def scored(scored, rng):
    """A scored pool of eight images, each with six regions of random scores in no order."""
    give_regions(scored.exists("unseen_model"), rng)
    return scored


def give_regions(view, rng, field=REGIONS):
    def region():
        x, y, size, score = (float(v) for v in rng.random(4))
        box = [x / 2, y / 2, 0.05 + size / 4, 0.1]
        return fo.Detection(label="unseen", bounding_box=box, confidence=score)

    ids = view.values("id")
    regions = {i: fo.Detections(detections=[region() for _ in range(6)]) for i in ids}
    view._dataset.set_values(field, regions, key_field="id")


def labels():
    """What somebody drew; an empty list would have to be on record."""
    box = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.2, 0.2])
    return fo.Detections(detections=[box])


def by_hand(view):
    """(sample id, region id, score) of all regions that have a score, the highest first."""
    regions = [
        (sample.id, region.id, region.confidence)
        for sample in view
        for region in (sample[REGIONS].detections if sample[REGIONS] else [])
        if region.confidence is not None
    ]
    return sorted(regions, key=lambda region: -region[2])


def ranks(dataset):
    """Region ids in the order of their ranks, which are 1, 2, ... without a gap."""
    dataset.reload()
    paths = [f"{REGIONS}.detections.{name}" for name in ("rank", "id")]
    pairs = zip(*dataset.values(paths, unwind=True), strict=True)
    ranked = sorted((rank, region) for rank, region in pairs if rank is not None)
    assert [rank for rank, _ in ranked] == list(range(1, len(ranked) + 1))
    return [region for _, region in ranked]


def shown(dataset, name="top_regions"):
    """Region ids of the saved view, in its order."""
    return dataset.load_saved_view(name).values(f"{REGIONS}.id")


def test_the_order_is_that_of_all_scores_and_on_record(scored):
    expected = by_hand(scored.exists("unseen_model"))
    assert len(expected) == 48
    result = unseen.rank_regions(scored, count=25, max_per_image=1000)
    assert ranks(scored) == [r[1] for r in expected[:25]]
    assert result.scores == [r[2] for r in expected[:25]]
    assert result.sample_ids == [r[0] for r in expected[:25]]
    assert result.images == len({r[0] for r in expected[:25]})
    entry = Loop(scored, Names()).entry(0, "rank_regions")
    assert (entry["sample_ids"], entry["scores"]) == (result.sample_ids, result.scores)
    assert (entry["view"], entry["parameters"]["count"]) == ("top_regions", 25)


def test_the_saved_view_shows_the_patches_in_rank_order(scored):
    from fiftyone.server.view import get_view

    result = unseen.rank_regions(scored, count=12)
    patches = scored.load_saved_view("top_regions")
    assert patches._is_patches
    assert patches.values(f"{REGIONS}.rank") == list(range(1, 13))
    assert patches.values(f"{REGIONS}.id") == ranks(scored)
    assert patches.values("sample_id") == result.sample_ids
    # As the App's server opens it: by its name, and by its stages.
    for given in ({"view_name": "top_regions"}, {"stages": patches._serialize()}):
        assert get_view(scored.name, **given).values(f"{REGIONS}.id") == ranks(scored)


def test_no_image_has_more_ranks_than_allowed(scored):
    everything = by_hand(scored.exists("unseen_model"))
    result = unseen.rank_regions(scored, count=1000, max_per_image=2)
    per_image = {i: [r for r in everything if r[0] == i][:2] for i in {r[0] for r in everything}}
    best = sorted((r for of_image in per_image.values() for r in of_image), key=lambda r: -r[2])
    assert shown(scored) == [r[1] for r in best]
    assert "16 unseen regions (1000 were asked for) in 8 of 8 pool images" in result.summary()


def test_regions_below_the_lowest_score_or_without_one_get_no_rank(scored):
    drawn = fo.Detection(label="unseen", bounding_box=[0, 0, 0.5, 0.5])  # by somebody
    sample = scored.exists("unseen_model").first()
    sample[REGIONS].detections.insert(0, drawn)
    sample.save()
    expected = by_hand(scored.exists("unseen_model"))
    unseen.rank_regions(scored, **ALL)
    assert shown(scored) == [r[1] for r in expected]
    middle = expected[len(expected) // 2][2]
    result = unseen.rank_regions(scored, min_score=middle, **ALL)
    assert shown(scored) == [r[1] for r in expected if r[2] >= middle]
    assert min(result.scores) == middle
    with pytest.raises(DatasetError, match=r"reaches min_score=1; the strongest has 0\.\d{3}"):
        unseen.rank_regions(scored, min_score=1)


def test_labelled_test_excluded_and_sent_images_never_appear(scored, rng):
    unseen.score_samples(scored.match_tags("test"))
    give_regions(scored.match_tags("test"), rng)
    best = list(dict.fromkeys(r[0] for r in by_hand(scored.exists("unseen_model"))))
    test = set(scored.match_tags("test").values("id"))
    pool = [i for i in best if i not in test]
    scored.select(pool[0]).tag_samples("excluded")
    scored.set_values("ground_truth", {pool[1]: labels()}, key_field="id")
    scored.add_sample_field("unseen_annotation", fo.StringField)
    scored.set_values("unseen_annotation", {pool[2]: "sent"}, key_field="id")
    result = unseen.rank_regions(scored, **ALL)
    assert set(result.sample_ids) == set(pool[3:])
    assert result.pool == 5
    part = scored.select(pool[5:])
    unseen.rank_regions(part, **ALL)
    assert shown(scored) == [r[1] for r in by_hand(part)]


def test_ranking_again_leaves_no_old_rank_also_in_memory(scored):
    first = unseen.rank_regions(scored, count=20)
    before = ranks(scored)
    best = scored[first.sample_ids[0]]
    scored.set_values("ground_truth", {best.id: labels()}, key_field="id")
    second = unseen.rank_regions(scored, count=5)
    assert best.id not in second.sample_ids
    assert len(ranks(scored)) == 5
    assert ranks(scored) != before[:5]
    assert shown(scored) == ranks(scored)
    assert scored.list_saved_views() == ["top_regions"]
    assert not any(r["rank"] for r in best[REGIONS].detections if r.has_attribute("rank"))


def test_the_view_keeps_its_patches_although_the_pool_is_scored_again(scored):
    unseen.rank_regions(scored, count=8)
    before = shown(scored)
    unseen.train_unet(scored, seed=9, **UNET)
    with pytest.raises(DatasetError, match="older than the newest UNet; score the pool again"):
        unseen.rank_regions(scored)
    unseen.score_samples(scored, region_quantile=0.9)
    assert ranks(scored) == []
    assert shown(scored) == before
    unseen.rank_regions(scored, count=8)
    assert not set(shown(scored)) & set(before)


def test_what_cannot_be_ranked_is_said(trained, wafers):
    with pytest.raises(DatasetError, match="has been scored yet; train a UNet and score the pool"):
        unseen.rank_regions(wafers)
    unseen.score_samples(trained.match_tags("test"))
    with pytest.raises(DatasetError, match="none of the 8 pool images was scored"):
        unseen.rank_regions(trained)
    unseen.score_samples(trained, max_regions=0)
    with pytest.raises(DatasetError, match="have no unseen region"):
        unseen.rank_regions(trained)
    with pytest.raises(BudgetError, match="is empty"):
        unseen.rank_regions(trained.match_tags("test"))
    assert trained.list_saved_views() == []


def test_a_saved_view_of_somebody_else_is_not_replaced(scored):
    scored.save_view("top_regions", scored.limit(2))
    with pytest.raises(DatasetError, match=r"'top_regions' .* was not made by this package"):
        unseen.rank_regions(scored)
    assert len(scored.load_saved_view("top_regions")) == 2
    assert scored.get_field(f"{REGIONS}.detections.rank") is None


def test_each_series_has_its_own_list(scored, rng):
    unseen.train_unet(scored, series="other", **UNET)
    unseen.score_samples(scored, series="other")
    give_regions(scored.exists("unseen_other_model"), rng, "unseen_other_regions")
    unseen.rank_regions(scored, count=4)
    main = shown(scored)
    other = unseen.rank_regions(scored, count=6, series="other")
    assert other.view == "other_top_regions"
    assert shown(scored) == main
    patches = scored.load_saved_view("other_top_regions")
    assert patches.values("unseen_other_regions.rank") == [1, 2, 3, 4, 5, 6]


def test_cleaning_removes_the_list_but_not_a_tag_of_its_name(scored):
    scored.limit(2).tag_samples("top_regions")
    unseen.rank_regions(scored, count=5)
    patches = scored.load_saved_view("top_regions")._dataset.name
    assert unseen.clean_dataset(scored, keep_checkpoints=True).views == ["top_regions"]
    scored.reload()
    assert scored.list_saved_views() == []
    assert scored.get_field(REGIONS) is None
    assert len(scored.match_tags("top_regions")) == 2
    # FiftyOne (1.22) removes the patches of a deleted view when it removes what does not last.
    assert not fo.load_dataset(patches).persistent
