"""A folder becomes a dataset, or a message and nothing else."""

import json
import shutil
from pathlib import Path

import numpy as np
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
def new_datasets():
    """The names of the datasets that a test made; they are deleted at its end."""
    import fiftyone as fo

    before = set(fo.list_datasets())
    yield lambda: set(fo.list_datasets()) - before
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)


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


# --- other formats -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def boxes():
    """Two classes on images of 40 x 20 px: some, one, none, and one image without labels."""
    return {
        "a.png": [("cat", [4, 5, 10, 10]), ("dog", [0, 0, 40, 20])],
        "b.png": [("dog", [20, 2, 8, 16])],
        "c.png": [],
        "d.png": None,
    }


@pytest.fixture
def pictures(boxes):
    """Writes the images into a folder and returns it."""
    from PIL import Image

    def pictures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in boxes:
            Image.new("L", (40, 20), 99).save(folder / name)
        return folder

    return pictures


def exported(kind):
    """A writer by FiftyOne's own exporter, which is an independent reference."""

    def write(folder, pictures, boxes):
        import fiftyone as fo

        images = pictures(folder.parent / "source")
        dataset = fo.Dataset()
        for name, labels in boxes.items():
            if labels is None and kind not in ("YOLOv5Dataset", "FiftyOneDataset"):
                continue
            sample = fo.Sample(filepath=str(images / name), ground_truth=None)
            if labels is not None:
                sample["ground_truth"] = fo.Detections(
                    detections=[
                        fo.Detection(label=n, bounding_box=[x / 40, y / 20, w / 40, h / 20])
                        for n, (x, y, w, h) in labels
                    ]
                )
            dataset.add_sample(sample)
        options = {} if kind == "FiftyOneDataset" else {"label_field": "ground_truth"}
        if kind == "YOLOv5Dataset":
            options |= {"classes": ["cat", "dog"], "split": "train"}
        dataset.export(str(folder), dataset_type=getattr(fo.types, kind), progress=False, **options)
        dataset.delete()
        for extra in folder.rglob("data"):
            pictures(extra) if kind not in ("YOLOv5Dataset", "FiftyOneDataset") else None

    return write


def coco_document(boxes):
    listed = [name for name, labels in boxes.items() if labels is not None]
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(listed)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": i, "category_id": ["", "cat", "dog"].index(n), "bbox": box}
            for i, name in enumerate(listed)
            for n, box in boxes[name]
        ],
    }


def roboflow_coco(folder, pictures, boxes):
    pictures(folder / "train")
    path = folder / "train/_annotations.coco.json"
    path.write_text(json.dumps(coco_document(boxes)))


def official_coco(folder, pictures, boxes):
    pictures(folder / "train2017")
    (folder / "annotations").mkdir()
    path = folder / "annotations/instances_train2017.json"
    path.write_text(json.dumps(coco_document(boxes)))
    (folder / "annotations/captions_train2017.json").write_text('{"images": [], "annotations": []}')


def yolo(images, yaml):
    """A YOLO v5 set with its images in a folder, described by the text of data.yaml."""

    def write(folder, pictures, boxes):
        place = pictures(folder / images)
        labels = folder / images.replace("images", "labels")
        labels.mkdir(parents=True)
        for name, found in boxes.items():
            if found is not None:
                rows = [
                    f"{['cat', 'dog'].index(n)} {(x + w / 2) / 40} {(y + h / 2) / 20} {w / 40} {h / 20}"
                    for n, (x, y, w, h) in found
                ]
                (labels / name).with_suffix(".txt").write_text("\n".join(rows))
        (folder / "list.txt").write_text("".join(f"{images}/{p.name}\n" for p in place.iterdir()))
        (folder / "data.yaml").write_text(yaml)

    return write


def voc(annotations, images):
    def write(folder, pictures, boxes):
        pictures(folder / images)
        (folder / annotations).mkdir(parents=True, exist_ok=True)
        for name, found in boxes.items():
            objects = "".join(
                f"<object><name>{n}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
                f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
                for n, (x, y, w, h) in found or ()
            )
            if found is not None:
                (folder / annotations / name).with_suffix(".xml").write_text(
                    f'<annotation verified="yes"><filename>{name}</filename><size><width>40</width>'
                    f"<height>20</height><depth>1</depth></size>{objects}</annotation>"
                )

    return write


