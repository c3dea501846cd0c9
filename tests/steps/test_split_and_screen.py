"""The test split is fixed once, the initial images are who they should be, cut-off images go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.errors import DatasetError, ImageError, LabelError

pytestmark = pytest.mark.fiftyone


def test_the_initial_images_are_the_first_in_directory_order_and_a_test_split_stays(make_wafers):
    dataset = make_wafers(8, labelled=0, test=3)
    test = dataset.match_tags("test").values("id")
    backwards = dataset.sort_by("filepath", reverse=True)
    result = unseen.split_dataset(backwards, initial=3, test_share=0.5)
    assert result.test_was_fixed
    expected = dataset.match_tags("test", bool=False).sort_by("filepath").limit(3).values("id")
    assert dataset.match_tags("initial").sort_by("filepath").values("id") == expected
    assert dataset.match_tags("test").values("id") == test
    unseen.clean_dataset(dataset)
    assert dataset.match_tags("test").values("id") == test
    assert "initial" not in dataset.distinct("tags")


def test_a_new_test_split_is_random_disjoint_reproducible_and_cleaned(make_wafers):
    dataset = make_wafers(10, labelled=0, test=0)

    def split(seed):
        unseen.split_dataset(dataset, initial=2, initial_order="random", test_share=0.3, seed=seed)
        test, initial = (set(dataset.match_tags(t).values("filepath")) for t in ("test", "initial"))
        assert not test & initial
        assert (len(test), len(initial)) == (3, 2)
        unseen.clean_dataset(dataset)
        assert dataset.distinct("tags") == []
        return test, initial

    assert split(1) == split(1)
    assert split(1) != split(2)


def test_splitting_again_changes_nothing_and_is_refused_once_there_are_batches(make_wafers):
    dataset = make_wafers(10, labelled=0, test=0)
    first = unseen.split_dataset(dataset, initial=2, test_count=2)
    tags = dataset.count_sample_tags()
    again = unseen.split_dataset(dataset, initial=2, test_count=2)
    assert (first.test, first.initial, first.pool) == (again.test, again.initial, again.pool)
    assert dataset.count_sample_tags() == tags
    unseen.select_batch(dataset, budget=2, strategy="random")
    with pytest.raises(DatasetError, match="its split is fixed"):
        unseen.split_dataset(dataset, initial=2)


def test_excluded_images_are_neither_test_nor_initial(make_wafers):
    dataset = make_wafers(6, labelled=0, test=0)
    dataset.sort_by("filepath").limit(2).tag_samples("excluded")
    result = unseen.split_dataset(dataset, initial=2, test_count=1)
    assert (result.excluded, result.pool) == (2, 1)
    chosen = dataset.match_tags(["test", "initial"]).match_tags("excluded")
    assert len(chosen) == 0


def to_twelve_bits(dataset):
    for path in dataset.values("filepath"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)


@pytest.mark.parametrize("bits", [8, 12])
def test_blank_and_cut_off_images_are_excluded_labelled_ones_are_not_and_all_files_stay(
    make_wafers, bits
):
    dataset = make_wafers(10, labelled=1, test=0, size=128)
    paths = dataset.sort_by("filepath").values("filepath")
    for path in (paths[0], paths[5]):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:, 64:] = 20
        Image.fromarray(pixels).save(path)
    Image.new("L", (128, 128), 90).save(paths[7])
    if bits == 12:
        to_twelve_bits(dataset)
    result = unseen.screen_images(dataset)
    assert result.excluded == {"unreadable": 0, "blank": 1, "partial": 1}
    dataset.reload()
    excluded = dataset.match_tags("excluded").sort_by("filepath")
    assert excluded.values("filepath") == [paths[5], paths[7]]
    assert excluded.values("unseen_excluded_reason") == ["partial", "blank"]
    assert all(Path(path).is_file() for path in paths)
    assert unseen.screen_images(dataset).excluded == result.excluded
    unseen.clean_dataset(dataset)
    assert "excluded" not in dataset.distinct("tags")


def test_images_that_are_away_for_a_while_are_excluded_for_that_while(make_wafers):
    dataset = make_wafers(5, labelled=2, test=1)
    dataset.tag_samples("other")
    files = [Path(path) for path in dataset.values("filepath")]

    def away(some):
        for file in some:
            file.rename(file.with_suffix(".away"))
        try:
            return unseen.screen_images(dataset)
        finally:
            for file in some:
                file.with_suffix(".away").rename(file)

    with pytest.raises(
        ImageError, match=r"none of the 6 .*no such file.*correct the field filepath"
    ):
        away(files)
    assert dataset.count_sample_tags() == {"other": 6, "test": 1}
    assert away(files[1:3]).excluded["unreadable"] == 2
    assert unseen.screen_images(dataset, dry_run=True).back == 2
    assert dataset.count_sample_tags()["excluded"] == 2
    mended = unseen.screen_images(dataset)
    assert (mended.back, sum(mended.excluded.values())) == (2, 0)
    assert "2 can be read again" in mended.summary()
    assert dataset.count_sample_tags() == {"other": 6, "test": 1}
    assert dataset.values("unseen_excluded_reason") == [None] * 6


def test_twelve_bits_are_white_where_they_end_for_every_model(make_wafers, tmp_path):
    dataset = make_wafers(6, labelled=3, test=1)
    to_twelve_bits(dataset)
    quick = {"steps": 1, "batch_size": 1, "device": "cpu", "model_dir": str(tmp_path)}
    detector = {"architecture": "small", "image_size": 64}
    for trained in (
        unseen.train_unet(dataset, **quick),
        unseen.train_detector(dataset, **detector, **quick),
    ):
        sidecar = json.loads(Path(trained.checkpoint).with_suffix(".json").read_text())
        assert sidecar["value_range"] == [0, 4095]
    assert unseen.score_samples(dataset, device="cpu", embeddings=False).scored == 3
    assert unseen.apply_detector(dataset, device="cpu").images == 1


def test_a_labelled_image_that_was_turned_since_is_left_out_by_name(make_wafers, tmp_path):
    dataset = make_wafers(4, labelled=2, test=0)
    dataset.compute_metadata(progress=False)
    path = dataset.sort_by("filepath").first().filepath
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.crop((0, 0, 64, 40)).save(path, format="JPEG", exif=exif)
    quick = {"steps": 1, "batch_size": 1, "device": "cpu", "model_dir": str(tmp_path)}
    trained = unseen.train_unet(dataset, **quick)
    assert (trained.images, len(trained.skipped)) == (1, 1)
    assert "has 40 x 64 px, and its metadata says 64 x 64" in trained.summary()
    with pytest.raises(
        LabelError, match=r"none of the 1 labelled images can be used, such as .*40 x"
    ):
        unseen.train_unet(dataset.match({"filepath": path}), **quick)
    dataset.compute_metadata(overwrite=True, progress=False)
    assert not unseen.train_unet(dataset, **quick).skipped
