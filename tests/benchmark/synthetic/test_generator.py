import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.arrays.auroc import auroc
from unseen.arrays.boxes import iou
from unseen.benchmark.synthetic.dataset import (
    CLASSES,
    KINDS,
    LATE_FROM,
    RARE_CLASSES,
    generate,
    write_coco_folder,
)
from unseen.benchmark.synthetic.marks import stain
from unseen.benchmark.synthetic.scene import Scene
from unseen.errors import ConfigError

POOL = 200


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pool(kind):
    return list(generate(kind, POOL, seed=3))


def _labels(images):
    return [label for image in images for label in image.labels]


def test_an_image_depends_on_seed_index_and_split_only(kind, pool):
    again = list(generate(kind, 3, seed=3, start=118))
    for image, expected in zip(again, pool[118:121], strict=True):
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        np.testing.assert_array_equal(image.xyxy, expected.xyxy)
        assert image.labels == expected.labels
    for other in ({"seed": 4}, {"seed": 3, "start": 1}, {"seed": 3, "split": "test"}):
        assert np.mean(next(generate(kind, 1, **other)).pixels != pool[0].pixels) > 0.5


def test_boxes_are_the_tightest_around_all_that_changed(pool):
    for image in pool:
        assert image.pixels.shape == image.background.shape == (256, 256)
        assert image.pixels.dtype == image.background.dtype == np.uint8
        assert image.xyxy.dtype == np.float32
        assert image.xyxy.shape == (len(image.labels), 4)
        changed = image.pixels != image.background
        outside = changed.copy()
        boxes = image.xyxy.astype(int)
        for number, (x1, y1, x2, y2) in enumerate(boxes):
            assert 0 <= x1 < x2 <= 256
            assert 0 <= y1 < y2 <= 256
            outside[y1:y2, x1:x2] = False
            if not iou(np.delete(boxes, number, axis=0), boxes[number : number + 1]).any():
                mark = changed[y1:y2, x1:x2]  # two crossing scratches may cancel in a pixel
                assert all(edge.any() for edge in (mark[0], mark[-1], mark[:, 0], mark[:, -1]))
        assert not outside.any()


def test_rare_classes_appear_late_and_in_about_six_percent_of_the_pool(kind, pool):
    assert not set(_labels(pool[:LATE_FROM])) & set(RARE_CLASSES[kind])
    for label in RARE_CLASSES[kind]:
        assert 10 <= sum(label in image.labels for image in pool) <= 13


def test_common_classes_have_about_the_stated_numbers(kind, pool):
    per_image = {"bare": {"particle": 6}, "device": {"particle": 5}, "texture": {"pit": 4}}
    per_image["lookalikes"] = {"ball": 25.4, "pad": 12.2}  # .94 x 40, of which 32.5 % are pads
    for label, expected in per_image[kind].items():
        assert _labels(pool).count(label) / POOL == pytest.approx(expected, rel=0.15)


def test_the_test_split_shows_every_class_often(kind):
    test = list(generate(kind, 60, seed=3, split="test"))
    for label in RARE_CLASSES[kind]:
        assert sum(label in image.labels for image in test) == 15
    assert set(_labels(test)) == set(CLASSES[kind])


def test_marks_have_the_stated_sizes(kind, pool):
    limits = {"particle": (3, 20), "stain": (22, 72), "scratch": (10, 130)}
    limits |= {"pit": (3, 20), "inclusion": (10, 46), "chatter": (256, 256), "streak": (256, 256)}
    limits |= {"ball": (11, 24), "pad": (9, 20), "chipped": (9, 24), "void": (11, 24)}
    for image in pool:
        sides = (image.xyxy[:, 2:] - image.xyxy[:, :2]).max(axis=1)
        for label, side in zip(image.labels, sides, strict=True):
            assert limits[label][0] <= side <= limits[label][1]


def test_global_brightness_and_contrast_do_not_give_rare_classes_away(kind, pool):
    # Each statistic taken alone must be near chance.
    for label in RARE_CLASSES[kind] if kind != "device" else ():
        is_shown = np.asarray([label in image.labels for image in pool])
        for statistic in (np.mean, np.std):
            values = np.asarray([statistic(image.pixels) for image in pool])
            assert 0.2 < auroc(values[is_shown], values[~is_shown]) < 0.8


def test_the_wafers_are_the_same_as_ever():
    # Figures in the documentation are of these very pictures. Means, because another machine's
    # Fourier transform may round a pixel the other way.
    for kind, levels, boxes, corners in (
        ("bare", (121.58, 127.34, 122.53), 467, (124.52, 125.73, 134.93, 135.52)),
        ("device", (109.29, 108.70, 108.05), 402, (124.83, 126.05, 132.10, 133.53)),
    ):
        images = list(generate(kind, 80, seed=3))
        means = [images[index].pixels.mean() for index in (0, 30, 70)]
        assert means == pytest.approx(levels, abs=0.02)
        assert len(_labels(images)) == boxes
        found = np.concatenate([image.xyxy for image in images]).mean(axis=0)
        assert found.tolist() == pytest.approx(corners, abs=0.05)


def test_marks_keep_to_the_scene():
    scene = Scene(np.full((40, 40), 100.0))
    assert scene.add("particle", np.full((10, 10), 20.0), top=-4, left=35)
    assert not scene.add("particle", np.full((10, 10), 20.0), top=50, left=0)
    assert not scene.add("particle", np.full((10, 10), 0.9), top=0, left=0)
    np.testing.assert_array_equal(scene.render().xyxy, [[35, 0, 40, 6]])
    scene = Scene(np.full((128, 128), 120.0))
    scene.add("particle", np.full((128, 128), 5.0))
    stain(scene, np.random.default_rng(0))  # there is no room for it
    assert scene.render().labels == ["particle"]


def test_no_images_are_none_and_bad_parameters_are_named():
    assert list(generate("bare", 0, seed=0)) == []
    for kind, size, named in (("wood", 256, "wood"), ("bare", 32, "size=32")):
        with pytest.raises(ConfigError, match=named):
            generate(kind, 1, seed=0, size=size)


def test_the_coco_folder_holds_the_generated_pool(tmp_path: Path, kind):
    folder = write_coco_folder(tmp_path / "wafers", kind, train=8, test=4, seed=3)
    for split, count in (("train", 8), ("test", 4)):
        document = json.loads((folder / split / "labels.json").read_text())
        names = [record["file_name"] for record in document["images"]]
        assert names == sorted(path.name for path in (folder / split / "data").iterdir())
        assert [category["name"] for category in document["categories"]] == list(CLASSES[kind])
        images = generate(kind, count, seed=3, split=split)
        for record, image in zip(document["images"], images, strict=True):
            with Image.open(folder / split / "data" / record["file_name"]) as stored:
                np.testing.assert_array_equal(np.asarray(stored), image.pixels)
            boxes = [a["bbox"] for a in document["annotations"] if a["image_id"] == record["id"]]
            xywh = np.hstack([image.xyxy[:, :2], image.xyxy[:, 2:] - image.xyxy[:, :2]])
            np.testing.assert_array_equal(np.reshape(boxes, (-1, 4)), xywh)


def test_an_existing_folder_is_never_written_over(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_coco_folder(tmp_path, "bare", train=1, test=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
