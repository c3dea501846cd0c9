"""Thresholds belong to the pool, and a run with nothing to do changes nothing."""

from __future__ import annotations

import fiftyone as fo
import pytest
from pymongo.errors import AutoReconnect

import unseen
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatabaseError, ImageError
from unseen.steps.score_samples import writer

pytestmark = pytest.mark.fiftyone


def entry(dataset):
    return Loop(dataset, Names()).entry(0, "score_samples")


def pool(dataset):
    return dataset.match_tags("test", bool=False).exists("ground_truth", False)


def test_the_thresholds_are_those_of_the_pool_whichever_view_was_scored_first(trained):
    part = unseen.score_samples(pool(trained).limit(2))
    whole = unseen.score_samples(trained)
    assert (part.scored, whole.scored, whole.already_scored) == (2, 8, 0)
    assert whole.thresholds != part.thresholds
    assert unseen.score_samples(trained, rescore=True).thresholds == whole.thresholds
    test = unseen.score_samples(trained.match_tags("test"))
    assert (test.scored, test.thresholds) == (4, whole.thresholds)
    before = entry(trained)
    again = unseen.score_samples(trained)
    assert (again.scored, again.already_scored) == (0, 8)
    assert entry(trained) == before


def test_slices_of_a_view_are_scored_one_by_one_with_the_thresholds_of_the_first(trained):
    view = pool(trained).sort_by("filepath")
    scored = [unseen.score_samples(view.skip(k).limit(3)) for k in (0, 3, 6)]
    assert [(s.scored, s.already_scored) for s in scored] == [(3, 0), (3, 0), (2, 0)]
    assert scored[0].thresholds == scored[1].thresholds == scored[2].thresholds
    again = unseen.score_samples(view)
    assert (again.scored, again.already_scored) == (0, 8)
    assert again.thresholds == scored[0].thresholds


def test_images_that_are_all_away_are_an_error_and_scored_once_they_are_back(trained):
    paths = pool(trained).values("filepath")
    pool(trained).set_values("filepath", [f"{path}.away" for path in paths])
    with pytest.raises(ImageError, match=r"none of the 8 .*\.away.*correct the field filepath"):
        unseen.score_samples(trained)
    pool(trained).set_values("filepath", paths)
    assert unseen.score_samples(trained).scored == 8


def test_scores_wait_for_a_database_that_is_away(trained, monkeypatch):
    save, tried = writing.save_scores, []

    def away(loop, scores):
        tried.append(len(scores))
        if len(tried) < 3:
            raise AutoReconnect("connection closed")
        save(loop, scores)

    monkeypatch.setattr(writing, "save_scores", away)
    monkeypatch.setattr(writer.time, "sleep", lambda seconds: None)
    assert unseen.score_samples(trained).scored == len(trained.exists("unseen_model")) == 8
    assert tried == [8, 8, 8]
    tried.clear()
    monkeypatch.setattr(writer, "AWAY", 0.0)
    with pytest.raises(DatabaseError, match="run the same again"):
        unseen.score_samples(trained, rescore=True)


def test_a_named_checkpoint_can_rank(trained):
    first = unseen.score_samples(trained).checkpoint
    unseen.train_unet(trained, steps=3, seed=4, crop_size=32, channels=(4, 8))
    unseen.score_samples(trained, checkpoint=first)
    assert len(unseen.select_batch(trained, budget=3).sample_ids) == 3


def test_region_strength_does_not_depend_on_how_many_regions_are_shown(trained):
    unseen.score_samples(trained, max_regions=1000, region_quantile=0.9)
    confidences, strengths = trained.exists("unseen_model").values(
        ["unseen_regions.detections.confidence", "unseen_region_strength"]
    )
    assert max(strengths) > 0
    for of_image, strength in zip(confidences, strengths, strict=True):
        assert of_image == sorted(of_image, reverse=True)
        assert all(0 < confidence < 1 for confidence in of_image)
        assert bool(of_image) == (strength > 0)
    unseen.score_samples(trained, max_regions=0, region_quantile=0.9)
    assert trained.exists("unseen_model").values("unseen_region_strength") == strengths


def test_alpha_follows_the_imbalance_of_the_labels_only_when_asked(trained):
    counts = trained.match_tags("test", bool=False).count_values("ground_truth.detections.label")
    most = max(counts.values())
    imbalance = sum(most - n for n in counts.values()) / (most * len(counts))
    assert imbalance > 0
    plain = unseen.score_samples(trained)
    assert (plain.alpha, plain.imbalance) == (2.0, None)
    assert "lpha" not in plain.summary()
    low = trained.exists("unseen_model").values("unseen_alpha")
    adapted = unseen.score_samples(trained, adapt_alpha=True)
    assert adapted.scored == 8  # what is stored changes, so nothing counts as scored already
    assert adapted.imbalance == pytest.approx(imbalance)
    assert adapted.alpha == pytest.approx(2 * (1 + imbalance))
    assert f"Alpha {adapted.alpha:.2f}, by an imbalance of {imbalance:.2f}." in adapted.summary()
    assert (entry(trained)["alpha"], entry(trained)["imbalance"]) == (
        adapted.alpha,
        adapted.imbalance,
    )
    # S is at most 1, so a higher power is a lower sum.
    high = trained.exists("unseen_model").values("unseen_alpha")
    assert all(b < a for a, b in zip(low, high, strict=True))

    # A run that continues keeps its alpha although labels came.
    box = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.1, 0.1])
    many = fo.Detections(detections=[box.copy() for _ in range(40)])
    trained.set_values("ground_truth", {pool(trained).first().id: many}, key_field="id")
    again = unseen.score_samples(trained, adapt_alpha=True)
    assert (again.scored, again.alpha) == (0, adapted.alpha)
    assert unseen.score_samples(trained, adapt_alpha=True, rescore=True).alpha > adapted.alpha


def test_a_rescore_that_is_killed_leaves_no_old_score_as_new(scored, monkeypatch):
    """With another exponent, every score is of that exponent once the second run has ended."""
    from unseen.steps.score_samples import writer

    monkeypatch.setattr(writer, "CHUNK", 1)
    expected = scored.clone()
    unseen.score_samples(expected, alpha=3.0, batch_size=1)

    def stop(done, total, label):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unseen.score_samples(scored, alpha=3.0, batch_size=1, progress=stop)
    result = unseen.score_samples(scored, alpha=3.0, batch_size=1)
    assert result.already_scored > 0
    values, wanted = (
        dict(zip(*d.exists("unseen_alpha").values(["filepath", "unseen_alpha"]), strict=True))
        for d in (scored, expected)
    )
    assert values == wanted
    expected.delete()
