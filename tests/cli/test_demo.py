"""The demo and the App's start, as small as they can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseen import cli
from unseen.benchmark.synthetic.dataset import write_coco_folder
from unseen.cli import app
from unseen.cli.demo import run_demo
from unseen.cli.terminal import Bars
from unseen.errors import DatasetError

SMALL = {"strategies": ("sequential",), "iterations": 1, "budget": 3, "detector_steps": 1}


def test_a_missing_folder_and_an_output_that_is_a_file_are_errors_before_anything_is_made(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        run_demo(tmp_path / "nothing", tmp_path / "demo", Bars(), **SMALL)
    assert not (tmp_path / "demo").exists()
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(DatasetError, match=r"cannot make the folder .*another output folder"):
        run_demo(tmp_path, tmp_path / "demo", Bars(), **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.parametrize(
    ("views", "newest"),
    [
        ([], None),
        (["my view", "random_batch_07"], None),
        (["batch_02", "batch_10", "batch_9", "mine"], "batch_10"),
    ],
)
def test_the_newest_batch_is_the_main_loops_with_the_highest_number(views, newest):
    assert app.newest_batch(views) == newest


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
