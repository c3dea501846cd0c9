"""A folder becomes a dataset, or a message and nothing else."""

import json
import shutil

import pytest

from unseen.benchmark.synthetic.dataset import write_coco_folder
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def wafers(tmp_path_factory):
    return write_coco_folder(tmp_path_factory.mktemp("coco") / "wafers", "bare", train=6, test=4)


@pytest.fixture
def copy(wafers, tmp_path):
    """A folder of its own to damage."""
    return shutil.copytree(wafers, tmp_path / "copy")


@pytest.fixture
def load(new_datasets):
    """Import a folder; the result and the dataset."""
    import fiftyone as fo

    from unseen.dataset.coco_folder import import_coco_folder

    def load(folder, *args, **kwargs):
        result = import_coco_folder(folder, *args, **kwargs)
        return result, fo.load_dataset(result.dataset)

    return load


def edit(folder, change):
    path = folder / "train/labels.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_train_labels_are_hidden_and_test_labels_are_open(wafers, load):
    result, dataset = load(wafers)
    truth = {s: json.loads((wafers / s / "labels.json").read_text()) for s in ("train", "test")}
    assert dataset.persistent
    assert dataset.default_classes == result.classes == ["particle", "scratch", "stain"]
    assert (result.train, result.test) == (6, 4)
    assert result.boxes == sum(len(document["annotations"]) for document in truth.values())
    test = dataset.match_tags("test")
    train = dataset.match_tags("test", bool=False)
    assert (len(train), len(test)) == (6, 4)
    assert train.values("ground_truth") == [None] * 6
    assert train.count("hidden_truth.detections") == len(truth["train"]["annotations"])
    for name in ("ground_truth", "hidden_truth"):
        assert test.count(f"{name}.detections") == len(truth["test"]["annotations"])
    paths = train.values("filepath")
    assert paths == sorted(paths) == [str(p) for p in sorted((wafers / "train/data").iterdir())]
    first = dataset.first()
    px = [v * 256 for d in first.hidden_truth.detections for v in d.bounding_box]
    boxes = [a["bbox"] for a in truth["train"]["annotations"] if a["image_id"] == 1]
    assert px == pytest.approx([v for box in boxes for v in box])
    assert (first.metadata.width, first.metadata.height) == (256, 256)


def test_names_are_numbered_and_nothing_is_written_over(wafers, load):
    import fiftyone as fo

    from unseen.dataset.coco_folder import numbered_name

    assert numbered_name("dies") == "dies"
    fo.Dataset("dies")
    assert numbered_name("dies") == "dies-2"
    assert numbered_name("DIES") == "DIES-2"
    with pytest.raises(DatasetError, match="letters or digits"):
        numbered_name("???")
    fo.Dataset("dies-2")
    with pytest.raises(DatasetError, match="dies-3"):
        load(wafers, "dies")
    assert len(fo.load_dataset("dies")) == 0


def test_what_is_odd_but_harmless_is_imported_and_named(copy, load):
    def change(document):
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] != 1]
        document["categories"].append({"id": 0, "name": "background"})

    edit(copy, change)
    for number in (2, 3):
        (copy / f"train/data/00000{number}.png").unlink()
    (copy / "train/data/000003.png").write_bytes(b"no image")
    (copy / "train/data/extra.png").write_bytes(b"")
    result, dataset = load(copy)
    assert [path[-10:] for path in result.missing] == ["000002.png", "000003.png"]
    assert result.unlisted == 1
    assert "2 listed images cannot be read" in result.summary()
    assert result.classes == ["particle", "scratch", "stain"]
    assert len(dataset) == 10
    assert dataset.first().hidden_truth.detections == []  # labelled: nothing there


def damaged(key, position, **values):
    return lambda document: document[key][position].update(values)


