"""The whole loop on a fresh dataset with a simulated annotator: what `make demo` runs."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import unseen
from unseen.cli.app import DEMO_DATASET
from unseen.cli.terminal import Bars
from unseen.errors import DatasetError
from unseen.parameters import from_mapping
from unseen.progress import duration
from unseen.steps.simulate import SimulateConfig

#: The synthetic set: images of the pool and of the test split.
TRAIN_IMAGES, TEST_IMAGES = 200, 60


def run_demo(data: Path | None, output: Path, bars: Bars, **settings: Any) -> str:
    """Import a labelled folder or generate wafers, run the loop for every strategy, and compare.

    The dataset and the folder below `output` are new and numbered, so that nothing of an earlier
    run is touched. The first strategy is the main loop, the others are its baselines; `settings`
    are parameters of `simulate`. Returns the tables, the times, where the report is, and how to open
    the App. Raises an UnseenError for data that the loop cannot use.
    """
    started = time.perf_counter()
    config = from_mapping(SimulateConfig, settings)  # reports a wrong value before anything is made
    if data is not None:
        from unseen.dataset.folders import find_format

        find_format(data)  # says what is wrong before anything is made
    folder = _new_folder(output)
    if data is None:
        from unseen.benchmark.synthetic.dataset import write_coco_folder

        data = folder / "images"
        bars.say(f"Generating {TRAIN_IMAGES} + {TEST_IMAGES} synthetic wafer images in {data}.")
        write_coco_folder(data, "bare", train=TRAIN_IMAGES, test=TEST_IMAGES, seed=config.seed)

    from unseen.dataset.import_folder.run import import_folder, numbered_name

    name = numbered_name(DEMO_DATASET)
    imported = import_folder(data, name=name, hidden=True, progress=bars)
    bars.say(imported.summary())
    name = imported.dataset
    bars.say(unseen.screen_images(name, progress=bars).summary())
    prepared = time.perf_counter() - started
    simulated = unseen.simulate(name, initial=config.budget, progress=bars, **settings)
    compared = unseen.compare_iterations(name, output=str(folder / "report"), progress=bars)
    times = f"Everything took {duration(time.perf_counter() - started)}."
    if simulated.first_batch_seconds is not None:
        first = duration(prepared + simulated.first_batch_seconds)
        times = f"First ranked batch after {first}. {times}"
    return f"""
{compared.table}

{times}
Report:  {compared.report}
Dataset: {name}
App:     make app   (or: unseen app {name})"""


def _new_folder(output: Path) -> Path:
    """Make the first of output/run-01, output/run-02, ... that does not exist yet."""
    folders = (output / f"run-{number:02d}" for number in itertools.count(1))
    folder = next(folder for folder in folders if not folder.exists()).resolve()
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DatasetError(
            f"cannot make the folder {folder} ({error.strerror}); give another output folder"
        ) from error
    return folder
