"""What a benchmark runs on: the same images and boxes from every source, and fair pools."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unseen.benchmark import files
from unseen.benchmark.cases import Case, generated, rare_classes, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.files import kept_as
from unseen.benchmark.pools import make_pool
from unseen.errors import BudgetError, ConfigError, DatasetError, LabelError

HELD_BACK = {"held_back": ("rare",), "rare_images": 4, "pool": 25, "initial": 5, "iterations": 1}


def read(source, **settings) -> Case:
    (case,) = read_cases([str(source)], BenchmarkConfig(**settings))
    return case


def boxes(case: Case):
    return [
        sorted((label, *np.round(box, 3)) for label, box in zip(f.labels, f.xyxy, strict=True))
        for f in case.train
    ]


@pytest.mark.fiftyone
def test_a_dataset_and_its_folder_give_the_same_images_and_boxes(coco_folder):
    from unseen.dataset.coco_folder import import_coco_folder

    folder = coco_folder()
    name = import_coco_folder(folder, "benchmark-parts").dataset
    from_folder = read(folder)
    from_dataset = read(name, label_field="hidden_truth")
    assert boxes(from_dataset) == boxes(from_folder)
    assert [f.path for f in from_dataset.train] == [f.path for f in from_folder.train]
    assert len(from_dataset.test) == len(from_folder.test) == 6
    assert from_dataset.classes == from_folder.classes


def test_generated_images_are_made_once_per_seed(tmp_path):
    config = BenchmarkConfig(pool=30, test=3)
    case = read("synthetic:bare", pool=30, test=3)
    first, again, other = (generated(case, config, seed, tmp_path) for seed in (1, 1, 2))
    assert first == again
    assert (len(first.train), len(first.test)) == (30, 3)
    assert [f.xyxy for f in first.train] != [f.xyxy for f in other.train]
    assert rare_classes(first, first.train) == ("stain",)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_class_that_is_held_back_is_rare_and_not_in_the_initial_images(
    coco_folder, tmp_path, seed
):
    case = read(coco_folder(train=60, rare_from=0, every=3), **HELD_BACK)
    pool, again, other = (make_pool(case, BenchmarkConfig(**HELD_BACK), s) for s in (seed, seed, 9))
    assert pool == again
    assert pool.files != other.files
    assert len(pool.files) == 25
    assert sum(pool.holds_rare(i) for i in range(25)) == 4
    assert not any(pool.holds_rare(i) for i in pool.start)
    names = [f.path for f in case.train]
    places = [names.index(f.path) for f in pool.files if "rare" not in f.labels]
    assert places == sorted(places)
    # The rare ones show the same stretch of the directory as the others.
    rare = [names.index(f.path) for f in pool.files if "rare" in f.labels]
    assert places[0] - 4 < min(rare) <= max(rare) < places[-1] + 4


def test_a_smaller_pool_is_a_stretch_of_the_directory(coco_folder):
    case = read(coco_folder(train=40, rare_from=0))
    names = [f.path for f in case.train]
    places = set()
    for seed in range(8):
        pool = make_pool(case, BenchmarkConfig(pool=16, initial=4, budget=4), seed)
        first = names.index(pool.files[0].path)
        assert [f.path for f in pool.files] == names[first : first + 16]
        places.add(first)
    assert len(places) > 1


def test_random_start_sets_differ_between_seeds_and_avoid_what_is_held_back(coco_folder):
    settings = {"held_back": ("rare",), "rare_images": 5, "initial": 6, "budget": 4}
    case = read(coco_folder(train=40, rare_from=0, every=3), **settings)
    config = BenchmarkConfig(initial_order="random", **settings)
    pools = [make_pool(case, config, seed) for seed in range(6)]
    assert len({pool.start for pool in pools}) > 1
    for pool in pools:
        assert len(pool.start) == len(set(pool.start)) == 6
        assert not any(pool.holds_rare(i) for i in pool.start)


def test_what_is_kept_of_a_pool_ends_with_its_files_its_boxes_and_the_version(
    coco_folder, monkeypatch
):
    case = read(folder := coco_folder(), initial=6)
    config = BenchmarkConfig(initial=6, budget=4)

    def digest(case=case):
        return make_pool(case, config, 0).digest

    before = digest()
    assert digest(read(folder)) == before
    fewer = replace(case.train[3], xyxy=case.train[3].xyxy[1:], labels=case.train[3].labels[1:])
    assert digest(replace(case, train=(*case.train[:3], fewer, *case.train[4:]))) != before
    Path(case.train[3].path).write_bytes(b"another image")
    assert digest() != before
    name = kept_as([before])
    monkeypatch.setattr(files, "__version__", "another")
    assert kept_as([before]) != name


def test_classes_with_a_third_of_an_even_share_are_rare(coco_folder):
    case = read(coco_folder(train=40, rare_from=20))
    counts = Counter(label for f in case.train for label in f.labels)
    assert counts["rare"] * 3 <= sum(counts.values()) / 2
    assert rare_classes(case, case.train) == ("rare",)


@pytest.mark.parametrize(
    ("sources", "settings", "error", "message"),
    [
        ([], {}, ConfigError, "no dataset to compare on"),
        (["synthetic:glass"], {}, ConfigError, "synthetic:glass.*bare"),
        (["synthetic:bare"], {"held_back": ("stain",)}, ConfigError, "of its own"),
        (["/nowhere/at/all"], {}, DatasetError, "no such folder"),
        (["FOLDER"], {"held_back": ("hole",)}, ConfigError, "'hole' is no class of .*dot, rare"),
        (["FOLDER"], {"classes": ("spot",)}, ConfigError, "classes=spot: .*some of dot, rare"),
        (["FOLDER", "FOLDER"], {}, ConfigError, "both be called parts"),
    ],
)
def test_bad_sources_are_refused(coco_folder, tmp_path, sources, settings, error, message):
    folder = str(coco_folder())
    sources = [source.replace("FOLDER", folder) for source in sources]
    with pytest.raises(error, match=message):
        read_cases(sources, BenchmarkConfig(**settings))


def test_a_pool_that_is_too_small_or_empty_says_so(coco_folder):
    case = read(coco_folder(train=20))
    with pytest.raises(BudgetError, match=r"20 images to choose from.*are 30"):
        make_pool(case, BenchmarkConfig(), 0)
    empty = replace(case, train=tuple(replace(f, xyxy=[], labels=[]) for f in case.train))
    with pytest.raises(LabelError, match="none of the 4 initial images of parts"):
        make_pool(empty, BenchmarkConfig(initial=4, budget=4), 0)
    case = read(coco_folder("more", train=30), held_back=("rare",))
    with pytest.raises(BudgetError, match="5 images hold 'rare'"):
        make_pool(case, BenchmarkConfig(held_back=("rare",), initial=4, budget=4), 0)
    with pytest.raises(ConfigError, match="pool=35 with rare_images=30 leaves 5 other images"):
        BenchmarkConfig(pool=35, rare_images=30, held_back=("rare",))


def test_boxes_of_other_classes_can_be_left_out(coco_folder, tmp_path):
    folder = coco_folder()
    everything, dots = read(folder), read(folder, classes=("dot",))
    assert dots.classes == ("dot",)
    for whole, part in zip(everything.train, dots.train, strict=True):
        assert part.labels == ["dot"] * whole.labels.count("dot")
        is_dot = [label == "dot" for label in whole.labels]
        np.testing.assert_array_equal(part.boxes, whole.boxes[is_dot])
    config = BenchmarkConfig(classes=("particle",), pool=30, test=2)
    (case,) = read_cases(["synthetic:device"], config)
    made = generated(case, config, 0, tmp_path)
    assert {label for f in made.train for label in f.labels} == {"particle"}
    assert rare_classes(made, made.train) == ()
