"""The whole loop on a fresh dataset with a simulated annotator: what `make demo` runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from unseen.cli.app import DEMO_DATASET
from unseen.cli.terminal import Bars
from unseen.errors import DatasetError
from unseen.timing import duration

#: The synthetic set: images of the pool and of the test split.
TRAIN_IMAGES = 200
TEST_IMAGES = 60


def run_demo(
    data: Path | None = None,
    *,
    output: Path = Path("demo"),
    strategies: Sequence[str] = ("mixed", "sequential", "random"),
    iterations: int = 2,
    budget: int = 10,
    unet_steps: int | None = None,
    detector_steps: int | None = None,
    full: bool = False,
    seed: int = 51,
    say: Callable[[str], None] = print,
) -> str:
    """Import or generate images, run the loop for every strategy, and compare.

    Nothing of an earlier run is touched: the dataset and the output folder are new and numbered.

    Args:
        data: COCO folder with train/ and test/; None generates synthetic wafers.
        output: folder below which this run makes its own.
        strategies: the first one is the main loop, the others are its baselines.
        iterations: batches after the initial images.
        budget: images in a batch, and initial images.
        unet_steps: optimiser steps of the UNet; None: as many as `train_unet` takes.
        detector_steps: optimiser steps of the detector; None: 100 epochs.
        full: train the detector on the fully labelled set too.
        seed: of all random choices, and of the synthetic set.
        say: told what is done, line by line.

    Returns:
        The tables, where the report is, the times, and how to open the App.

    Raises:
        UnseenError: the data are not what the loop needs.
    """
    started = time.perf_counter()
    if data is not None and not data.is_dir():
        raise DatasetError(f"no folder {str(data)!r}; give one with train/ and test/ (COCO)")
    folder = _new_folder(output)

    with Bars() as bars:
        if data is None:
            data = folder / "images"
            say(f"Generating {TRAIN_IMAGES} + {TEST_IMAGES} synthetic wafer images in {data}.")
            from unseen.benchmark.synthetic.dataset import write_coco_folder

            write_coco_folder(data, "bare", train=TRAIN_IMAGES, test=TEST_IMAGES, seed=seed)

        # Imported late: a wrong command line should not wait for them.
        import unseen
        from unseen.dataset.coco_folder import import_coco_folder, numbered_name

        imported = import_coco_folder(data, numbered_name(DEMO_DATASET), progress=bars)
        bars.close()
        say(imported.summary())
        name = imported.dataset

        screened = unseen.screen_images(name, progress=bars)
        bars.close()
        say(screened.summary())

        prepared = time.perf_counter() - started
        simulated = unseen.simulate(
            name,
            strategies=tuple(strategies),
            iterations=iterations,
            budget=budget,
            initial=budget,
            detector_steps=detector_steps,
            full=full,
            seed=seed,
            progress=bars,
            unet_steps=unet_steps,
        )
        bars.close()

        compared = unseen.compare_iterations(name, output=str(folder / "report"), progress=bars)

    times = [f"Everything took {duration(time.perf_counter() - started)}."]
    if simulated.first_batch_seconds is not None:
        first = duration(prepared + simulated.first_batch_seconds)
        times.insert(0, f"First ranked batch after {first}.")
    return "\n".join(
        [
            "",
            compared.table,
            "",
            " ".join(times),
            f"Report:  {compared.report}",
            f"Dataset: {name}",
            f"App:     make app   (or: unseen app {name})",
        ]
    )


def _new_folder(output: Path) -> Path:
    """Make the first of output/run-01, output/run-02, ... that is not there yet."""
    number = 1
    while True:
        folder = (output / f"run-{number:02d}").resolve()
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not output.is_dir():
                raise DatasetError(
                    f"{str(output)!r} is not a folder; give another output folder"
                ) from None
            number += 1
        except NotADirectoryError:
            raise DatasetError(
                f"{str(output)!r} is not a folder; give another output folder"
            ) from None
        except OSError as error:
            raise DatasetError(
                f"cannot make the folder {folder} ({error.strerror}); give another output folder"
            ) from error
        else:
            return folder
