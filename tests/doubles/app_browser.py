"""A real FiftyOne App server and a real browser on it, as a person would use them.

For `tests/e2e` and for the pictures of the documentation. Run as a script it finds or installs
Chromium and prints its path. Playwright is imported late, so that collecting tests needs neither.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Browsers of the system, which are used first.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No sandbox: containers run as root. The rest keeps Chromium from talking to its maker.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Seconds to wait for the App to show something; slow machines with two cores take half of it.
PATIENCE = 30
#: Seconds without a request after which the App is taken to have settled.
_QUIET = 0.8
#: The pop-up of FiftyOne 1.22 covers the grid of a new browser.
_NO_POPUP = "localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')"
_FORM = "[data-cy=operators-prompt-modal]"
#: Counts what a person has to do: clicks, and dialogs that come over the page.
_COUNTER = """
window.counted = {clicks: 0, dialogs: 0};
addEventListener('click', event => { window.counted.clicks += event.isTrusted }, true);
new MutationObserver(changes => {
  for (const node of changes.flatMap(change => [...change.addedNodes]))
    if (node.matches?.('[role=dialog], [role=presentation]') || node.querySelector?.('[role=dialog]'))
      window.counted.dialogs += 1;
}).observe(document, {childList: true, subtree: true});
"""


class NoBrowserError(Exception):
    """There is no Chromium, and none could be installed."""


class AppServer:
    """The App's server as its own process, on the database that the environment names.

    FiftyOne's `launch_app` starts the same program, but hides its output and leaves it running
    when its parent is killed.
    """

    def __init__(self, log: Path) -> None:
        """Start the server and wait until it answers; its output goes to `log`."""
        import fiftyone.constants as foc

        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        with log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "main.py", "--port", port, "--address", "127.0.0.1"],
                cwd=foc.SERVER_DIR,
                # 1.22: without it the App offers no "Schedule".
                env={**os.environ, "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS": "true"},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait()
        except RuntimeError:
            self.stop()
            raise

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def __enter__(self) -> AppServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/fiftyone", timeout=2),
            ):
                return
            time.sleep(0.2)
        raise RuntimeError(f"the App's server did not start: {self.log.read_text()[-2000:]}")


class App:
    """One page of the App in a browser: what a person does and sees there."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.dataset = ""  #: that is open
        self._view: list[Any] = []
        self._asked: set[Any] = set()
        self._quiet_since = time.monotonic()
        page.on("request", self._notice)
        for end in ("requestfinished", "requestfailed"):
            page.on(end, self._answered)

    # --- looking ---------------------------------------------------------------------------------
    def open(
        self, dataset: str, *, workspace: str | None = "curation", samples: bool = True
    ) -> None:
        """Open a dataset by its slug and wait for its grid (`samples`: it has some)."""
        self.dataset = dataset
        query = f"?workspace={workspace}" if workspace else ""
        self.page.goto(f"{self.url}/datasets/{dataset}{query}")
        if samples:
            self.page.locator("[data-cy=looker]").first.wait_for()
        else:
            self.says("No samples yet")
        self.settle()
        # 1.22: the server hands on what an earlier page has left open: a sample, a view.
        sample = self.page.locator("[data-cy=modal]")
        if sample.count():
            self.page.keyboard.press("Escape")
            sample.wait_for(state="detached")
        if self._view:
            self.page.locator("[data-cy=btn-clear-view-bar]").click()
            self.wait(lambda: not self._view, "the whole dataset")
            self.settle()

    def shown(self) -> int:
        """How many samples the grid says it shows."""
        text = self.page.locator("[data-cy=entry-counts]").first.inner_text()
        return int(re.sub(r"\D", "", text.split("of")[0]) or -1)

    def shown_view(self, dataset: Any) -> Any:
        """The view that the grid asked for last, as FiftyOne's own object."""
        import fiftyone as fo

        return fo.DatasetView._build(dataset, self._view)

    def settle(self) -> None:
        """Wait until the App has asked its server for nothing for a while.

        A panel is drawn again after each of its events: a click before that misses.
        """

        def is_quiet() -> bool:
            return not self._asked and time.monotonic() - self._quiet_since > _QUIET

        self.wait(is_quiet, "quiet")

    def counted(self) -> dict[str, int]:
        """How many clicks and dialogs there were since the page was loaded."""
        return dict(self.page.evaluate("window.counted"))

    def wait_until_shown(self, count: int) -> None:
        """Wait until the grid says that it shows `count` samples."""
        self.wait(lambda: self.shown() == count, f"{count} samples in the grid")

    def wait_for_samples(self, dataset: Any, ids: list[str]) -> None:
        """Wait until the grid has asked for these samples in this order, and shows as many."""
        self.wait(lambda: self.shown_view(dataset).values("id") == ids, "these samples")
        self.wait_until_shown(len(ids))

    def wait(self, holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
        """Wait until `holds` returns something true, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := holds():
                return value
            self.page.wait_for_timeout(100)  # lets the browser's events in, which sleep does not
        raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")

    def says(self, text: str) -> Any:
        """Wait until the page shows `text`, wherever, and return the place."""
        place = self.page.get_by_text(text).first
        place.wait_for()
        return place

    def _notice(self, request: Any) -> None:
        if request.method != "POST":
            return
        if request.url.endswith("/graphql"):
            asked = json.loads(request.post_data or "{}")
            if "paginateSamples" in asked.get("query", ""):
                self._view = asked["variables"].get("view") or []
        # The clock of the panel ticks whatever a person does, and seldom draws.
        elif request.url.endswith("/operators/execute") and '"follow"' not in request.post_data:
            self._asked.add(request)

    def _answered(self, request: Any) -> None:
        if request in self._asked:
            self._asked.discard(request)
            self._quiet_since = time.monotonic()

    # --- operators -------------------------------------------------------------------------------
    @property
    def form(self) -> Any:
        return self.page.locator(_FORM)

    def browse(self, label: str) -> None:
        """Open the form of an operator from the list of operators, by its label."""
        # Its button may lie under another one if the grid is narrow (1.22); its key is safe.
        self.page.locator("body").press("`")
        self.page.get_by_placeholder("Search operations by name").fill(label)
        self.page.keyboard.press("Enter")
        self.wait_for_form(label)

    def wait_for_form(self, title: str) -> None:
        """Wait until the form `title` can be filled in."""
        self.form.get_by_text(title, exact=True).first.wait_for()
        self.form.get_by_role("button", name="Cancel").wait_for()

    def field(self, label: str) -> Any:
        """The input of a form's field, by its label without the unit; 1.22 ties no label to it."""
        text = "normalize-space()"
        is_it = f'{text}="{label}" or starts-with({text}, "{label} (")'
        return self.form.locator(f"xpath=.//p[{is_it}]/following::input[1]")

    def fill(self, **fields: Any) -> None:
        """Fill in fields by their names and wait until the server has looked at each value."""
        for name, value in fields.items():
            place = self.field(name.replace("_", " ").capitalize())
            place.wait_for()
            if place.input_value() == str(value):
                continue
            with self.page.expect_response(_looked_at(name, value)):
                place.fill(str(value))

    @property
    def execute_button(self) -> Any:
        return self.form.get_by_role("button", name="Execute")

    def execute(self, *, seconds: float = 3 * PATIENCE) -> str:
        """Press Execute, wait for the end of the run, and return what is said of it.

        Nothing is to be closed: the form goes by itself, and the run shows in the panel.
        """
        self.start()
        self.form.wait_for(state="detached")
        run = self.wait(self.ended_run, "the run to end", seconds=seconds)
        assert run.state == "done", run.text
        self.settle()
        return str(run.text)

    def ended_run(self) -> Any:
        """The last run on the dataset that is open, None while it goes on."""
        import fiftyone as fo

        from unseen.dataset.locks import RUNNING, last_run

        run = last_run(fo.load_dataset(self.dataset))
        return None if run is None or run.state == RUNNING else run

    def start(self) -> None:
        """Press Execute as soon as the App allows it."""
        self.wait(self.execute_button.is_enabled, "Execute to be enabled")
        self.execute_button.click()

    def schedule(self) -> None:
        """Choose "Schedule" instead of "Execute", and leave the form."""
        self.wait(self.execute_button.is_enabled, "Execute to be enabled")
        self.form.get_by_role("group").get_by_role("button").last.click()
        self.page.get_by_role("menuitem").filter(has_text="Schedule").click()
        self.form.get_by_role("button", name="Schedule").click()
        self.form.wait_for(state="detached")

    def close_form(self) -> None:
        """Leave the open form without running it."""
        self.form.get_by_role("button", name="Cancel").click()
        self.form.wait_for(state="detached")

    # --- the panel -------------------------------------------------------------------------------
    @property
    def panel(self) -> Any:
        return self.page.locator("[data-cy=panel-content-curation]")

    def tab(self, name: str) -> None:
        """Open a section of our panel."""
        tab = self.panel.get_by_role("tab", name=name, exact=True)
        tab.wait_for()
        self.settle()
        tab.click()
        self.wait(lambda: tab.get_attribute("aria-selected") == "true", f"the section {name}")
        self.settle()

    def press(self, name: str) -> None:
        """Press a button of our panel."""
        button = self.panel.get_by_role("button", name=name, exact=True)
        button.wait_for()
        self.settle()
        button.click()

    def row_action(self, row: int, label: str, name: str = "") -> None:
        """Choose an action of a row of the panel's table, by its tooltip or, in a menu, its name.

        1.22 folds more than `max_inline_actions` of a table into a menu behind one button.
        """
        chosen = self.panel.locator("tbody tr").nth(row)
        chosen.wait_for()
        self.settle()
        inline = chosen.locator(f"[aria-label='{label}'] button")
        menu = chosen.get_by_test_id("MoreVertIcon")
        inline.or_(menu).first.wait_for()
        if inline.count():
            inline.click()
        else:
            menu.click()
            either = re.compile(f"^({re.escape(label)}|{re.escape(name or label)})$")
            self.page.get_by_role("menuitem").get_by_text(either).click()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, closed at the end; a NoBrowserError says how to get one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=_executable(), args=ARGUMENTS)
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def app_page(
    opened: Any, server: AppServer, *, width: int = 1600, height: int = 1000, light: bool = False
) -> Iterator[App]:
    """A page (width x height px) in an open browser; nothing it asks for leaves this machine.

    `light` takes the App's light theme instead of its dark one.
    """
    context = opened.new_context(viewport={"width": width, "height": height})
    # Fonts from the internet are all that an untracked App asks for.
    context.route(lambda url: not url.startswith(server.url), lambda route: route.abort())
    theme = "light" if light else "dark"
    context.add_init_script(_COUNTER)
    context.add_init_script(f"{_NO_POPUP};localStorage.setItem('mui-mode', '{theme}')")
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield App(context.new_page(), server.url)
    finally:
        context.close()