def cvat(folder, pictures, boxes):
    pictures(folder / "images")
    images = ""
    for number, (name, found) in enumerate(boxes.items()):
        shapes = "".join(
            f'<box label="{n}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" occluded="0"></box>'
            for n, (x, y, w, h) in found or ()
        )
        if name == "a.png":
            shapes += '<polygon label="cat" points="1,1;9,1;9,9" occluded="0"></polygon>'
        if found is not None:
            images += f'<image id="{number}" name="{name}" width="40" height="20">{shapes}</image>'
    (folder / "annotations.xml").write_text(
        f'<?xml version="1.0"?><annotations><version>1.1</version>{images}</annotations>'
    )


FORMATS = [
    ("COCO", exported("COCODetectionDataset")),
    ("COCO", roboflow_coco),
    ("COCO", official_coco),
    ("Pascal VOC", exported("VOCDetectionDataset")),
    ("Pascal VOC", voc("Annotations", "JPEGImages")),
    ("Pascal VOC", voc("VOCdevkit/VOC2012/Annotations", "VOCdevkit/VOC2012/JPEGImages")),
    ("Pascal VOC", voc("train", "train")),
    ("YOLO v5", exported("YOLOv5Dataset")),
    (
        "YOLO v5",
        yolo("images/train", "path: ../datasets/x\ntrain: images/train\nnames: [cat, dog]\n"),
    ),
    ("YOLO v5", yolo("train/images", "train: ../train/images\nnames: {0: cat, 1: dog}\n")),
    ("YOLO v5", yolo("images", "train: list.txt\nval:\nnames:\n- cat\n- dog\n")),
    ("CVAT for images", exported("CVATImageDataset")),
    ("CVAT for images", cvat),
    ("FiftyOne export", exported("FiftyOneDataset")),
]


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_every_format_is_found_out_and_gives_the_same_dataset(
    tmp_path, new_datasets, pictures, boxes, name, write
):
    import fiftyone as fo

    import unseen

    folder = tmp_path / "set"
    folder.mkdir()
    write(folder, pictures, boxes)
    result = unseen.import_folder(folder)
    dataset = fo.load_dataset(result.dataset)
    assert (result.format, result.dataset) == (name, "set")
    assert (result.boxes, result.unlabelled, sorted(result.classes)) == (3, 1, ["cat", "dog"])
    found = {Path(s.filepath).name: s.ground_truth for s in dataset}
    assert found["d.png"] is None
    for image, labels in boxes.items():
        if labels is not None:
            detections = found[image].detections
            assert [d.label for d in detections] == [n for n, _ in labels]
            px = [
                [v * s for v, s in zip(d.bounding_box, (40, 20) * 2, strict=True)]
                for d in detections
            ]
            expected = np.reshape([box for _, box in labels], (-1, 4))
            assert np.reshape(px, (-1, 4)) == pytest.approx(expected, abs=1.01)  # VOC counts pixels
    assert dataset.persistent
    assert result.format in result.summary()
    if write is cvat:
        assert "1 polylines were left out" in result.summary()


def test_images_without_labels_are_a_pool(tmp_path, new_datasets, pictures):
    import fiftyone as fo

    import unseen

    pictures(tmp_path / "lot/one")
    (tmp_path / "lot/one/e.png").write_bytes(b"no image")
    result = unseen.import_folder(str(tmp_path / "lot"), name="photos")
    assert (result.dataset, result.unlabelled, result.train, result.test) == ("photos", 5, 5, 0)
    assert [path[-5:] for path in result.missing] == ["e.png"]
    dataset = fo.load_dataset("photos")
    assert dataset.values("ground_truth") == [None] * 5
    assert dataset.first().metadata.width == 40


def test_a_validation_split_is_the_test_split_where_there_is_no_other(
    tmp_path, new_datasets, pictures, boxes
):
    import fiftyone as fo

    import unseen

    yaml = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
    yolo("images/train", yaml)(tmp_path, pictures, boxes)
    yolo("images/val", yaml)(tmp_path, pictures, boxes)
    result = unseen.import_folder(tmp_path, name="both")
    assert (result.train, result.test) == (4, 4)
    assert "validation split is the test split" in result.summary()
    assert len(fo.load_dataset("both").match_tags("test")) == 4


def outside(folder, pictures, boxes):
    yolo("images", "train: ../secret/images\nnames: [cat, dog]\n")(folder, pictures, boxes)
    pictures(folder.parent / "secret/images")


def bad_row(folder, pictures, boxes):
    yolo("images", "train: images\nnames: [cat, dog]\n")(folder, pictures, boxes)
    (folder / "labels/a.txt").write_text("0 what is this\n")


def bad_class(folder, pictures, boxes):
    yolo("images", "train: images\nnames: [cat]\n")(folder, pictures, boxes)


