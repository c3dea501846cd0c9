"""More like this: on images with two kinds of marks, those of the kind that was asked for come first."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, ConfigError, DatasetError

pytestmark = pytest.mark.fiftyone

SIZE = 128


def draw(path, kind, corner, seed):
    """Noise with a checkerboard, or a disc of a ring, of 32 px."""
    pixels = np.random.default_rng(seed).normal(110, 5, (SIZE, SIZE))
    y, x = np.mgrid[:32, :32]
    mark = {
        "checks": 80.0 * (((x // 4) + (y // 4)) % 2),
        "disc": 80.0 * ((x - 16) ** 2 + (y - 16) ** 2 < 200),
    }
    left, top = corner
    pixels[top : top + 32, left : left + 32] += mark[kind]
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def marks(tmp_path, empty):
    """Two labelled images, then twelve of the pool: checks and discs in turns."""
    rng = np.random.default_rng(5)
    samples = []
    for i in range(14):
        kind = ("checks", "disc")[i % 2]
        left, top = (int(v) for v in rng.integers(0, SIZE - 32, 2))
        path = tmp_path / f"{i:02d}.png"
        draw(path, kind, (left, top), i)
        box = [left / SIZE, top / SIZE, 0.25, 0.25]
        boxes = fo.Detections(detections=[fo.Detection(label=kind, bounding_box=box)])
        truth = boxes if i < 2 else None
        samples.append(fo.Sample(str(path), tags=[kind], ground_truth=truth, drawn=boxes.copy()))
    empty.add_samples(samples)
    return empty


@pytest.fixture
def find(marks, tmp_path):
    def run(dataset=marks, **settings):
        return unseen.more_like_this(dataset, model_dir=str(tmp_path / "models"), **settings)

    return run


def example(dataset, kind):
    return dataset.match_tags(kind).first()["ground_truth"].detections[0].id


def kinds(dataset, result):
    return [dataset[i].tags[0] for i in result.sample_ids]


@pytest.mark.parametrize(("kind", "other"), [("checks", "disc"), ("disc", "checks")])
def test_others_of_the_kind_come_first_and_where_they_are(marks, find, kind, other):
    result = find(wanted=[example(marks, kind)], max_per_image=1)
    # Six of twelve are of the kind; one example finds four of them before any other.
    assert kinds(marks, result)[:4] == [kind] * 4
    assert result.scores == sorted(result.scores, reverse=True)
    assert all(0 < s <= 1 for s in result.scores)
    sample = marks[result.sample_ids[0]]
    found, drawn = sample["unseen_similar"].detections[0], sample["drawn"].detections[0]
    x, y, w, h = found.bounding_box
    left, top, width, height = drawn.bounding_box
    assert left < x + w / 2 < left + width
    assert top < y + h / 2 < top + height
    better = find(wanted=[example(marks, kind)], unwanted=[example(marks, other)], max_per_image=1)
    assert kinds(marks, better)[:6].count(kind) >= kinds(marks, result)[:6].count(kind)


def test_the_view_shows_the_patches_in_rank_order_and_a_second_run_replaces_them(marks, find):
    find(wanted=[example(marks, "checks")])
    result = find(wanted=[example(marks, "disc")], count=4)
    marks.reload()
    patches = marks.load_saved_view("similar_regions")
    assert patches.values("unseen_similar.rank") == [1, 2, 3, 4]
    assert patches.values("sample_id") == result.sample_ids
    assert patches.values("unseen_similar.confidence") == result.scores
    assert len(marks.exists("unseen_similar")) == result.images
    assert marks.count("unseen_similar.detections") == 4
    entry = Loop(marks, Names()).record(0)["steps"]["more_like_this"]
    assert entry["sample_ids"] == result.sample_ids
    # A patch has the id of its label, so that selected patches can be asked for.
    assert patches.values("id") == patches.values("unseen_similar.id")
    again = find(wanted=patches.values("id")[:1])
    assert again.sample_ids[0] != result.sample_ids[0]


def test_what_cannot_be_searched_is_said(marks, find):
    with pytest.raises(ConfigError, match=r"wanted is empty.*In the App select"):
        find()
    with pytest.raises(DatasetError, match="'nothing' is no sample and no box"):
        find(wanted=["nothing"])
    with pytest.raises(DatasetError, match="1 of 2 ids are unknown"):
        find(wanted=[marks.first().id, "0" * 24])
    checks = example(marks, "checks")
    with pytest.raises(ConfigError, match="is wanted and unwanted"):
        find(wanted=[checks], unwanted=[checks])
    with pytest.raises(BudgetError, match="is empty"):
        find(marks.exists("ground_truth"), wanted=[checks])
    assert marks.list_saved_views() == []


def test_a_whole_image_can_be_wanted_and_an_unreadable_one_is_named(marks, find):
    broken = marks.last()
    Path(broken.filepath).write_bytes(b"no image")
    wanted = marks.match_tags("checks").last().id
    result = find(wanted=[wanted])
    assert [s.sample_id for s in result.skipped] == [broken.id]
    assert not {wanted, broken.id} & set(result.sample_ids)
    with pytest.raises(DatasetError, match="can be read; look at their files"):
        find(wanted=[broken.id])


def test_cleaning_removes_field_and_view(marks, find):
    find(wanted=[example(marks, "checks")])
    assert unseen.clean_dataset(marks).views == ["similar_regions"]
    marks.reload()
    assert marks.get_field("unseen_similar") is None
    assert marks.list_saved_views() == []
