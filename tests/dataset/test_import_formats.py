"""Every format of labels gives the same dataset; a wrong folder is named and leaves none."""

import json
from pathlib import Path

import numpy as np
import pytest

from unseen.errors import DatasetError

pytestmark = pytest.mark.fiftyone


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
    (
        "FiftyOne export",
        lambda folder, *args: exported("FiftyOneDataset")(folder / "inner", *args),
    ),
]


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_every_format_is_found_out_and_gives_the_same_dataset(
    tmp_path, new_datasets, pictures, boxes, name, write
):
    import fiftyone as fo

    import unseen
    from unseen.dataset import labelling
    from unseen.dataset.loop import Loop

    folder = tmp_path / "set"
    folder.mkdir()
    write(folder, pictures, boxes)
    result = unseen.import_folder(folder)
    dataset = fo.load_dataset(result.dataset)
    assert (result.format, result.dataset) == (name, "set")
    assert (result.boxes, result.unlabelled, sorted(result.classes)) == (3, 1, ["cat", "dog"])
    # An image that is listed without boxes is labelled for every step; an export says it as it is.
    loop = Loop(dataset)
    assert len(loop.labelled_ids()) == 3
    assert not labelling.notes(loop)
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


def two_exports(folder, pictures, boxes):
    for part in ("one", "two"):
        exported("FiftyOneDataset")(folder / part, pictures, boxes)


def unknown_ending(folder, pictures, boxes):
    pictures(folder / "data").joinpath("a.png").rename(folder / "data/a.picture")
    document = json.dumps(coco_document(boxes)).replace("a.png", "a.picture")
    (folder / "labels.json").write_text(document)


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
        (two_exports, "several exports: .*Name one"),
        (unknown_ending, r"do not end like an image, .*: a\.picture\. Rename"),
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
