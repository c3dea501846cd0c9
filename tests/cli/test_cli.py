"""The command line: help, the one JSON line, errors and exit codes."""

from __future__ import annotations

import dataclasses
import io
import json
import resource

import pytest
from pymongo.errors import ServerSelectionTimeoutError

import unseen
from unseen import cli
from unseen.dataset import mongodb
from unseen.errors import Cancelled, LabelError
from unseen.parameters import from_mapping, parameters
from unseen.steps.catalogue import catalogue
from unseen.steps.select_batch import SelectResult

RESULT = SelectResult(
    dataset="wafers", iteration=1, batch="batch_01", strategy="plain", sample_ids=["a", "b"], pool=9
)


def ended(arguments, capsys):
    """Exit code, stdout and stderr of a command line that argparse ends."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    said = capsys.readouterr()
    return stop.value.code, said.out, said.err


@pytest.fixture
def step(monkeypatch):
    """Puts a function in the place of a step."""
    return lambda name, function: monkeypatch.setitem(vars(unseen), name, function)


def test_a_wrong_command_line_is_an_error_that_shows_the_usage(capsys):
    for arguments, expected in (
        ([], "unseen: error:"),
        (
            ["select-batch", "wafers", "--budgett", "3"],
            "unseen: error: unrecognized arguments: --budgett",
        ),
    ):
        code, out, err = ended(arguments, capsys)
        assert (code, out) == (2, "")
        assert "usage: unseen" in err
        assert expected in err


def test_help_lists_a_verb_for_every_step(capsys):
    _, text, _ = ended(["--help"], capsys)
    assert all(f"    {step.command}" in text for step in catalogue().values())


@pytest.mark.parametrize("step", catalogue().values(), ids=lambda step: step.name)
def test_help_describes_every_option_with_unit_range_and_default(step, capsys):
    code, text, _ = ended([step.command, "--help"], capsys)
    assert code == 0
    for parameter in parameters(step.config):
        assert f"--{parameter.name.replace('_', '-')}" in text
        # argparse breaks lines, also after a hyphen.
        assert "".join(cli.describe(parameter).split()) in "".join(text.split())
        assert parameter.expected in cli.describe(parameter)
        assert f"default: {parameter.default_text}" in cli.describe(parameter)


def test_options_become_the_config_of_the_step(step, capsys):
    seen = []

    def run(collection, *, progress, **settings):
        seen.append((collection, from_mapping(unseen.SelectConfig, settings)))
        print("a library talks")
        return RESULT

    step("select_batch", run)
    options = "--budget 7 --strategy plain --replace --random-share 0.25 --series other"
    assert cli.main(["select-batch", "wafers", *options.split()]) == 0
    expected = unseen.SelectConfig(
        budget=7, strategy="plain", replace=True, random_share=0.25, series="other"
    )
    assert seen == [("wafers", expected)]
    said = capsys.readouterr()
    assert [json.loads(line)["batch"] for line in said.out.splitlines()] == ["batch_01"]
    assert "2 of 9 pool images selected" in said.err
    assert "a library talks" in said.err


def test_flags_have_a_negative_form_and_lists_are_separated_by_commas(step):
    seen = []

    def run(collection, *, progress, **settings):
        seen.append(from_mapping(unseen.SimulateConfig, settings))
        return RESULT

    step("simulate", run)
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


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (LabelError("no labels; label some"), 2, "unseen: error: no labels; label some"),
        (RuntimeError("broken"), 1, "unseen: error: RuntimeError: broken"),
        (KeyboardInterrupt(), 130, "unseen: stopped; the same command starts over"),
        (Cancelled("stopped"), 130, "unseen: stopped; the same command starts over"),
        (PermissionError(13, "Permission denied", "/x"), 2, "'/x' cannot be used: Permission"),
        (ServerSelectionTimeoutError("gone"), 2, "the database server at mongodb://"),
    ],
)
@pytest.mark.fiftyone
def test_errors_go_to_stderr_and_have_their_exit_code(step, error, code, text, capsys):
    def run(collection, *, progress):
        raise error

    step("train_unet", run)
    assert cli.main(["train-unet", "wafers"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert text in said.err


def test_a_stopped_command_says_whether_it_would_go_on(step, capsys):
    def run(collection, *, progress):
        raise KeyboardInterrupt

    step("score_samples", run)
    assert cli.main(["score-samples", "wafers"]) == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train-unet", "wafers", "--model-dir", "~nobody-at-all/x"], "has no home folder here"),
        (["compare-iterations", "wafers", "--output", "x" * 300], "File name too long"),
        (["import-coco", "~nobody-at-all/x"], "no home folder here"),
        (["import", "s3://bucket/images"], "s3://bucket/images' is an address"),
        (["train-unet", "wafers", "--model-dir", "file:///models"], "mount the storage"),
        (["train-unet", "wafers-\udcff"], "holds bytes that are no UTF-8"),
    ],
)
def test_what_can_be_no_path_and_no_text_is_refused_at_once(arguments, expected, capsys):
    assert cli.main(arguments) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_port_is_a_number_that_ports_have(port, capsys):
    code, _, err = ended(["app", "--port", port], capsys)
    assert code == 2
    assert f"'{port}'; expected a whole number from 1 up to 65535" in err


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_the_result_fits_every_console(step, monkeypatch, encoding):
    result = dataclasses.replace(RESULT, strategy="划é😀")
    step("select_batch", lambda *_, **__: result)
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", console)
    assert cli.main(["select-batch", "wafers"]) == 0
    console.flush()
    written = console.buffer.getvalue().decode(encoding)
    assert json.loads(written)["strategy"] == result.strategy
    monkeypatch.setattr(cli, "_version", lambda *_: ("划é", 0))
    assert cli.main(["version"]) == 0


def test_a_database_that_is_down_is_named_with_a_way_out(monkeypatch, capsys):
    monkeypatch.setattr(mongodb, "REACH_TIMEOUT", 0.2)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:secret@127.0.0.1:9")
    for arguments in (["train-unet", "wafers"], ["import-coco", "x"], ["app"]):
        assert cli.main(arguments) == 2
        said = capsys.readouterr().err
        assert "127.0.0.1:9 (from FIFTYONE_DATABASE_URI) does not answer" in said
        assert "Start it" in said
        assert "secret" not in said
    assert cli.main(["version"]) == 0


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_shows_each_stage_and_how_far_it_is(step, capsys, monkeypatch, is_terminal):
    def run(collection, *, progress):
        for label in ("reading", "training"):
            for done in range(3):
                if progress:
                    progress(done, 2, label)
        return RESULT

    step("train_unet", run)
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    cli.main(["train-unet", "wafers"])
    said = capsys.readouterr().err
    assert "reading: " in said
    assert "training: " in said
    assert "100%" in said
    cli.main(["train-unet", "wafers", "--quiet"])
    assert "%" not in capsys.readouterr().err


@pytest.mark.fiftyone
def test_mongodbs_age_is_not_mentioned_and_its_faults_are(caplog):
    from fiftyone.core.odm import database
    from packaging.version import Version

    cli.main(["version"])
    assert not database._is_fcv_upgradeable(Version("6.0"), Version("6.0"))
    assert caplog.messages == []
    assert not database._is_fcv_upgradeable(Version("7.0"), Version("6.0"))
    assert "greater than your server version" in caplog.messages[0]


def test_version_is_the_packages(capsys):
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"{unseen.__version__}\n"


@pytest.mark.fiftyone
def test_a_synthetic_set_is_written_and_imported(tmp_path, capsys, fiftyone_database):
    import fiftyone as fo

    folder = str(tmp_path / "set")
    arguments = ["synthesize", folder, "--train", "2", "--test", "1", "--size", "128"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["train"] == 2
    assert cli.main(arguments) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert cli.main(["import-coco", folder, "--name", "cli-import"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["dataset"], result["train"], result["test"]) == ("cli-import", 2, 1)
    fo.delete_dataset("cli-import")


def test_a_full_disk_is_no_crash_and_leaves_nothing_in_the_way(tmp_path, capsys):
    arguments = ["synthesize", str(tmp_path / "set"), "--train", "2", "--test", "1"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert cli.main(arguments) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "a file cannot be used: File too large" in capsys.readouterr().err
    assert cli.main(arguments) == 0


@pytest.mark.fiftyone
def test_a_step_runs_on_a_real_dataset_and_prints_one_json_line(wafers, capsys):
    assert cli.main(["split-dataset", "no-such-dataset"]) == 2
    assert "no-such-dataset" in capsys.readouterr().err
    wafers.save_view("mine", wafers.limit(1))
    assert cli.main(["score-samples", wafers.name, "--view", "batch_09"]) == 2
    assert "it has: mine" in capsys.readouterr().err
    assert cli.main(["split-dataset", wafers.name, "--initial", "3"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["test"] == 4
    assert said.out.count("\n") == 1
