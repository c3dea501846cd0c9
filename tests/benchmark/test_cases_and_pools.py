"""What a benchmark runs on: the same images and boxes wherever they come from, and fair pools."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unseen.arrays.images import read_image
from unseen.benchmark.cases import Case, generated, rare_classes, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.pools import make_pool
from unseen.errors import BudgetError, ConfigError, DatasetError, LabelError
from unseen.progress import silent


def read(folder, tmp_path, **settings) -> list[Case]:
    return read_cases([str(folder)], BenchmarkConfig(**settings), tmp_path / "out", silent)


def boxes(case: Case):
    return [
        sorted((label, *np.round(box, 3)) for label, box in zip(f.labels, f.xyxy, strict=True))
        for f in case.train
    ]


def test_a_case_survives_the_trip_through_its_file(coco_folder, tmp_path):
    (case,) = read(coco_folder(), tmp_path)
    case.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == case


@pytest.mark.fiftyone
def test_a_dataset_and_its_folder_give_the_same_images_and_boxes(coco_folder, tmp_path):
    from unseen.dataset.coco_folder import import_coco_folder

    folder = coco_folder()
    name = import_coco_folder(folder, "benchmark-parts").dataset
    (from_folder,) = read(folder, tmp_path)
    (from_dataset,) = read_cases(
        [name], BenchmarkConfig(label_field="hidden_truth"), tmp_path / "out", silent
    )
    assert boxes(from_dataset) == boxes(from_folder)
    assert [f.path for f in from_dataset.train] == [f.path for f in from_folder.train]
    assert len(from_dataset.test) == len(from_folder.test) == 6
    assert from_dataset.classes == from_folder.classes


def test_pieces_hold_what_the_images_held(coco_folder, tmp_path):
    folder = coco_folder(train=5)
    (whole,) = read(folder, tmp_path)
    (cut,) = read(folder, tmp_path, tiles=2)
    assert len(cut.train) == 4 * len(whole.train)
    for number, file in enumerate(whole.train):
        pieces = cut.train[4 * number : 4 * number + 4]
        pixels = [read_image(piece.path)[:, :, 0] for piece in pieces]
        assembled = np.block([pixels[:2], pixels[2:]])
        np.testing.assert_array_equal(assembled, read_image(file.path)[:, :, 0])
        # Cutting divides areas, it loses none.
        area = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in file.xyxy)
        parts = sum((x2 - x1) * (y2 - y1) for p in pieces for x1, y1, x2, y2 in p.xyxy)
        assert parts == pytest.approx(area)


def test_generated_images_are_made_once_per_seed(tmp_path):
    config = BenchmarkConfig(pool=30, test=3)
    (case,) = read_cases(["synthetic:bare"], config, tmp_path, silent)
    first, again, other = (generated(case, config, seed, tmp_path) for seed in (1, 1, 2))
    assert first == again
    assert len(first.train) == 30
    assert len(first.test) == 3
    assert [f.xyxy for f in first.train] != [f.xyxy for f in other.train]
    assert rare_classes(first, first.train, ()) == ("stain",)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_class_that_is_held_back_is_rare_and_not_in_the_initial_images(
    coco_folder, tmp_path, seed
):
    folder = coco_folder(train=60, rare_from=0, every=3)
    config = BenchmarkConfig(held_back=("rare",), rare_images=4, pool=25, initial=5, iterations=1)
    (case,) = read(folder, tmp_path, held_back=("rare",), rare_images=4, pool=25, initial=5)
    pool = make_pool(case, config, seed)
    assert len(pool.files) == 25
    assert sum(pool.holds_rare(i) for i in range(25)) == 4
    assert not any(pool.holds_rare(i) for i in pool.start)
    paths = [f.path for f in pool.files if "rare" not in f.labels]
    assert paths == sorted(paths)
    # The rare ones show the same stretch of the directory as the others.
    rare = [f.path for f in pool.files if "rare" in f.labels]
    assert all(case.train[0].path <= path for path in rare)
    names = [f.path for f in case.train]
    inside = range(names.index(paths[0]) - 3, names.index(paths[-1]) + 4)
    assert all(names.index(path) in inside for path in rare)


def test_the_pool_of_a_seed_is_always_the_same_and_seeds_differ(coco_folder, tmp_path):
    folder = coco_folder(train=60, rare_from=0, every=3)
    settings = {"held_back": ("rare",), "rare_images": 4, "pool": 25, "initial": 5}
    (case,) = read(folder, tmp_path, iterations=1, **settings)
    config = BenchmarkConfig(iterations=1, **settings)
    pools = [make_pool(case, config, seed) for seed in (3, 3, 4)]
    assert pools[0] == pools[1]
    assert pools[0].files != pools[2].files


def test_a_smaller_pool_is_a_stretch_of_the_directory(coco_folder, tmp_path):
    (case,) = read(coco_folder(train=40, rare_from=0), tmp_path)
    names = [f.path for f in case.train]
    places = Counter()
    for seed in range(8):
        pool = make_pool(case, BenchmarkConfig(pool=16, initial=4, budget=4), seed)
        first = names.index(pool.files[0].path)
        assert [f.path for f in pool.files] == names[first : first + 16]
        places[first] += 1
    assert len(places) > 1


def test_random_start_sets_differ_between_seeds_and_avoid_what_is_held_back(coco_folder, tmp_path):
    folder = coco_folder(train=40, rare_from=0, every=3)
    settings = {"held_back": ("rare",), "rare_images": 5, "initial": 6, "budget": 4}
    (case,) = read(folder, tmp_path, **settings)
    config = BenchmarkConfig(initial_order="random", **settings)
    starts = [make_pool(case, config, seed).start for seed in range(6)]
    assert len(set(starts)) > 1
    for seed, start in enumerate(starts):
        pool = make_pool(case, config, seed)
        assert len(start) == len(set(start)) == 6
        assert not any(pool.holds_rare(i) for i in start)


def test_classes_with_a_third_of_an_even_share_are_rare(coco_folder, tmp_path):
    (case,) = read(coco_folder(train=40, rare_from=20), tmp_path)
    counts = Counter(label for f in case.train for label in f.labels)
    assert counts["rare"] * 3 <= sum(counts.values()) / 2
    assert rare_classes(case, case.train, ()) == ("rare",)
    assert rare_classes(case, case.train, ("dot",)) == ("dot",)
    with pytest.raises(ConfigError, match="spot is no class of parts; it has dot, rare"):
        rare_classes(case, case.train, ("spot",))


def test_what_cannot_be_compared_is_refused_with_a_way_out(coco_folder, tmp_path):
    folder = coco_folder()
    with pytest.raises(ConfigError, match="no dataset to compare on"):
        read_cases([], BenchmarkConfig(), tmp_path, silent)
    with pytest.raises(ConfigError, match=r"synthetic:glass.*bare"):
        read_cases(["synthetic:glass"], BenchmarkConfig(), tmp_path, silent)
    with pytest.raises(ConfigError, match="of its own"):
        read_cases(["synthetic:bare"], BenchmarkConfig(tiles=2), tmp_path, silent)
    with pytest.raises(DatasetError, match="no such folder"):
        read_cases([str(tmp_path / "nowhere")], BenchmarkConfig(), tmp_path, silent)
    with pytest.raises(ConfigError, match=r"held_back='hole' is no class of .*dot, rare"):
        read(folder, tmp_path, held_back=("hole",))
    with pytest.raises(ConfigError, match="both be called parts"):
        read_cases([str(folder), str(folder)], BenchmarkConfig(), tmp_path, silent)


def test_a_pool_that_is_too_small_says_so(coco_folder, tmp_path):
    (case,) = read(coco_folder(train=20), tmp_path)
    with pytest.raises(BudgetError, match=r"20 images to choose from.*are 30"):
        make_pool(case, BenchmarkConfig(), 0)
    (case,) = read(coco_folder(train=30, name="more"), tmp_path, held_back=("rare",))
    with pytest.raises(BudgetError, match="5 images hold 'rare'"):
        make_pool(case, BenchmarkConfig(held_back=("rare",), initial=4, budget=4), 0)


def test_a_pool_of_rare_images_alone_is_refused():
    with pytest.raises(ConfigError, match="pool=35 with rare_images=30 leaves 5 other images"):
        BenchmarkConfig(pool=35, rare_images=30, held_back=("rare",))


def test_initial_images_without_a_box_are_refused(coco_folder, tmp_path):
    (case,) = read(coco_folder(), tmp_path)
    empty = Case(
        case.name,
        "",
        case.classes,
        "",
        tuple(type(f)(f.path, f.width, f.height, [], []) for f in case.train),
    )
    with pytest.raises(LabelError, match="none of the 4 initial images of parts"):
        make_pool(empty, BenchmarkConfig(initial=4, budget=4), 0)


def test_boxes_of_other_classes_can_be_left_out(coco_folder, tmp_path):
    folder = coco_folder()
    (all_of_them,) = read(folder, tmp_path)
    (dots,) = read(folder, tmp_path, classes=("dot",))
    assert dots.classes == ("dot",)
    for whole, part in zip(all_of_them.train, dots.train, strict=True):
        assert part.labels == ["dot"] * whole.labels.count("dot")
        kept = [b for b, label in zip(whole.xyxy, whole.labels, strict=True) if label == "dot"]
        assert part.xyxy == kept
    with pytest.raises(ConfigError, match=r"classes=spot: there is no such class.*dot, rare"):
        read(folder, tmp_path, classes=("spot",))
    config = BenchmarkConfig(classes=("particle",), pool=30, test=2)
    (case,) = read_cases(["synthetic:device"], config, tmp_path, silent)
    made = generated(case, config, 0, tmp_path)
    assert {label for f in made.train for label in f.labels} == {"particle"}
    assert rare_classes(made, made.train, ()) == ()
