"""The README's ways to install, each in a clean environment (`make install-test`).

uv makes them: it links what is already in its cache, and installs lower bounds.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(__file__).with_name("check.py")
#: The tests' own home folder has no cache.
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
PLUGIN = "@unseen/curation"

pytestmark = [pytest.mark.install, pytest.mark.timeout(1800)]


def run(*command: object, **variables: str) -> str:
    """The output of a command; all of it in the error if it fails."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        **{"env": env | variables, "cwd": variables.get("HOME", "/"), "check": False},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def uv(*arguments: object) -> str:
    from uv import find_uv_bin

    # What pip may not install, it would replace.
    capped = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.constraint"],
        **{"capture_output": True, "text": True, "check": False},
    )
    return run(find_uv_bin(), *arguments, HOME=str(HOME), UV_CONSTRAINT=capped.stdout.strip())


def interpreter(version: str) -> str:
    """A Python of this version, on the path or of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT") or HOME / ".pyenv")
    places = root.glob(f"versions/{version}.*/bin/python3")
    for place in filter(None, [shutil.which(f"python{version}"), *places]):
        # A shim may be there without its Python.
        if subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode == 0:
            return place
    pytest.skip(f"no Python {version} here")


class Environment:
    """A virtual environment of its own with a home, a database and a plugin folder of its own."""

    def __init__(self, folder: Path, version: str, variables: dict[str, str]) -> None:
        self.folder = folder
        self.bin = folder / "venv/bin"
        self.plugins = folder / "plugins"
        self.variables = {**variables, "FIFTYONE_PLUGINS_DIR": str(self.plugins)}
        uv("venv", "--quiet", "--python", interpreter(version), folder / "venv")

    def install(self, *arguments: object) -> None:
        uv("pip", "install", "--quiet", "--python", self.bin / "python", *arguments)

    def freeze(self) -> str:
        return uv("pip", "freeze", "--python", self.bin / "python")

    def run(self, command: str, *arguments: object) -> str:
        return run(self.bin / command, *arguments, **self.variables)

    def check(self, package: Path) -> None:
        """The plugin and the package, which is to lie below a folder, work."""
        assert "checked" in self.run("python", CHECK, package)

    def check_command(self) -> None:
        """The command line is there and finds that the plugin fits."""
        assert "ok" in self.run("unseen", "doctor", "--json").split('"Plugin"')[1][:20]


@pytest.fixture
def make_environment(tmp_path, fiftyone_database):
    names = ("HOME", "FIFTYONE_DATABASE_URI", "FIFTYONE_DEFAULT_DATASET_DIR")
    variables = {name: os.environ[name] for name in names}
    variables |= {"FIFTYONE_DATABASE_NAME": tmp_path.name, "FIFTYONE_DO_NOT_TRACK": "true"}
    yield lambda version: Environment(tmp_path, version, variables)
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the sdist and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder, ROOT)
    return folder


@pytest.mark.parametrize(
    ("version", "resolution"), [("3.13", "highest"), ("3.10", "lowest-direct")]
)
def test_a_wheel_brings_its_plugin_with_the_newest_and_the_oldest_packages(
    make_environment, dist, version, resolution
):
    env = make_environment(version)
    (wheel,) = dist.glob("*.whl")
    env.install("--resolution", resolution, wheel, "-r", ROOT / "requirements.txt")
    if resolution == "lowest-direct":
        installed = dict(line.split("==") for line in env.freeze().split() if "==" in line)
        bounds = {
            requirement.name: Version(bound.version)
            for requirement in map(Requirement, (ROOT / "requirements.txt").read_text().split())
            for bound in requirement.specifier
            if bound.operator == ">="
        }
        assert {name: Version(installed[name]) for name in bounds} == bounds
    assert "linked" in env.run("unseen", "install-plugin")
    env.check(env.folder / "venv")
    env.check_command()


def test_a_checkout_installs_as_a_package(make_environment):
    env = make_environment("3.11")
    env.install(ROOT)
    assert "linked" in env.run("unseen", "install-plugin")
    env.check(env.folder / "venv")
    env.check_command()


def test_an_archive_of_the_repository_is_a_plugin_and_a_package(make_environment, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    run("git", "-C", ROOT, "archive", "--prefix=unseen/", "-o", served / "unseen.zip", "HEAD")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = make_environment("3.12")
        env.install("pip", "-r", ROOT / "requirements.txt")
        url = f"http://127.0.0.1:{server.server_port}/unseen.zip"
        env.run("fiftyone", "plugins", "download", url)
        server.shutdown()
    place = env.plugins / PLUGIN
    env.run("fiftyone", "plugins", "requirements", PLUGIN, "--ensure")
    env.check(place / "src")
    env.run("python", "-m", "pip", "install", "-q", "-e", place)
    env.check_command()
