"""A new step is one folder: SDK, command line, App and documents find it without another edit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

DECLARATION = '''"""Count dark pixels."""

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class CountPixelsConfig(StepConfig):
    """Parameters of `count_pixels`."""

    darkest: int = setting(3, "Darkest pixel.", unit="levels", minimum=0, maximum=255)


@dataclass(frozen=True, kw_only=True)
class CountPixelsResult(StepResult):
    """Result of `count_pixels`."""

    images: int

    def summary(self):
        return f"{self.images} images counted."


STEP = Step(order=45, label="Count", config=CountPixelsConfig)
'''
FUNCTION = '''
from unseen.steps.count_pixels import CountPixelsConfig, CountPixelsResult
from unseen.steps.step import step


@step(CountPixelsConfig)
def count_pixels(loop, config, progress):
    """Count."""
    return CountPixelsResult(dataset=loop.dataset.name, images=len(loop.dataset))
'''
#: Finds the step in every place, in a process of its own.
EVERYWHERE = """
import contextlib, importlib.util, io, json, sys
import unseen, unseen.steps
root, folder = sys.argv[1:]
unseen.steps.__path__.append(folder)

from unseen import cli
from unseen.steps.catalogue import catalogue

assert "count_pixels" in unseen.STEPS
assert list(catalogue())[unseen.STEPS.index("count_pixels") + 1] == "train_unet"
assert unseen.CountPixelsConfig(darkest=7).darkest == 7

said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    cli.main(["count-pixels", "--help"])
assert "--darkest" in said.getvalue()

spec = importlib.util.spec_from_file_location("reference", f"{root}/docs/reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
assert reference.main(["--check"]) == 1
for name, expected in {
    "docs/reference.md": "## count_pixels",
    "fiftyone.yml": "  - count_pixels\\n  - train_unet",
}.items():
    with open(f"{root}/{name}") as file:
        text = file.read()
    assert expected in reference.FILES[name](text)

import fiftyone as fo
from fiftyone.operators.executor import ExecutionContext, Executor

dataset = fo.Dataset()
dataset.add_sample(fo.Sample(filepath="/a.png"))
sys.path.insert(0, root)
import operators

(count,) = [o for o in operators.operators() if o.__name__ == "CountPixels"]
operator = count()
request = {"dataset_name": dataset.name, "view": [], "params": {}}
ctx = ExecutionContext(request, executor=Executor(), operator_uri="@unseen/curation/count_pixels")
form = operator.resolve_input(ctx).type.properties
assert form["darkest"].default == 3
assert operator.config.icon.endswith(".svg")
*_, last = operator.execute(ctx)
assert last.to_json()["body"]["images"] == 1
assert unseen.count_pixels(dataset).images == 1
dataset.delete()
"""


@pytest.mark.fiftyone
def test_a_folder_is_found_everywhere(tmp_path, fiftyone_database):
    folder = tmp_path / "count_pixels"
    folder.mkdir()
    (folder / "__init__.py").write_text(DECLARATION)
    (folder / "run.py").write_text(FUNCTION)
    done = subprocess.run(
        [sys.executable, "-c", EVERYWHERE, str(ROOT), str(tmp_path)],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
