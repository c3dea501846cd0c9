"""Paths in requests from the App stay where they belong."""

from __future__ import annotations

import os
import re

import pytest

from unseen.dataset.loop import files_root
from unseen.errors import ConfigError
from unseen.parameters import parameters
from unseen.ranking.features import backbones
from unseen.steps.catalogue import catalogue

pytestmark = pytest.mark.fiftyone

#: One of every parameter that names a file or folder, with the values that let it apply.
PATHS = {
    ("compare_iterations", "output"): {},
    ("compare_iterations", "model_dir"): {},
    ("score_samples", "checkpoint"): {},
    ("apply_detector", "checkpoint"): {},
    ("train_detector", "weights"): {},
    ("select_batch", "features"): {"strategy": "mixed"},
    ("mark_structure", "structure_file"): {"structure": "polylines"},
    ("prepare_dataset", "structure_file"): {"structure": "mask"},
}


def declared():
    steps = catalogue().values()
    return {(s.name, p.name) for s in steps for p in parameters(s.config) if p.path}


def test_every_parameter_that_names_a_path_is_marked():
    assert set(PATHS) | {(name, "model_dir") for name in catalogue()} == declared()
    for step in catalogue().values():
        for parameter in parameters(step.config):
            said = re.search(r"\b(folder|checkpoint|file)\b", parameter.help, re.IGNORECASE)
            is_text = (parameter.item or parameter.kind) is str and not parameter.choices
            assert bool(parameter.path) == bool(said and is_text), (step.name, parameter.name)
    (features,) = [
        p for p in parameters(catalogue()["select_batch"].config) if p.name == "features"
    ]
    assert features.not_paths == backbones.NAMES


@pytest.mark.parametrize(
    ("step", "name"), [("request_annotations", "url"), ("score_samples", "address")]
)
def test_a_request_names_no_server(wafers, operator, context, form_of, step, name):
    assert name not in form_of(wafers, step, advanced=True)
    with pytest.raises(ConfigError, match=f"{name}='http://x' cannot be set in the App"):
        list(operator(step).execute(context(wafers, step, **{name: "http://x"})))


@pytest.mark.parametrize(("step", "name"), PATHS)
def test_a_request_reaches_only_allowed_folders(
    make_wafers, operator, context, form_of, tmp_path, monkeypatch, step, name
):
    wafers, outside = make_wafers(2, labelled=1, test=1), tmp_path / "outside"
    outside.mkdir()
    (outside / "file.json").write_text('{"password": "hunter2"}')
    files_root().mkdir(parents=True, exist_ok=True)
    link = files_root() / f"link-{os.getpid()}"
    link.symlink_to(outside, target_is_directory=True)

    def answer(path):
        params = {**PATHS[step, name], name: str(path)}
        with pytest.MonkeyPatch.context() as patch:
            # Whether it is let through is the question here, not what the step then does.
            patch.setattr(f"unseen.{step}", lambda *_, **settings: settings, raising=False)
            form = form_of(wafers, step, **params)
            try:
                messages = list(operator(step).execute(context(wafers, step, **params)))
            except Exception as error:
                return str(error), form
        return messages, form

    try:
        for path in (outside / "file.json", "../../etc/passwd", "~/x", link / "file.json"):
            message, form = answer(path)
            assert f"{name}={str(path)!r} is outside of what the App may use" in message
            assert "UNSEEN_ALLOWED_FOLDERS" in message
            assert "hunter2" not in message
            assert form[name].error_message == message
        inside = [files_root() / "x"]
        beside = [wafers.first().filepath]
        reads = (step, name) not in {k for k in PATHS if k[1] in ("output", "model_dir")}
        for path in inside + beside * reads:
            assert isinstance(answer(path)[0], list)
        if not reads:
            assert "outside" in answer(beside[0])[0]
        monkeypatch.setenv("UNSEEN_ALLOWED_FOLDERS", f"/nowhere{os.pathsep}{outside}")
        assert isinstance(answer(outside / "file.json")[0], list)
    finally:
        link.unlink()
