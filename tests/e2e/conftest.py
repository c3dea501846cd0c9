"""One App server per module, one Chromium for all, a page of its own per test.

Pictures and the servers' logs go to the folder that UNSEEN_E2E_OUTPUT names, else to a temporary
one; the end of the run says where.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app_browser import App, AppServer, app_page, browser

_HERE = Path(__file__).parent
#: Of the server's log, in the report of a failure.
_TAIL = 3000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.fiftyone)


@pytest.fixture(scope="session")
def output(request: pytest.FixtureRequest) -> Path:
    """Where pictures and logs are kept."""
    named = os.environ.get("UNSEEN_E2E_OUTPUT")
    folder = Path(named).resolve() if named else Path(tempfile.mkdtemp(prefix="unseen-e2e-"))
    folder.mkdir(parents=True, exist_ok=True)
    request.config.unseen_e2e_output = folder
    return folder


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if folder := getattr(config, "unseen_e2e_output", None):
        pictures = len(list(folder.glob("*.png")))
        terminalreporter.write_line(f"{pictures} pictures and the servers' logs are in {folder}")


@pytest.fixture(scope="session")
def wafer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty synthetic wafers and a test split of ten, with labels (COCO)."""
    from unseen.benchmark.synthetic.dataset import write_coco_folder

    return write_coco_folder(
        tmp_path_factory.mktemp("wafers"), "bare", train=30, test=10, seed=3, size=128
    )


@pytest.fixture(scope="module")
def make_dataset(fiftyone_database: str, wafer_folder: Path) -> Iterator[Callable[[str], Any]]:
    """Imports the wafers as a new dataset: labels of the test split, the others' in hidden_truth."""
    import fiftyone as fo

    from unseen.dataset.coco_folder import import_coco_folder

    made = []

    def make(name: str) -> Any:
        made.append(name)
        import_coco_folder(wafer_folder, name)
        return fo.load_dataset(name)

    yield make
    for name in made:
        if fo.dataset_exists(name):
            fo.delete_dataset(name)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(fiftyone_database: str, output: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The App's server of this module; what an App page does to its session ends with it."""
    with AppServer(output / f"{request.module.__name__.rpartition('.')[2]}.log") as started:
        yield started


@pytest.fixture
def app(chromium: Any, server: AppServer, output: Path, request: pytest.FixtureRequest):
    """A new page of the App; nothing is open yet."""
    with app_page(chromium, server) as page:
        page.log = server.log
        page.output = output
        yield page


@pytest.fixture
def picture(app: App, output: Path, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keeps a picture of the page: `picture("ranked")`."""
    numbers = itertools.count(1)
    test = request.node.name.removeprefix("test_")

    def take(name: str) -> None:
        app.page.screenshot(path=output / f"{test}-{next(numbers):02d}-{name}.png")

    return take


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    app = getattr(item, "funcargs", {}).get("app")
    if report.when != "call" or not report.failed or app is None:
        return
    place = app.output / f"failed-{item.name}.png"
    with contextlib.suppress(Exception):  # a page that hangs must not end the session
        app.page.screenshot(path=place)
        report.sections.append(("Picture of the failure", str(place)))
    report.sections.append(("End of the server's log", app.log.read_text()[-_TAIL:]))
