import json
import uuid

import pytest

from unseen.benchmark.synthetic.dataset import write_coco_folder
from unseen.dataset.fields import Names
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def wafers(tmp_path_factory):
    return write_coco_folder(tmp_path_factory.mktemp("coco") / "wafers", "bare", train=6, test=4)


@pytest.fixture
def copy(wafers, tmp_path):
    """A folder of its own to damage: links to the images, copies of the labels."""
    for split in ("train", "test"):
        (tmp_path / split / "data").mkdir(parents=True)
        for path in (wafers / split / "data").iterdir():
            (tmp_path / split / "data" / path.name).symlink_to(path)
        (tmp_path / split / "labels.json").write_text((wafers / split / "labels.json").read_text())
    return tmp_path


@pytest.fixture
def names_of_new_datasets():
    import fiftyone as fo

    before = set(fo.list_datasets())
    yield lambda: sorted(set(fo.list_datasets()) - before)
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)


def _unique():
    return f"coco-{uuid.uuid4().hex[:8]}"


def _import(*args, **kwargs):
    from unseen.dataset.coco_folder import import_coco_folder

    return import_coco_folder(*args, **kwargs)


def _edit(folder, change, split="train"):
    path = folder / split / "labels.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_train_labels_are_hidden_and_test_labels_are_open(wafers, names_of_new_datasets):
    import fiftyone as fo

    result = _import(wafers, _unique())
    dataset = fo.load_dataset(result.dataset)
    truth = {
        split: json.loads((wafers / split / "labels.json").read_text())
        for split in ("train", "test")
    }
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
    xywh = [d.bounding_box for d in first.hidden_truth.detections]
    expected = [a["bbox"] for a in truth["train"]["annotations"] if a["image_id"] == 1]
    assert [v * 256 for box in xywh for v in box] == pytest.approx(
        [v for box in expected for v in box]
    )
    assert (first.metadata.width, first.metadata.height) == (256, 256)


def test_stored_names_can_be_changed(wafers, names_of_new_datasets):
    import fiftyone as fo

    names = Names(label_field="defects", test_tag="holdout")
    result = _import(wafers, _unique(), hidden_field="secret", names=names)
    dataset = fo.load_dataset(result.dataset)
    assert dataset.match_tags("holdout").count("defects") == 4
    assert dataset.count("secret") == 10
    assert not dataset.has_sample_field("ground_truth")


def test_names_are_numbered_and_nothing_is_written_over(wafers, names_of_new_datasets):
    import fiftyone as fo

    from unseen.dataset.coco_folder import numbered_name

    base = _unique()
    assert numbered_name(base) == base
    fo.Dataset(base)
    assert numbered_name(base) == f"{base}-2"
    assert numbered_name(base.upper()) == f"{base.upper()}-2"
    with pytest.raises(DatasetError, match="letters or digits"):
        numbered_name("???")
    fo.Dataset(f"{base}-2")
    assert numbered_name(base) == f"{base}-3"
    with pytest.raises(DatasetError, match=f"{base}-3"):
        _import(wafers, base)
    assert len(fo.load_dataset(base)) == 0


def test_an_image_without_boxes_is_labelled_nothing_there(copy, names_of_new_datasets):
    import fiftyone as fo

    _edit(copy, lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] != 1]))
    result = _import(copy, _unique())
    assert fo.load_dataset(result.dataset).first().hidden_truth.detections == []


def test_missing_and_damaged_images_are_imported_and_named(copy, names_of_new_datasets):
    import fiftyone as fo

    (copy / "train/data/000001.png").unlink()
    (copy / "train/data/000002.png").unlink()
    (copy / "train/data/000002.png").write_bytes(b"no image")
    (copy / "train/data/extra.png").write_bytes(b"")
    result = _import(copy, _unique())
    assert [path[-10:] for path in result.missing] == ["000001.png", "000002.png"]
    assert result.unlisted == 1
    assert "2 listed images cannot be read" in result.summary()
    assert len(fo.load_dataset(result.dataset)) == 10


def test_an_unused_background_category_is_left_out(copy, names_of_new_datasets):
    _edit(copy, lambda d: d["categories"].append({"id": 0, "name": "background"}))
    assert _import(copy, _unique()).classes == ["particle", "scratch", "stain"]


def test_a_used_category_called_unseen_is_refused(copy, names_of_new_datasets):
    _edit(copy, lambda d: d["categories"][0].update(name="unseen"))
    with pytest.raises(LabelError, match="unseen"):
        _import(copy, _unique())
    assert names_of_new_datasets() == []


def _nothing_listed(document):
    document.update(images=[], annotations=[])


def _unknown_category(document):
    document["annotations"][0]["category_id"] = 99


def _unknown_image(document):
    document["annotations"][0]["image_id"] = 99


def _odd_image_id(document):
    document["annotations"][0]["image_id"] = [1]


def _short_box(document):
    document["annotations"][0]["bbox"] = [1, 2, 3]


def _no_categories(document):
    del document["categories"]


def _repeated_image(document):
    document["images"].append(document["images"][0])


def _other_size(document):
    document["images"][0].update(width=512)


def _other_names(document):
    for record in document["images"]:
        record["file_name"] = "moved-" + record["file_name"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_nothing_listed, "lists no images"),
        (_unknown_category, "unknown category id 99"),
        (_unknown_image, "unknown image id 99"),
        (_odd_image_id, r"unknown image id \[1\]"),
        (_short_box, "no bbox"),
        (_no_categories, "'categories' is NoneType"),
        (_repeated_image, "repeats id 1"),
        (_other_size, "512"),
        (_other_names, "none of its 6 images can be read"),
    ],
)
def test_bad_labels_are_named_and_leave_no_dataset(copy, names_of_new_datasets, change, named):
    _edit(copy, change)
    with pytest.raises(DatasetError, match=named):
        _import(copy, _unique())
    assert names_of_new_datasets() == []


def test_a_missing_folder_says_what_is_expected(tmp_path, copy):
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; expected FOLDER/train"):
        _import(tmp_path / "nowhere")
    (copy / "test/labels.json").unlink()
    with pytest.raises(DatasetError, match=r"labels\.json: no such file"):
        _import(copy)


def test_broken_json_names_file_and_position(copy):
    (copy / "train/labels.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match=r"labels\.json is not valid JSON \(.*line 1"):
        _import(copy)


def test_an_interrupted_import_leaves_no_dataset(wafers, names_of_new_datasets):
    def stop(done, total, label=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _import(wafers, _unique(), progress=stop)
    assert names_of_new_datasets() == []
