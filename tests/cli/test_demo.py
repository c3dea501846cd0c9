"""The demo and the App's start, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseen import cli
from unseen.benchmark.synthetic.dataset import write_coco_folder
from unseen.cli import app
from unseen.cli.demo import run_demo
from unseen.cli.terminal import Bars
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError

SMALL = {"strategies": ("sequential",), "iterations": 1, "budget": 3, "detector_steps": 1}


def test_a_missing_folder_and_an_output_that_is_a_file_are_errors_before_anything_is_made(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        run_demo(tmp_path / "nothing", tmp_path / "demo", Bars(), **SMALL)
    assert not (tmp_path / "demo").exists()
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(DatasetError, match=r"cannot make the folder .*another output folder"):
        run_demo(None, tmp_path / "demo", Bars(), **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


def test_a_wrong_parameter_is_said_before_anything_is_made(tmp_path, capsys):
    output = ["--output", str(tmp_path / "demo")]
    assert cli.main(["demo", *output, "--iterations", "0"]) == 2
    assert "iterations='0'; expected a whole number" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.fiftyone
def test_the_app_opens_on_the_main_loops_newest_batch(wafers, monkeypatch):
    import fiftyone as fo

    main, other = Loop(wafers), Loop(wafers, Names(series="random"))
    for number, name in enumerate(("batch_02", "batch_10", "random_batch_12", "batch_11")):
        series = "random" if name.startswith("random") else ""
        Loop(wafers, Names(series=series)).write_entry(number, "select_batch", {"batch": name})
        wafers.limit(2).tag_samples(name)
        loop = other if name.startswith("random") else main
        loop.write_entry(int(name[-2:]), "select_batch", {"batch": name})
        if name != "batch_11":  # its saved view was deleted
            wafers.save_view(name, wafers.match_tags(name))
    opened = {}

    class Session:
        server_port = 1

        def wait(self, seconds):
            opened["waited"] = True

    monkeypatch.setattr(fo, "launch_app", lambda d, **more: opened.update(more) or Session())
    for remote, browser, address in (
        (False, True, "127.0.0.1"),
        (False, False, "127.0.0.1"),
        (True, True, "0.0.0.0"),
    ):
        said = []
        app.open_app(wafers.name, port=None, remote=remote, browser=browser, say=said.append)
        assert opened["waited"]
        assert opened["view"].name == "batch_10"
        assert opened["address"] == address
        assert opened["remote"] == (remote or not browser)  # 1.22: opens no browser
        assert any("batch batch_10 in front" in line for line in said)
        assert any(line.startswith("Warning: every machine") for line in said) == remote


@pytest.mark.fiftyone
def test_the_demo_runs_the_loop_and_never_touches_an_earlier_run(
    tmp_path, fiftyone_database, capsys
):
    import fiftyone as fo

    assert cli.main(["app", "--no-browser"]) == 2
    assert "make demo" in capsys.readouterr().err
    data = write_coco_folder(tmp_path / "set", "bare", train=7, test=2, size=128)
    try:
        first = run_demo(data, tmp_path / "demo", Bars(), **SMALL)
        before = fo.load_dataset("unseen-demo").to_dict()
        second = run_demo(data, tmp_path / "demo", Bars(), **SMALL)
        assert fo.load_dataset("unseen-demo").to_dict() == before
        assert app._newest_demo() == "unseen-demo-2"
    finally:
        fo.delete_datasets("unseen-demo*")
    assert "F1" in first
    assert "First ranked batch after" in first
    lines = (first + "\n" + second).splitlines()
    reports = [Path(line.split()[1]) for line in lines if line.startswith("Report:")]
    assert [report.parts[-3] for report in reports] == ["run-01", "run-02"]
    assert all(report.stat().st_size > 1000 for report in reports)
    assert "unseen app unseen-demo-2" in second
