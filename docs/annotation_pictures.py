"""Draw docs/pictures/annotation_*.png: one image of a batch as an annotator gets it from CVAT.

    python docs/annotation_pictures.py

The loop runs on synthetic wafers, and the batch goes to the tests' double of CVAT: once with
suggestions and a detector's boxes, once more with the overlay. What is drawn is the file that was
uploaded and the shapes that the server holds, in a plain frame; it is no picture of CVAT itself.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from unseen.dataset.throwaway import ThrowawayDatabase

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SIDE = 560  #: of the image in the picture, px
LEGEND = 84  #: height of the lines below it, px: a title, and up to four kinds of boxes


def main() -> None:
    """Run the loop in a throw-away database and write the two pictures."""
    sys.path.insert(0, str(ROOT / "tests" / "doubles"))
    from cvat_double import CvatDouble

    with ThrowawayDatabase(), CvatDouble() as cvat, tempfile.TemporaryDirectory() as folder:
        settings = {"URL": cvat.url, "USERNAME": cvat.username, "PASSWORD": cvat.password}
        os.environ.update({f"FIFTYONE_CVAT_{k}": v for k, v in settings.items()})
        import unseen

        dataset = ready_to_send(Path(folder))
        classes = ["particle", "scratch", "stain"]
        unseen.request_annotations(dataset, classes=classes, predictions=True)
        shapes = held_by(cvat, dataset)
        sample_id = most_telling(dataset, shapes)
        sample = dataset[sample_id]
        draw(
            sample.filepath,
            shapes[sample_id],
            "The image with suggestions and a detector's boxes",
            PICTURES / "annotation_boxes.png",
        )
        # Sent anew, this time with the overlay: a task that is gone frees its images.
        for task in list(cvat.tasks):
            cvat.delete_task(task)
        unseen.load_annotations(dataset)
        unseen.request_annotations(dataset, classes=classes, predictions=True, overlay=True)
        dataset.reload()
        sample = dataset[sample_id]
        draw(
            sample["unseen_overlay"],
            held_by(cvat, dataset)[sample_id],
            "The same image sent with --overlay",
            PICTURES / "annotation_overlay.png",
        )


def ready_to_send(folder: Path) -> Any:
    """A dataset with a scored, selected and predicted batch."""
    import fiftyone as fo

    import unseen
    from unseen.benchmark.synthetic.dataset import write_coco_folder
    from unseen.dataset.coco_folder import import_coco_folder

    write_coco_folder(folder / "wafers", "bare", train=90, test=6, seed=51)
    import_coco_folder(folder / "wafers", "wafers")
    dataset = fo.load_dataset("wafers")
    unseen.split_dataset(dataset, initial=10)
    unseen.reveal_labels(dataset)
    unseen.train_unet(dataset)
    unseen.score_samples(dataset)
    unseen.train_detector(dataset, steps=250)
    unseen.select_batch(dataset, budget=10)
    batch = dataset.load_saved_view("batch_01")
    unseen.apply_detector(batch, target="view")
    return dataset


def held_by(cvat: Any, dataset: Any) -> dict[str, list[dict[str, Any]]]:
    """Sample id -> the shapes on the server, with class and colour."""
    links = dict(zip(*dataset.values(["id", "unseen_annotation_url"]), strict=True))
    shapes = {}
    for sample_id, link in links.items():
        if link and link.startswith(cvat.url):
            job, frame = link.rsplit("/", 1)[1].split("?frame=")
            person = cvat.annotator(int(job))
            colours = {label.name: label.color for label in person.job.task.labels}
            shapes[sample_id] = [
                {**shape, "color": colours[shape["label"]]} for shape in person.shapes(int(frame))
            ]
    return shapes


def most_telling(dataset: Any, shapes: dict[str, list[dict[str, Any]]]) -> str:
    """The image with boxes of both kinds whose largest suggestion is the largest."""

    def largest(sample_id: str) -> float:
        kinds = {shape["label"] == "unseen" for shape in shapes[sample_id]}
        sizes = [
            (x2 - x1) * (y2 - y1)
            for shape in shapes[sample_id]
            if shape["label"] == "unseen"
            for x1, y1, x2, y2 in [shape["points"]]
        ]
        return max(sizes, default=0.0) * (len(kinds) == 2)

    return max(shapes, key=largest)


def draw(file: str, shapes: list[dict[str, Any]], title: str, path: Path) -> None:
    """The uploaded file with the server's shapes, and a legend with their numbers."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from PIL import Image

    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    figure = Figure(figsize=((SIDE + 20) / 100, (SIDE + LEGEND + 20) / 100), dpi=100)
    total_width, total_height = SIDE + 20, SIDE + LEGEND + 20
    axes = figure.add_axes(
        (10 / total_width, (LEGEND + 10) / total_height, SIDE / total_width, SIDE / total_height)
    )
    axes.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
    axes.set_xticks([])
    axes.set_yticks([])
    for shape in shapes:
        x1, y1, x2, y2 = shape["points"]
        thick = 2.6 if shape["label"] == "unseen" else 1.8
        # A dark rim keeps the line visible on bright images.
        for colour, width_px in (("black", thick + 1.4), (shape["color"], thick)):
            axes.add_patch(
                Rectangle(
                    (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width_px
                )
            )
    counts = Counter((shape["label"], shape["color"]) for shape in shapes)
    order = sorted(counts.items(), key=lambda c: (c[0][0] != "unseen", c[0][0]))
    handles = [
        Line2D([], [], color=colour, linewidth=3.2 if name == "unseen" else 2)
        for (name, colour), _ in order
    ]
    texts = [
        f"{n} x {'unseen: suggestions' if name == 'unseen' else f'{name}: drawn by a detector'}"
        for (name, _), n in order
    ]
    figure.text(10 / total_width, (LEGEND - 12) / total_height, title, fontsize=11, weight="bold")
    figure.legend(
        handles,
        texts,
        loc="lower left",
        bbox_to_anchor=(2 / total_width, 4 / total_height),
        ncols=2,
        frameon=False,
        fontsize=10,
        facecolor="white",
    )
    figure.savefig(path, metadata={"Software": None})
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
