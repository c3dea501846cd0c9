"""Make docs/example.ipynb: write its cells, run them on a database of their own, keep the outputs.

    python docs/notebook.py

Figures are kept as PNG on white, because GitHub runs no JavaScript and may show them on a dark
page. Needs the extra `docs` and a Chromium, which draws Plotly's figures.
"""

from __future__ import annotations

import base64
import getpass
import io
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from unseen.dataset.throwaway import ThrowawayDatabase

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "example.ipynb"
#: Seconds a cell may take.
LIMIT = 900
#: Colours of a stored picture: enough for figures and grey images.
COLOURS = 128

#: (kind, text) of each cell, in order.
CELLS = (
    (
        "markdown",
        """
# The loop on synthetic wafers

Which images should be labelled next? This notebook goes through the whole loop in Python: a few labelled images, a UNet that marks what it
has never seen, a batch in rank order, labels, a detector that is measured after every batch, and the question when to stop.

The images are synthetic wafers with complete labels, so a simulated annotator can label the batches. On your own images, people do that in
CVAT or in FiftyOne; everything else stays as it is here. It takes about four minutes on two CPU cores. `make notebook` writes it anew.
""",
    ),
    (
        "code",
        """
import fiftyone as fo

import unseen
from unseen import overview, plots
from unseen.benchmark.synthetic.dataset import write_coco_folder
from unseen.dataset.coco_folder import import_coco_folder

folder = write_coco_folder("wafers", "bare", train=160, test=40, seed=51)
import_coco_folder(folder, "wafers")
""",
    ),
    (
        "markdown",
        """
There are many particles, some scratches, and stains, which are rare: the first 60 images show none. The complete labels are in the field
`hidden_truth`, which only the simulated annotator looks at. With images of your own, make the dataset with FiftyOne instead, for example with
`fo.Dataset.from_images_dir(...)`.

## Set up

One call looks for images that are of no use, fixes the test split, and chooses the initial images. Here they are the first ten in
directory order, as most teams begin.
""",
    ),
    (
        "code",
        """
unseen.prepare_dataset(
    "wafers", initial=10, initial_order="directory", classes=["particle", "scratch", "stain"]
)
""",
    ),
    ("code", 'unseen.reveal_labels("wafers")  # your team labels the initial images'),
    (
        "markdown",
        """
`overview.now` says at any time where the loop stands and what is due. In the App, the *Curation* panel shows the same.
""",
    ),
    ("code", 'overview.now("wafers")'),
    (
        "markdown",
        """
## What does the model not know?

The UNet learns background and known objects from the ten labelled images. Then it scores every image of the pool: a pixel that is neither
known background nor a known object has a high *unseen score*. The next batch is shared by images that have most of it, images unlike any
other, and kinds of images that nobody has labelled; a rehearsal on what is labelled says how to divide it.
""",
    ),
    ("code", 'unseen.train_unet("wafers")'),
    ("code", 'unseen.score_samples("wafers")'),
    ("code", 'unseen.select_batch("wafers", budget=10)'),
    ("code", 'ranking = overview.ranking("wafers")\nplots.ranking_histogram(ranking).show()'),
    ("code", "ranking"),
    (
        "markdown",
        """
The heatmap lies on each sample, and the saved view `batch_01` holds the batch in rank order. The first four images:
""",
    ),
    (
        "code",
        """
import numpy as np
from PIL import Image

from unseen.arrays.heatmap import overlay
from unseen.arrays.images import read_image

batch = fo.load_dataset("wafers").load_saved_view("batch_01")
images = [(255 * read_image(s.filepath, channels=3)).astype(np.uint8) for s in batch[:4]]
heatmaps = [s.unseen_heatmap.map for s in batch[:4]]
pairs = zip(images, heatmaps, strict=True)
Image.fromarray(np.hstack([overlay(i, h, opacity=0.6) for i, h in pairs]))
""",
    ),
    (
        "markdown",
        """
## How good is the detector?

A Faster R-CNN is trained on all labels so far and measured on the test split, after every batch in the same way. This is iteration 0, before
the first batch. It cannot find stains: nobody has labelled one yet.
""",
    ),
    (
        "code",
        '''
def measure() -> object:
    """Train the detector on the labels so far, and measure it on the test split."""
    unseen.train_detector("wafers", steps=400)
    unseen.apply_detector("wafers")
    return unseen.evaluate_detector("wafers")


measure()
''',
    ),
    (
        "markdown",
        """
## Label the batch

`unseen.request_annotations("wafers")` would hand the batch to CVAT with the unseen regions marked, and `unseen.load_annotations("wafers")`
would bring the labels back. The simulated annotator is quicker.
""",
    ),
    ("code", 'unseen.reveal_labels("wafers")'),
    ("code", "measure()"),
    (
        "markdown",
        """
## The second iteration

The same again: train, score, select, label, measure. The first batch showed a rare class for the first time, and most of the second goes to
images that look like it.
""",
    ),
    (
        "code",
        """
unseen.train_unet("wafers")
unseen.score_samples("wafers")
unseen.select_batch("wafers", budget=10)
""",
    ),
    ("code", 'unseen.reveal_labels("wafers")'),
    ("code", "measure()"),
    (
        "markdown",
        """
Now that labels of a ranked batch are there, they tell how far the ranking can be trusted.
""",
    ),
    ("code", 'overview.ranking("wafers").trust'),
    (
        "markdown",
        """
## Was it worth it?

The bars are 95 % intervals over the test images.
""",
    ),
    ("code", 'progress = overview.progress("wafers")\nprogress'),
    ("code", "plots.learning_curve(progress).show()"),
    ("code", "plots.class_curves(progress).show()"),
    ("code", "plots.class_balance(progress).show()"),
    (
        "markdown",
        """
One run says little about whether the ranking helps: compare it with batches in directory order or at random. `unseen.simulate` runs the loop
for several strategies, and `unseen.compare_iterations` puts them side by side in one HTML report.

## When to stop?
""",
    ),
    (
        "code",
        'overview.stopping(progress, overview.ranking("wafers"), overview.now("wafers"))',
    ),
    (
        "markdown",
        """
`unseen app wafers` opens the result in the FiftyOne App. `unseen.clean_dataset` removes what the steps wrote, and only that; the labels stay.
""",
    ),
    ("code", 'unseen.clean_dataset("wafers")'),
)


