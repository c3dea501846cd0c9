"""What keeps the house in order: layers, light imports, one version, one list of requirements."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import metadata
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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text())
#: Rooms that neither the forms nor the panel may reach: they ask steps and the loop.
SCIENCE = ("unseen.arrays", "unseen.structure", "unseen.unet", "unseen.ranking", "unseen.detector")


def python_files(*folders):
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def imported(path):
    """The modules that a file imports anywhere in it; relative ones with their dots."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            modules |= {module} | {f"{module.rstrip('.')}.{alias.name}" for alias in node.names}
    return modules


def imports_from(path, names):
    return {m for m in imported(path) if any(m == n or m.startswith(f"{n}.") for n in names)}


def test_calls_go_downward_only():
    code = "from importlinter.cli import lint_imports_command as c; c()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        # import-linter cannot forbid a part of another package.
        ("src/unseen", ("fiftyone.operators",)),
        ("operators", (*SCIENCE, "torch", "ray")),
        ("plugin", (*SCIENCE, "unseen.steps", "torch")),
    ],
)
def test_each_folder_imports_only_what_it_needs(folder, forbidden):
    for path in python_files(folder):
        if path.name != "doctor.py":  # it asks FiftyOne whether the plugin loads
            assert not imports_from(path, forbidden), path


def test_the_plugins_entry_point_imports_its_parts_and_nothing_of_the_package():
    parts = {".operators", ".operators.register", ".panel", ".panel.CurationPanel"}
    parts |= {".versions", ".versions.MismatchPanel", ".versions.mismatch"}
    expected = {"importlib.util", "os", "sys", *parts}
    assert imported(ROOT / "plugin/__init__.py") == expected


def test_what_forms_and_help_need_loads_neither_torch_nor_fiftyone():
    code = (
        "import sys, unseen.results\n"
        "from unseen import cli\n"
        "try: cli.main(['train-unet', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'fiftyone', 'numpy', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_steps_of_an_iteration_load_torchvision_for_detectors_only():
    names = ("train_unet", "score_samples", "select_batch", "more_like_this")
    code = f"import sys, unseen\nfor n in {names}: getattr(unseen, n)\nprint('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_every_step_has_one_folder_one_function_and_one_config():
    assert tuple(catalogue()) == unseen.STEPS
    for name, step in catalogue().items():
        function = getattr(unseen, name)
        assert function.__name__ == name
        assert function.config_class is step.config
        assert getattr(unseen, step.config.__name__) is step.config


def test_the_map_of_the_house_names_every_room():
    named = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    rooms = {p.parent.name for p in (ROOT / "src/unseen").glob("*/__init__.py")}
    assert sorted(named) == sorted(rooms)
    (layers,) = [c["layers"] for c in PROJECT["tool"]["importlinter"]["contracts"] if "layers" in c]
    assert named == [layer for layer in layers if layer in rooms]


def test_every_package_that_is_imported_is_declared():
    from packaging.requirements import Requirement

    extras = PROJECT["project"]["optional-dependencies"]
    optional = (extras[name] for name in ("benchmark", "dino", "ray"))
    lines = PROJECT["project"]["dependencies"] + [line for extra in optional for line in extra]
    declared = {_plain(Requirement(line).name) for line in lines}
    homes = metadata.packages_distributions()
    ours = {"", "unseen", *sys.stdlib_module_names}
    missing = {}
    for path in python_files("src", "operators", "plugin"):
        for module in {name.split(".")[0] for name in imported(path)} - ours:
            names = {_plain(home) for home in homes.get(module, [module])}
            if not names & declared:
                missing.setdefault(module, []).append(str(path.relative_to(ROOT)))
    assert missing == {}


def _plain(distribution):
    return distribution.lower().replace("_", "-")


def test_requirements_txt_equals_the_packages_dependencies():
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    assert [line for line in lines if line] == PROJECT["project"]["dependencies"]


def test_the_manifest_fits_the_package():
    from unseen.annotation.cvat.credentials import SECRETS

    assert MANIFEST["secrets"] == list(SECRETS)
    assert MANIFEST["version"] == unseen.__version__
    assert f"## [{unseen.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    needed = next(d for d in PROJECT["project"]["dependencies"] if d.startswith("fiftyone"))
    assert MANIFEST["fiftyone"]["version"] in needed


def test_nothing_is_left_for_later():
    word = re.compile("TO" + r"DO|FIX" + "ME")
    files = python_files("src", "operators", "plugin", "tests", "benchmarks", "docs")
    assert [p for p in files if word.search(p.read_text())] == []