def provide() -> str:
    """Find Chromium, or install it, and return its path."""
    with contextlib.suppress(NoBrowserError):
        return _executable()
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _install(["apt-get", "update", "-qq"], env=quiet)
        _install(["apt-get", "install", "-y", "-qq", "chromium"], env=quiet)
    else:
        _install([sys.executable, "-m", "playwright", "install", "chromium"], env=None)
    return _executable()


def _install(command: list[str], *, env: dict[str, str] | None) -> None:
    # stdout is for the answer alone; what did not work shows when the browser is looked for.
    subprocess.run(command, env=env, stdout=sys.stderr, check=False)


def _executable() -> str:
    """UNSEEN_BROWSER, which `make e2e` sets, else the system's Chromium, else Playwright's own."""
    for name in (os.environ.get("UNSEEN_BROWSER") or NAMES[0], *NAMES):
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    if not Path(path).exists():
        raise NoBrowserError(
            f"no browser: none of {', '.join(NAMES)} is on the PATH; install one, or run "
            "`python -m playwright install chromium`"
        )
    return path


def _looked_at(name: str, value: Any) -> Callable[[Any], bool]:
    """Is it the server's answer about a form in which the field `name` is `value`?"""

    def is_it(answer: Any) -> bool:
        if "resolve-type" not in answer.url:
            return False
        params = json.loads(answer.request.post_data or "{}").get("params") or {}
        return str(params.get(name)) == str(value)

    return is_it


if __name__ == "__main__":
    try:
        print(provide())
    except NoBrowserError as error:
        sys.exit(f"error: {error}")
