"""The command line: help, the one JSON line, errors and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import unseen
from unseen import cli
from unseen.errors import Cancelled, LabelError
from unseen.parameters import from_mapping, parameters
from unseen.steps.catalogue import catalogue


def help_of(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture
def step(monkeypatch):
    """Puts a function in the place of a step."""

    def put(name, function):
        monkeypatch.setitem(vars(unseen), name, function)

    return put


def test_nothing_given_is_an_error_that_shows_the_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    assert "usage: unseen" in (said := capsys.readouterr().err)
    assert "unseen: error:" in said


def test_help_lists_a_verb_for_every_step(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(catalogue()[step].command in text for step in unseen.STEPS)
    assert "clean " in text


@pytest.mark.parametrize("step", unseen.STEPS)
def test_help_names_every_option_with_unit_range_and_default(step, capsys):
    text = help_of(catalogue()[step].command, capsys)
    for parameter in parameters(catalogue()[step].config):
        option = f"--{parameter.name.replace('_', '-')}"
        assert option in text
        described = " ".join(cli.describe(parameter).split())
        # argparse may break a line after a hyphen; only spaces differ then.
        assert described.replace(" ", "") in text.replace(" ", "")
        assert "default: " in described
        if parameter.unit:
            assert f"unit: {parameter.unit}" in described


def test_help_is_there_without_torch_and_fiftyone():
    code = (
        "import sys; from unseen import cli\n"
        "try: cli.main(['train-unet', '--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, 'fiftyone' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_options_become_the_config_of_the_step(step, capsys):
    seen = {}

    def select_batch(collection, *, progress, **settings):
        seen.update(collection=collection, config=unseen.SelectConfig(**settings))
        print("a library talks")
        return unseen_result()

    step("select_batch", select_batch)
    code = cli.main(
        [
            "select-batch",
            "wafers",
            "--budget",
            "7",
            "--strategy",
            "plain",
            "--replace",
            "--random-share",
            "0.25",
            "--series",
            "other",
        ]
    )
    assert code == 0
    assert seen["collection"] == "wafers"
    assert seen["config"] == unseen.SelectConfig(
        budget=7, strategy="plain", replace=True, random_share=0.25, series="other"
    )
    said = capsys.readouterr()
    assert [json.loads(line)["batch"] for line in said.out.splitlines()] == ["batch_01"]
    assert "2 of 9 pool images selected" in said.err
    assert "a library talks" in said.err


def unseen_result():
    from unseen.steps.select_batch import SelectResult

    return SelectResult(
        dataset="wafers",
        iteration=1,
        batch="batch_01",
        strategy="plain",
        sample_ids=["a", "b"],
        pool=9,
    )


def test_flags_have_a_negative_form_and_lists_are_separated_by_commas(step):
    seen = []

    def simulate(collection, *, progress, **settings):
        seen.append(from_mapping(unseen.SimulateConfig, settings))
        return unseen_result()

    step("simulate", simulate)
    cli.main(["simulate", "wafers", "--no-detector", "--full", "--strategies", "plain,random"])
    assert seen == [
        unseen.SimulateConfig(detector=False, full=True, strategies=("plain", "random"))
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--budget", "0"], "budget='0'; expected a whole number (images) from 1"),
        (["--budget", "many"], "budget='many'; expected a whole number"),
        (["--strategy", "best"], "strategy='best'; expected one of mixed"),
        (["--prefix", "No"], "prefix='No': expected lower-case"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(arguments, expected, capsys):
    assert cli.main(["select-batch", "wafers", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("unseen: error: ")
    assert expected in said.err


def test_an_unknown_option_is_an_error(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["select-batch", "wafers", "--budgett", "3"])
    assert ended.value.code == 2
    assert "unseen: error: unrecognized arguments: --budgett" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (LabelError("no labels; label some"), 2, "unseen: error: no labels; label some"),
        (RuntimeError("broken"), 1, "unseen: error: RuntimeError: broken"),
        (KeyboardInterrupt(), 130, "Run the same command again to continue"),
        (Cancelled("stopped"), 130, "Run the same command again to continue"),
    ],
)
def test_errors_go_to_stderr_and_have_their_exit_code(step, error, code, text, capsys):
    def train_unet(collection, *, progress):
        raise error

    step("train_unet", train_unet)
    assert cli.main(["train-unet", "wafers"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert text in said.err


def test_progress_shows_each_stage_and_how_far_it_is(step, capsys):
    def train_unet(collection, *, progress):
        for label in ("reading", "training"):
            for done in range(3):
                progress(done, 2, label)
        return unseen_result()

    step("train_unet", train_unet)
    cli.main(["train-unet", "wafers"])
    said = capsys.readouterr().err
    assert "reading: 0%" in said
    assert "training: 0%" in said
    cli.main(["train-unet", "wafers", "--quiet"])
    assert "0%" not in capsys.readouterr().err


def test_version_is_the_packages(capsys):
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"{unseen.__version__}\n"


def test_synthesize_writes_a_coco_folder(tmp_path, capsys):
    folder = tmp_path / "set"
    arguments = ["synthesize", str(folder), "--train", "2", "--test", "1", "--size", "128"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["train"] == 2
    assert sorted(p.name for p in folder.iterdir()) == ["test", "train"]
    assert cli.main(arguments) == 2
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.fiftyone
def test_an_unknown_dataset_is_an_error_with_the_way_out(capsys):
    assert cli.main(["split-dataset", "no-such-dataset"]) == 2
    assert "no-such-dataset" in capsys.readouterr().err


@pytest.mark.fiftyone
def test_an_unknown_saved_view_is_an_error_that_lists_what_is_there(wafers, capsys):
    wafers.save_view("mine", wafers.limit(1))
    assert cli.main(["score-samples", wafers.name, "--view", "batch_09"]) == 2
    assert "it has: mine" in capsys.readouterr().err


@pytest.mark.fiftyone
def test_a_step_runs_on_a_real_dataset_and_prints_one_json_line(wafers, capsys):
    assert cli.main(["split-dataset", wafers.name, "--initial", "3"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["test"] == 4
    assert said.out.count("\n") == 1


@pytest.mark.fiftyone
def test_import_coco_makes_a_dataset(tmp_path, capsys):
    import fiftyone as fo

    folder = tmp_path / "set"
    cli.main(["synthesize", str(folder), "--train", "2", "--test", "1", "--size", "128"])
    capsys.readouterr()
    assert cli.main(["import-coco", str(folder), "--name", "cli-import"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["dataset"], result["train"], result["test"]) == ("cli-import", 2, 1)
    fo.delete_dataset("cli-import")