def moved(document):
    for record in document["images"]:
        record["file_name"] = "moved-" + record["file_name"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(images=[], annotations=[]), "lists no images"),
        (damaged("annotations", 0, category_id=99), "unknown category id 99"),
        (damaged("annotations", 0, image_id=99), "unknown image id 99"),
        (damaged("annotations", 0, image_id=[1]), r"unknown image id \[1\]"),
        (damaged("annotations", 0, bbox=[1, 2, 3]), "no bbox"),
        (lambda d: d.pop("categories"), "'categories' is NoneType"),
        (lambda d: d["images"].append(d["images"][0]), "repeats id 1"),
        (damaged("images", 0, width=512), "512"),
        (moved, "none of its 6 images can be read"),
        (damaged("categories", 0, name="unseen"), "class 'unseen'"),
        (damaged("images", 0, file_name="../../test/data/000001.png"), "leads out"),
        (damaged("images", 0, file_name="/etc/hostname"), "leads out .* /etc/hostname"),
        (damaged("images", 0, file_name="link.png"), "link.png' leads out"),
        (damaged("images", 0, file_name="C:\\images\\a.png"), "no path below"),
        (damaged("images", 0, file_name="lot\0.png"), "no path below"),
        (damaged("images", 0, file_name="./000002.png"), "listed twice"),
    ],
)
def test_bad_labels_are_named_and_leave_no_dataset(copy, load, new_datasets, change, named):
    (copy / "train/data/link.png").symlink_to(copy / "test/data/000001.png")
    edit(copy, change)
    with pytest.raises((DatasetError, LabelError), match=named):
        load(copy)
    assert not new_datasets()


def test_a_missing_or_broken_file_says_what_is_expected(copy, load):
    (copy / "train/labels.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match=r"labels\.json is not valid JSON \(.*line 1"):
        load(copy)
    (copy / "train/labels.json").unlink()
    with pytest.raises(DatasetError, match="outside of the test split there are no labels"):
        load(copy)


def test_an_interrupted_import_leaves_no_dataset(wafers, load, new_datasets):
    def stop(done, total, label=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(wafers, progress=stop)
    assert not new_datasets()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_labels_may_be_encoded_as_on_windows(copy, load, encoding):
    path = copy / "train/labels.json"
    path.write_bytes(path.read_text().replace("scratch", "Kratzer ü").encode(encoding))
    assert "Kratzer ü" in load(copy)[0].classes


def test_labels_nested_without_end_are_refused(copy, load, new_datasets):
    (copy / "train/labels.json").write_text("[" * 200_000)
    with pytest.raises(DatasetError, match="nested too deeply"):
        load(copy)
    assert not new_datasets()


def test_files_may_lie_in_folders_and_be_named_in_full_or_as_on_windows(copy, load):
    first, second = (path for path in sorted((copy / "train/data").iterdir())[:2])
    (first.parent / "lot1").mkdir()
    moved = first.rename(first.parent / "lot1" / first.name)

    def change(document):
        record, other = sorted(document["images"], key=lambda image: image["file_name"])[:2]
        record["file_name"], other["file_name"] = rf"lot1\{first.name}", str(second)

    edit(copy, change)
    result, dataset = load(copy)
    assert (result.missing, result.unlisted) == ([], 0)
    assert {str(moved), str(second)} < set(dataset.values("filepath"))


def test_crowds_are_regions_to_ignore_and_stay_so(copy, load):
    from unseen.dataset.reading import read_labels

    def change(document):
        document["annotations"].append(
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 64, 32], "iscrowd": 1}
        )

    edit(copy, change)
    objects = len(json.loads((copy / "train/labels.json").read_text())["annotations"]) - 1
    result, dataset = load(copy)
    assert result.ignored == 1
    assert "1 crowds" in result.summary()
    images = read_labels(dataset.match_tags("test", bool=False), "hidden_truth").images
    assert sum(len(image.labels) for image in images) == objects
    assert images[0].ignored.tolist() == [[0, 0, 64, 32]]
    assert sum(len(image.ignored) for image in images) == 1
