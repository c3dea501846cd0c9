"""A MongoDB, a plugin folder and tiny real datasets of the tests' own.

The session starts its own `mongod` before fiftyone is imported, so that no test ever touches
anybody's data.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import uuid
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from database_commands import DatabaseCommands
from PIL import Image

from unseen.dataset.mongodb import bundled_mongod
from unseen.dataset.throwaway import ThrowawayDatabase

ROOT = Path(__file__).resolve().parents[1]

#: `--hypothesis-profile thorough` tries a hundred times as many random histories.
hypothesis.settings.register_profile("thorough", max_examples=10_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-kills", action="store_true", help="kill each step after every write")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background makes them ignore Ctrl-C, which some send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Tiny tensors gain nothing from threads, and lose much if other work keeps a core busy.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.unseen_commands = DatabaseCommands()
    if "fiftyone" in sys.modules:  # it has already found a database
        raise pytest.UsageError("a conftest imports fiftyone before the tests' own mongod runs")
    config.unseen_database = None
    if bundled_mongod() or shutil.which("mongod"):
        config.unseen_database = ThrowawayDatabase(plugins=ROOT)
        os.environ.update(config.unseen_database.environment())
    os.environ["FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS"] = "true"


def pytest_unconfigure(config: pytest.Config) -> None:
    if getattr(config, "unseen_database", None) is not None:
        config.unseen_database.stop()


@pytest.fixture(scope="session")
def fiftyone_database(request: pytest.FixtureRequest) -> str:
    """The URI of the session's own database; fails (not skips) without a mongod."""
    if request.config.unseen_database is None:
        pytest.fail("no mongod found; `make setup` provides one")
    return os.environ["FIFTYONE_DATABASE_URI"]


@pytest.fixture
def database_commands(request: pytest.FixtureRequest, fiftyone_database: str) -> DatabaseCommands:
    """What goes to the database."""
    return request.config.unseen_commands


@pytest.fixture(autouse=True)
def _own_database(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("fiftyone"):
        request.getfixturevalue("fiftyone_database")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


class WaferMaker:
    """Makes tiny images with known boxes: bright squares ('particle'), dark bars ('scratch')."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def image(
        self, name: str, boxes: list[tuple[str, tuple[int, int, int, int]]], *, size=64, seed=0
    ):
        """Write `name`; boxes are (label, (x1, y1, x2, y2)) in px."""
        noise = np.random.default_rng([seed, len(name), sum(map(ord, name))])
        pixels = noise.normal(110, 6, (size, size))
        for label, (x1, y1, x2, y2) in boxes:
            pixels[y1:y2, x1:x2] += 90 if label == "particle" else -70
        path = self.folder / name
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        return path

    def random_boxes(self, rng: np.random.Generator, *, size=64, scratch_share=0.4):
        boxes = []
        for _ in range(int(rng.integers(1, 4))):
            x, y = (int(v) for v in rng.integers(4, size - 16, 2))
            boxes.append(("particle", (x, y, x + 6, y + 6)))
        if rng.random() < scratch_share:
            x, y = (int(v) for v in rng.integers(2, size - 30, 2))
            boxes.append(("scratch", (x, y, x + 26, y + 4)))
        return boxes


def detections(boxes, size: int):
    """fo.Detections of (label, (x1, y1, x2, y2)) px boxes."""
    import fiftyone as fo

    return fo.Detections(
        detections=[
            fo.Detection(
                label=label,
                bounding_box=[x1 / size, y1 / size, (x2 - x1) / size, (y2 - y1) / size],
            )
            for label, (x1, y1, x2, y2) in boxes
        ]
    )


@contextlib.contextmanager
def wafer_datasets(folder: Path):
    """A factory of real datasets, deleted at the end: `make(n, labelled=k, test=m)`.

    The first `labelled` images (in directory order) have labels in `ground_truth`, the rest only
    in `hidden_truth`; `test` further images carry the tag `test` and labels.
    """
    import fiftyone as fo

    made = []

    def make(count: int = 12, *, labelled: int = 4, test: int = 4, size: int = 64, name=None):
        rng = np.random.default_rng(3)
        maker = WaferMaker(folder / f"images-{len(made)}")
        dataset = fo.Dataset(name or f"wafers-{uuid.uuid4().hex[:8]}")
        made.append(dataset)
        samples = []
        for i in range(count + test):
            boxes = maker.random_boxes(rng, size=size)
            if i == 0:
                boxes.append(("scratch", (8, 50, 34, 54)))
            path = maker.image(f"{i:03d}.png", boxes, size=size)
            is_test = i >= count
            truth = detections(boxes, size)
            samples.append(
                fo.Sample(
                    filepath=str(path),
                    tags=["test"] if is_test else [],
                    hidden_truth=truth,
                    ground_truth=truth.copy() if is_test or i < labelled else None,
                )
            )
        dataset.add_samples(samples)
        if "ground_truth" not in dataset.get_field_schema():
            dataset.add_sample_field(
                "ground_truth", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
            )
        return dataset

    yield make
    for dataset in made:
        if not dataset.deleted:
            dataset.delete()


@pytest.fixture
def make_wafers(tmp_path: Path, fiftyone_database: str):
    """`wafer_datasets` for one test."""
    with wafer_datasets(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_wafers(tmp_path_factory, fiftyone_database: str):
    """`wafer_datasets` for all tests of a module."""
    with wafer_datasets(tmp_path_factory.mktemp("wafers")) as make:
        yield make


@pytest.fixture
def empty(fiftyone_database: str):
    """A dataset without samples and fields of its own."""
    import fiftyone as fo

    dataset = fo.Dataset()
    yield dataset
    dataset.delete()


@pytest.fixture
def copy_of(fiftyone_database: str):
    """A function: a copy of a dataset with its records, fields and checkpoints, for one test."""
    copies = []

    def copy(dataset):
        copies.append(dataset.clone())
        return copies[-1]

    yield copy
    for made in copies:
        if not made.deleted:
            made.delete()


@pytest.fixture
def wafers(make_wafers):
    """Twelve train images (four labelled) and four test images of 64 px."""
    return make_wafers()
