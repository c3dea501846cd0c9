"""A MongoDB server in a temporary folder, for tests and benchmarks.

FiftyOne attaches to any database server of the same user that it can find; with this one, it never
meets anybody's data. Start it before fiftyone is imported.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from unseen.dataset.mongodb import bundled_mongod
from unseen.errors import DatasetError

#: Seconds to wait for the server.
START = 60.0
#: Seconds until everything that was written is in the journal, for sure.
JOURNAL = 0.3


class ThrowawayDatabase:
    """A server on a free port of the loopback interface.

    Attributes:
        folder: holds the database, FiftyOne's files and a home folder.
        uri: of the server.
    """

    def __init__(self, *, plugins: Path | None = None) -> None:
        """Start the server; `plugins` is where FiftyOne looks for plugins, default: nowhere.

        Raises `DatasetError` if there is no mongod, or it does not start.
        """
        mongod = bundled_mongod() or shutil.which("mongod")
        if mongod is None:
            raise DatasetError(
                "no mongod found; run `make setup` or `python -m unseen.dataset.mongodb`"
            )
        self.folder = Path(tempfile.mkdtemp(prefix="unseen-"))
        self._plugins = plugins or self.folder / "plugins"
        (self.folder / "db").mkdir()
        (self.folder / "home").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.uri = f"mongodb://127.0.0.1:{port}"
        self._port = port
        self._command = [
            *(str(mongod), "--quiet", "--nounixsocket", "--bind_ip", "127.0.0.1"),
            *("--port", str(port), "--dbpath", str(self.folder / "db")),
            *("--logpath", str(self.folder / "mongod.log"), "--logappend"),
        ]
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        try:
            self._wait(self._port)
        except DatasetError:
            self.stop()
            raise

    def restart(self, *, away: float = 0.0) -> None:
        """Kill the server and start it again on its data and port; connections break.

        Between the two it is away for so many seconds.
        """
        time.sleep(JOURNAL)
        self._process.kill()
        self._process.wait(20)
        time.sleep(away)
        self._start()

    def environment(self) -> dict[str, str]:
        """The variables that make FiftyOne use this server and nothing of the user's."""
        return {
            "HOME": str(self.folder / "home"),
            "FIFTYONE_DATABASE_URI": self.uri,
            "FIFTYONE_DATABASE_NAME": "unseen-throwaway",
            "FIFTYONE_DATABASE_VALIDATION": "false",
            "FIFTYONE_DEFAULT_DATASET_DIR": str(self.folder / "datasets"),
            "FIFTYONE_PLUGINS_DIR": str(self._plugins),
            "FIFTYONE_DO_NOT_TRACK": "true",
            "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        }

    def stop(self) -> None:
        """Kill the server and delete its folder."""
        self._process.kill()  # its data goes next: an orderly end would take 15 s for nothing
        self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ThrowawayDatabase:
        os.environ.update(self.environment())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return
            if self._process.poll() is not None:
                log = (self.folder / "mongod.log").read_text(errors="replace")[-500:]
                raise DatasetError(f"mongod ended with code {self._process.returncode}: {log}")
            time.sleep(0.1)
        raise DatasetError(f"mongod did not listen within {START:.0f} s")
