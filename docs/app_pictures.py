"""Take docs/pictures/app_*: the App with the Curation panel on synthetic wafers, and a film of it.

    python docs/app_pictures.py
    python docs/app_pictures.py --look demo/pictures

Three datasets are made in a throw-away database: one before its first ranked batch is labelled, one
after three batches, with a baseline, and one before its fourth batch is chosen. Then a headless
Chromium opens them in a real App. docs/pictures/screens.json says what words each section had; the
tests of the App compare. `--look` writes every section in two sizes and both themes into a folder
instead, for a person to look at. Needs the extra `docs` and Chromium; takes half an hour on two
CPU cores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import app_film  # beside this file

from unseen.dataset.throwaway import ThrowawayDatabase

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
#: Before the first batch is labelled, after three of them, and before the fourth is chosen.
FIRST, DONE, NEXT = "wafers", "wafers-labelled", "wafers-next"
#: What the pictures show of each section, in words.
SCREENS = PICTURES / "screens.json"
#: A stored picture is smaller than this, bytes.
LARGEST = 150_000
#: Numbers of greys to try, until a picture is small enough.
GREYS = (86, 60, 44, 34, 26)
#: The most frequent greys are kept as they are: the App's own surfaces.
SURFACES = 8
#: A pixel is coloured where its channels differ by more than this, of 255.
COLOURED = 24
#: Empty rows that are kept at the bottom of a picture, px.
MARGIN = 16
#: What a section says once it is there.
SECTIONS = {
    "Now": "Out for labelling",
    "Ranking": "scored images",
    "Progress": "Measured on",
    "When to stop": "The rule behind it",
}
#: What `outline` takes: a heading is what is bold in the text, without its numbers.
OUTLINE = """root => [...root.querySelectorAll(
    '[role=tab], strong, button p, td button, [role=button], th, .xtitle, .ytitle, label')]
  .map(e => e.textContent.split(':')[0].replace(/[0-9][0-9.,]*/g, '#').trim()).filter(text => text)"""
#: For what is drawn without a sign that it is there, ms.
PAUSE = 4000
#: px; the second one for looking only.
SIZES = ((1280, 800), (1920, 1080))


def main() -> None:
    """Make the datasets, open the App, take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of the App.")
    parser.add_argument("--look", type=Path, help="folder for many large pictures, to look at")
    look = parser.parse_args().look
    os.environ["FIFTYONE_APP_GRID_ZOOM"] = "9"  # few and large images
    with ThrowawayDatabase(plugins=ROOT) as database, tempfile.TemporaryDirectory() as folder:
        make_datasets(Path(folder) / "wafers")
        with opened(database.folder / "app.log") as page:
            take_all(page, look) if look else take(page)


def make_datasets(folder: Path) -> None:
    """Import synthetic wafers twice and run the loop on both."""
    import fiftyone as fo

    import unseen
    from unseen.benchmark.synthetic.dataset import CLASSES, write_coco_folder
    from unseen.dataset.appearance import save_workspace
    from unseen.dataset.coco_folder import import_coco_folder

    write_coco_folder(folder, "bare", train=200, test=60, seed=51)
    for name in (FIRST, DONE):
        import_coco_folder(folder, name)

    unseen.prepare_dataset(FIRST, initial=10, initial_order="directory", classes=CLASSES["bare"])
    unseen.reveal_labels(FIRST)
    loops = {"strategies": ("diverse", "sequential"), "iterations": 3, "detector_steps": 500}
    unseen.simulate(DONE, **loops)
    for name in (FIRST, DONE):
        unseen.train_unet(name)
        if name == DONE:
            fo.load_dataset(DONE).clone(NEXT, persistent=True)
        unseen.score_samples(name)
        unseen.select_batch(name, budget=12)
    for name in (DONE, NEXT):
        save_workspace(fo.load_dataset(name))


@contextmanager
def opened(log: Path) -> Iterator[Callable[..., Any]]:
    """The App in a browser: `page(width=..., height=..., light=...)` is a page of it."""
    sys.path.insert(0, str(ROOT / "tests" / "doubles"))
    from app_browser import AppServer, app_page, browser

    with AppServer(log) as server, browser() as chromium:
        yield lambda **settings: app_page(chromium, server, **settings)


