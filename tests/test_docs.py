"""The documentation names everything there is, in the words of the glossary, and is current."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from unseen import cli
from unseen.parameters import StepConfig, parameters
from unseen.steps.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("skills/*/*.md"))
)


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def user_facing_strings(path):
    """The strings of a file that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
    }
    strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docstrings)
    return "\n".join(node.value for node in strings if isinstance(node.value, str))


def test_texts_for_the_app_are_no_python():
    for folder in ("src/unseen/loop", "operators", "plugin"):
        for path in (ROOT / folder).rglob("*.py"):
            found = re.findall(r"\w+=(?:True|False|None|')", user_facing_strings(path))
            assert not found, path


def test_the_tables_and_the_manifest_are_current():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.main(["--check"]) == 0


def test_every_parameter_is_documented_with_its_default():
    text = read("docs/reference.md")
    shared = text.split("## Parameters of every step\n")[1].split("\n## prepare_dataset\n")[0]
    for name, step in catalogue().items():
        own = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        table, _, also = own.partition("*Also:* ")
        assert f"`unseen {step.command} DATASET`" in own
        everywhere = {p.name for p in parameters(StepConfig)}
        for p in parameters(step.config):
            assert f"`{p.name}`" in own or p.name in everywhere, f"{name} lacks {p.name}"
            rows = [row for row in (table + shared).splitlines() if row.startswith(f"| `{p.name}`")]
            assert rows[0].endswith(f"| {p.help} | {p.expected} | {p.default_text} |")
            assert len(rows) == 1 or f"`{p.name}`" not in also


def test_every_verb_and_every_step_of_the_loop_is_documented():
    verbs = cli.build_parser()._subparsers._group_actions[0].choices
    assert [verb for verb in verbs if f"unseen {verb}" not in read("docs/reference.md")] == []
    text = read("README.md")
    told = text + read("docs/guide.md")
    steps = catalogue().items()
    assert [n for n, step in steps if n not in told and step.command not in told] == []
    assert "make demo" in text
    assert "make app" in text


@pytest.mark.parametrize("page", PAGES)
def test_links_and_make_targets_lead_somewhere(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", read(page))) <= targets
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", read(page)):
        if "://" not in target:
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), target
            assert not heading or heading in headings(path), f"{target}#{heading}"


def headings(path):
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page):
    verbs = cli.build_parser()._subparsers._group_actions[0].choices
    code = re.findall(
        r"```\w*\n(.*?)```|`(unseen [^`]+)`|^    (unseen [^\n]*)", read(page), re.M | re.S
    )
    lines = [line.removeprefix("$ ") for parts in code for line in "".join(parts).splitlines()]
    for line in (line for line in lines if re.match(r"unseen [a-z-]+( |$)", line)):
        _, verb, *rest = line.split(maxsplit=2)
        rest = "".join(rest)
        wrong = set(re.findall(r"--[a-z-]+", rest)) - set(verbs[verb]._option_string_actions)
        assert not wrong, f"unseen {verb} has no {wrong}"
    for script, rest in re.findall(r"python ((?:benchmarks|docs)/\w+\.py)([^`\n]*)", read(page)):
        accepted = options_of(ROOT / script) | options_of(ROOT / "benchmarks/shared.py")
        assert set(re.findall(r"--[a-z-]+", rest)) <= accepted, script
    known = {option for verb in verbs.values() for option in verb._option_string_actions}
    known |= {option for script in ROOT.glob("benchmarks/*.py") for option in options_of(script)}
    named = set(re.findall(r"`(--[a-z-]+)", read(page)))
    assert named - known <= {"--install", "--no-"}


def options_of(script):
    return set(re.findall(r'"(--[a-z-]+)"', script.read_text(encoding="utf-8")))


def test_scripts_and_operators_that_are_named_exist():
    for page in PAGES:
        for name in re.findall(r"\b(?:benchmarks|docs|tests)/[\w/]+\.\w+", read(page)):
            assert (ROOT / name).exists(), f"{page}: {name}"
    for page in (page for page in PAGES if page.startswith("skills/")):
        named = re.findall(r"^\|[^|]+\| `(\w+)`", read(page), re.MULTILINE)
        assert named
        assert set(named) <= set(catalogue())


def test_documents_and_messages_use_the_words_of_the_glossary():
    rows = [line.split("|")[3] for line in read("docs/glossary.md").splitlines() if "|" in line]
    words = [word for row in rows for word in re.findall(r"`([^`]+)`", row)]
    assert len(words) > 20
    anywhere = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)
    ruled_out = re.compile(rf"(?<!\w)({anywhere})s?(?!\w)")
    texts = {page: read(page) for page in PAGES if page != "docs/glossary.md"}
    for folder in ("src", "operators", "plugin"):
        for path in (ROOT / folder).rglob("*.py"):
            texts[str(path.relative_to(ROOT))] = user_facing_strings(path)
    wrong = {page: sorted({m[0] for m in ruled_out.finditer(t)}) for page, t in texts.items()}
    assert {page: used for page, used in wrong.items() if used} == {}
