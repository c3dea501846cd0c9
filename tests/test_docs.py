"""The documentation names everything there is, and its tables are current."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import unseen
from unseen import cli
from unseen.parameters import parameters
from unseen.steps.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def verbs():
    actions = cli.build_parser()._subparsers._group_actions
    return list(actions[0].choices)


def test_the_tables_are_current():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.main(["--check"]) == 0


@pytest.mark.parametrize("page", ["docs/operators.md", "docs/cli.md"])
@pytest.mark.parametrize("step", unseen.STEPS)
def test_every_parameter_is_documented_with_its_default(page, step):
    section = (
        "## " + (step if "operators" in page else f"unseen {catalogue()[step].command}") + "\n"
    )
    text = read(page)
    assert section in text
    own = text.split(section)[1].split("\n## ")[0]
    shared = re.split(r"\n## .* of every ", text)[-1]
    for parameter in parameters(catalogue()[step].config):
        name = parameter.name if "operators" in page else f"--{parameter.name.replace('_', '-')}"
        rows = [r for r in (own + shared).splitlines() if f"`{name}`" in r]
        assert rows, f"{page} lacks {name} of {step}"
        assert rows[0].endswith(f"| {cli.default_text(parameter)} |")


def test_every_verb_is_documented():
    text = read("docs/cli.md")
    assert all(f"unseen {verb}" in text for verb in verbs())


def test_the_readme_names_every_step_of_the_loop():
    text = read("README.md")
    missing = [s for s in unseen.STEPS if s not in text and catalogue()[s].command not in text]
    assert missing == []
    assert "make demo" in text
    assert "make app" in text


def test_every_make_target_that_is_mentioned_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"`make ([a-z0-9-]+)", read(page)))
        assert mentioned <= targets, f"{page} mentions {mentioned - targets}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#]+)", read(page)):
        if "://" not in target:
            assert (folder / target).exists(), f"{page} links to {target}"