# --- the pictures of the documentation --------------------------------------------------------------
def take(page: Callable[..., Any]) -> None:
    """The pictures of README.md and docs/guide.md."""
    with page(width=1440, height=860) as app:
        show(app, FIRST, "batch-01", "Ranking")
        store(app.page.screenshot(), "workspace")
        app.tab("Now")
        app.says(SECTIONS["Now"])
        app.press("Train the UNet")
        app.wait_for_form("Train the UNet")
        app.wait(app.execute_button.is_enabled, "the form")
        store(app.form.screenshot(), "form")
        app.close_form()
        open_first(app)
        store(app.page.screenshot(), "sample")
    # High enough that a section is seen as a whole.
    for name, height in (("Now", 860), ("Progress", 3000), ("When to stop", 860)):
        with page(width=1280, height=height) as app:
            show(app, DONE, "batch-04", name)
            picture = app.page.screenshot(clip=app.panel.bounding_box())
            store(picture, name.lower().replace(" ", "_"))
    with page(width=1600, height=1000) as app:
        show(app, DONE, "batch-04", "Now")
        words = {name: outline(app, name) for name in SECTIONS}
        SCREENS.write_text(json.dumps(words, indent=1) + "\n")
    with page(width=1280, height=800) as app:
        app.page.add_init_script(app_film.POINTER)
        path = PICTURES / "app_loop.webp"
        film = app_film.Film(app)
        app_film.play(film, NEXT)
        film.store(path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


def outline(app: Any, section: str) -> list[str]:
    """The words that a section has whatever the data: headings, columns, axes and buttons.

    Numbers are left out, and what follows the colon of a heading.
    """
    app.tab(section)
    app.panel.get_by_text(SECTIONS[section]).first.wait_for()
    app.page.wait_for_timeout(PAUSE)  # plots are drawn later
    words = app.panel.evaluate(OUTLINE)
    return list(dict.fromkeys(words[words.index("Now") :]))  # how the last run ended is above


def take_all(page: Callable[..., Any], folder: Path) -> None:
    """Every section of both datasets, small and large, dark and light."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        for light in (False, True):
            tag = f"{width}_{'light' if light else 'dark'}"
            for dataset, view, sections in (
                (FIRST, "batch-01", ("Now", "Ranking")),
                (DONE, "batch-04", tuple(SECTIONS)),
            ):
                for name in sections:
                    with page(width=width, height=height, light=light) as app:
                        show(app, dataset, view, name)
                        app.page.screenshot(path=folder / f"{dataset}_{name}_{tag}.png")
            # A page of its own that is high enough for all of it.
            for dataset, view, name in (
                (FIRST, "batch-01", "Ranking"),
                (DONE, "batch-04", "Progress"),
            ):
                with page(width=width, height=2600, light=light) as app:
                    show(app, dataset, view, name)
                    app.page.screenshot(path=folder / f"{dataset}_{name}_whole_{tag}.png")
            with page(width=width, height=height, light=light) as app:
                show(app, FIRST, "batch-01", "Now")
                open_first(app)
                app.page.screenshot(path=folder / f"{FIRST}_sample_{tag}.png")
    print(folder)


def show(app: Any, dataset: str, view: str, section: str) -> None:
    """Open a saved view in the workspace, with a section of the panel in front."""
    app.page.goto(f"{app.url}/datasets/{dataset}?view={view}&workspace=curation")
    app.page.locator("[data-cy=looker]").first.wait_for()
    app.says(SECTIONS["Now"])
    # Plots and heatmaps are drawn later, and nothing says when they are done.
    app.page.wait_for_timeout(PAUSE)
    if section != "Now":
        app.tab(section)
        app.page.mouse.move(5, 5)
        app.says(SECTIONS[section])
        app.page.wait_for_timeout(PAUSE)


def open_first(app: Any) -> None:
    """Open the first image of the grid; a click near its corner would select it."""
    place = app.page.locator("[data-cy=looker]").first.bounding_box()
    app.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    app.page.locator("[data-cy=modal]").wait_for()
    app.page.mouse.move(5, 5)
    app.page.wait_for_timeout(PAUSE)


def store(png: bytes, name: str) -> None:
    """Write a screenshot with few colours and without the empty space at its bottom."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        pixels = trimmed(image.convert("RGB"))
    path = PICTURES / f"app_{name}.png"
    for greys in GREYS:
        few_colours(pixels, greys).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB, {greys} greys")


def trimmed(picture: Any) -> Any:
    """The picture without the rows at its bottom that are all alike."""
    import numpy as np

    rows = np.asarray(picture)
    differs = np.flatnonzero((rows != rows[-1]).any(axis=(1, 2)))
    bottom = min(picture.height, int(differs[-1]) + MARGIN) if len(differs) else picture.height
    return picture.crop((0, 0, picture.width, bottom))


def few_colours(picture: Any, greys: int) -> Any:
    """Every colour as it is, and some greys: the grain of a wafer needs no more.

    A palette of all pixels would be grey, because most of them are, and would turn the heatmap pale.
    """
    import numpy as np
    from PIL import Image

    flat = np.asarray(picture).reshape(-1, 3)
    spread = flat.max(axis=1).astype(int) - flat.min(axis=1)
    coloured = flat[spread > COLOURED]
    often = np.bincount(flat[spread == 0, 0], minlength=256).argsort()[-SURFACES:]
    even = np.linspace(0, 255, greys - SURFACES).round().astype(int)
    palette = [int(level) for level in (*often, *even) for _ in range(3)]
    if len(coloured):
        strip = Image.fromarray(coloured[None])
        colours = strip.quantize(256 - greys, dither=Image.Dither.NONE).getpalette()
        palette += (colours or [])[: 3 * (256 - greys)]
    holder = Image.new("P", (1, 1))
    holder.putpalette(palette)
    return picture.quantize(palette=holder, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