def two_formats(folder, pictures, boxes):
    cvat(folder, pictures, boxes)
    (folder / "labels.json").write_text(json.dumps(coco_document(boxes)))


def other_size(folder, pictures, boxes):
    cvat(folder, pictures, boxes)
    path = folder / "annotations.xml"
    path.write_text(path.read_text().replace('height="20"', 'height="30"'))


def bomb(folder, pictures, boxes):
    cvat(folder, pictures, boxes)
    path = folder / "annotations.xml"
    declared = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><annotations>'
    path.write_text(path.read_text().replace("<annotations>", declared).replace("cat", "&b;"))


def leading_out(folder, pictures, boxes):
    exported("FiftyOneDataset")(folder, pictures, boxes)
    path = folder / "samples.json"
    path.write_text(path.read_text().replace("data/a.png", "/etc/hostname"))


def linked_out(folder, pictures, boxes):
    pictures(folder)
    (folder / "e.png").symlink_to("/etc/hostname")


def not_exported(folder, pictures, boxes):
    voc("x", "x")(folder, pictures, boxes)
    for path in (folder / "x").glob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder, *_: None, "no files, and no images. Expected a folder of images"),
        (lambda folder, *_: (folder / "a.mp4").touch(), r"files \.mp4 \(1\), and no images"),
        (lambda folder, *_: folder.rmdir(), "no such folder. Expected"),
        (yolo("images", "nothing: here\n"), r"look like labels: a.txt.* YOLO v5 \(data.yaml"),
        (outside, "leads out of the folder"),
        (bad_row, "cannot read these labels .ValueError"),
        (bad_class, "class 1, which `names` lacks"),
        (two_formats, "several formats: COCO .*, CVAT"),
        (other_size, r"\(40, 30\) in the labels, \(40, 20\) in the file"),
        (bomb, "cannot read these labels"),
        (leading_out, "leads out of the folder"),
        (linked_out, "leads out of the folder"),
        (not_exported, "cannot read these labels .*No image found"),
    ],
)
def test_a_wrong_folder_is_named_and_leaves_no_dataset(
    tmp_path, new_datasets, pictures, boxes, write, words
):
    import unseen

    folder = tmp_path / "set"
    folder.mkdir()
    write(folder, pictures, boxes)
    with pytest.raises(DatasetError, match=words):
        unseen.import_folder(folder)
    assert not new_datasets()


def test_a_simulation_takes_every_format(tmp_path, new_datasets, pictures, boxes):
    import fiftyone as fo
    from PIL import Image

    import unseen
    from unseen.benchmark.cases import read_cases
    from unseen.benchmark.config import BenchmarkConfig

    many = {f"{n}{name}": labels for n in range(3) for name, labels in boxes.items()}

    def more(folder):
        folder.mkdir(parents=True)
        for name in many:
            Image.new("L", (40, 20), 99).save(folder / name)
        return folder

    voc("Annotations", "JPEGImages")(tmp_path, more, many)
    result = unseen.import_folder(tmp_path, name="hidden", hidden=True)
    assert (result.train, result.test, result.unlabelled) == (8, 1, 0)
    assert "every 5th image" in result.summary()
    dataset = fo.load_dataset("hidden")
    assert dataset.match_tags("test", bool=False).values("ground_truth") == [None] * 8
    (case,) = read_cases([str(tmp_path)], BenchmarkConfig())
    assert (len(case.train), len(case.test), case.classes) == (8, 1, ("cat", "dog"))
    pictures(tmp_path / "plain")
    with pytest.raises(DatasetError, match="no labels, which a simulated annotator reveals"):
        unseen.import_folder(tmp_path / "plain", hidden=True)


def test_the_operator_works_without_a_dataset(tmp_path, new_datasets, pictures, monkeypatch):
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionContext, Executor

    from unseen.errors import ConfigError

    pictures(tmp_path / "photos")
    operator = foo.get_operator("@unseen/curation/import_folder")

    def context(**params):
        request = {"operator_uri": operator.uri, "params": params}
        return ExecutionContext(request, executor=Executor(), operator_uri=operator.uri)

    ctx = context(folder=str(tmp_path / "photos"))
    with pytest.raises(ConfigError, match="outside of what the App may use"):
        list(operator.execute(ctx))
    monkeypatch.setenv("UNSEEN_ALLOWED_FOLDERS", str(tmp_path))
    form = operator.resolve_type(ctx, "inputs").type.properties
    assert "folder" in form
    assert not any(p.invalid for p in form.values())
    list(operator.execute(ctx))
    assert new_datasets() == {"photos"}
    assert ctx.executor.results["unlabelled"] == 4