def main() -> None:
    """Run the cells and write the notebook."""
    import nbformat

    with ThrowawayDatabase() as database, tempfile.TemporaryDirectory() as folder:
        notebook = run(Path(folder))
        for cell in notebook.cells:
            tidy(cell)
        # Results name their checkpoints, in the folder of a database that is gone by then.
        text = nbformat.writes(notebook).replace(str(database.folder), "~") + "\n"
        check(text, [folder, str(ROOT), str(Path.home())])
    nbformat.validate(nbformat.reads(text, as_version=4))
    NOTEBOOK.write_text(text, encoding="utf-8")
    print(f"{NOTEBOOK.relative_to(ROOT)}: {len(text) // 1000} kB")


def run(folder: Path) -> Any:
    """The notebook with its outputs; `folder` is where its cells work."""
    import nbformat
    from nbclient import NotebookClient

    os.environ["PLOTLY_RENDERER"] = "png"
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser:
        os.environ.setdefault("BROWSER_PATH", browser)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        getattr(nbformat.v4, f"new_{kind}_cell")(text.strip("\n"), id=f"cell-{number:02d}")
        for number, (kind, text) in enumerate(CELLS, start=1)
    ]
    settings = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=LIMIT, resources=settings, record_timing=False)
    client.execute()
    # What is left says which machine it ran on.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def tidy(cell: Any) -> None:
    """Make the pictures of a cell small, and put them on white."""
    for output in cell.get("outputs", []):
        picture = output.get("data", {}).get("image/png")
        if picture:
            output["data"] = {"image/png": on_white(picture)}


def on_white(picture: str) -> str:
    """A PNG in base64, without transparency and with few colours."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        pixels = image.convert("RGBA")
    ground = Image.new("RGBA", pixels.size, "white")
    ground.alpha_composite(pixels)
    small = ground.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def check(text: str, private: list[str]) -> None:
    """Stop if a warning, a folder or a name of this machine would be published."""
    wrong = [p for p in private if p != "/" and p in text]
    wrong += re.findall(rf"\b{re.escape(getpass.getuser())}\b", text)
    wrong += re.findall(r'"name": "stderr"', text)
    if wrong:
        (Path(tempfile.gettempdir()) / NOTEBOOK.name).write_text(text, encoding="utf-8")
        raise SystemExit(f"the notebook holds {sorted(set(wrong))}; nothing was written")


if __name__ == "__main__":
    main()
