"""What keeps the house in order: layers, light imports, one version, one list of requirements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import unseen
from unseen.steps.catalogue import catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
CODE = ("src", "operators", "plugin", "tests", "benchmarks", "docs")


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def python_files(*folders):
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def imported(path):
    """The modules that a file imports anywhere in it; relative ones with their dots."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found |= {module} | {f"{module.rstrip('.')}.{alias.name}" for alias in node.names}
    return found


def starts_with(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def in_fresh_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_calls_go_downward_only():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_below_the_operators_knows_fiftyones_operators():
    # import-linter cannot forbid a part of another package.
    for path in python_files("src/unseen"):
        if path.name != "doctor.py":  # it asks FiftyOne whether the plugin loads
            wrong = {m for m in imported(path) if starts_with(m, ("fiftyone.operators",))}
            assert not wrong, f"{path} imports {wrong}"


#: Rooms that neither the forms nor the panel may reach: they ask steps and the loop.
SCIENCE = ("unseen.arrays", "unseen.structure", "unseen.unet", "unseen.ranking", "unseen.detector")


def test_operators_reach_steps_but_not_the_science_below():
    for path in python_files("operators"):
        wrong = {m for m in imported(path) if starts_with(m, (*SCIENCE, "torch", "ray"))}
        assert not wrong, f"{path.name} imports {wrong}"


def test_the_plugins_entry_point_imports_its_parts_and_nothing_of_the_package():
    entry = imported(ROOT / "plugin/__init__.py")
    parts = {".operators", ".operators.register", ".panel", ".panel.CurationPanel"}
    assert entry == {"importlib.util", "os", "sys", *parts}


def test_the_plugin_shows_and_computes_nothing():
    for path in python_files("plugin"):
        wrong = {m for m in imported(path) if starts_with(m, (*SCIENCE, "unseen.steps", "torch"))}
        assert not wrong, f"{path.name} imports {wrong}"


@pytest.mark.parametrize(
    "module",
    [
        "unseen",
        "unseen.parameters",
        "unseen.steps.catalogue",
        "unseen.errors",
        "unseen.results",
        "unseen.cli",
        "unseen.progress",
    ],
)
def test_what_forms_and_help_need_loads_neither_torch_nor_fiftyone(module):
    heavy = ("torch", "fiftyone", "numpy", "ray")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    assert in_fresh_python(code) == "[]"


def test_every_step_has_one_folder_one_function_and_one_config():
    assert tuple(catalogue()) == unseen.STEPS
    for name, step in catalogue().items():
        function = getattr(unseen, name)
        assert function.__name__ == name
        assert function.config_class is step.config
        assert getattr(unseen, step.config.__name__) is step.config


def test_requirements_txt_equals_the_packages_dependencies():
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    assert [line for line in lines if line] == project()["project"]["dependencies"]


def test_the_manifest_asks_for_the_secrets_that_connections_look_up():
    from unseen.annotation.cvat.credentials import SECRETS

    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert manifest["secrets"] == list(SECRETS)


def test_there_is_one_version():
    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    assert manifest["version"] == unseen.__version__
    assert f"## [{unseen.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_manifest_asks_for_the_fiftyone_that_the_package_needs():
    manifest = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
    needed = next(d for d in project()["project"]["dependencies"] if d.startswith("fiftyone"))
    assert manifest["fiftyone"]["version"] in needed


def test_nothing_is_left_for_later():
    word = re.compile("TO" + r"DO|FIX" + "ME")
    marked = [p for p in python_files(*CODE) if word.search(p.read_text())]
    assert marked == []
