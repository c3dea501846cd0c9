"""The plugin as FiftyOne itself finds and loads it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

import unseen

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "@unseen/curation"
MANIFEST = (ROOT / "fiftyone.yml").read_text()

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def registry(fiftyone_database):
    from fiftyone.operators.registry import OperatorRegistry

    return OperatorRegistry()


@pytest.fixture(scope="module")
def operators(registry):
    return {
        operator.name: operator
        for operator in registry.list_operators(builtin=False)
        if operator.plugin_name == PLUGIN
    }


def test_fiftyone_loads_exactly_what_the_manifest_lists(registry, operators):
    import fiftyone.operators as foo
    from fiftyone.operators.registry import OperatorRegistry

    assert registry.list_errors() == []
    manifest = yaml.safe_load(MANIFEST)
    assert sorted([*manifest["operators"], *manifest["panels"]]) == sorted(operators)
    again = OperatorRegistry().list_operators(builtin=False)
    assert {o.name for o in again if o.plugin_name == PLUGIN} == set(operators)
    assert foo.get_operator(f"{PLUGIN}/select_batch").uri == f"{PLUGIN}/select_batch"


@pytest.mark.parametrize("step", unseen.STEPS)
def test_every_operator_streams_can_be_delegated_and_declares_its_risk(operators, step):
    from fiftyone.operators import types

    config = operators[step].config
    assert config.execute_as_generator
    assert config.allow_immediate_execution
    assert config.allow_delegated_execution
    assert config.dynamic
    assert config.risk_level in set(types.RiskLevel) - {types.RiskLevel.DANGEROUS}
    assert config.description
    icon = ROOT / config.icon.lstrip("/")
    assert ElementTree.parse(icon).getroot().tag.endswith("svg")


def test_what_changes_labels_sends_or_deletes_has_a_high_risk_and_the_panel_a_low_one(operators):
    from fiftyone.operators import types

    high = {name for name, one in operators.items() if one.risk_level == types.RiskLevel.HIGH}
    assert high == {
        *("request_annotations", "load_annotations", "undo_annotations", "next_iteration"),
        *("rename_classes", "repair_labels", "clean_dataset"),
    }
    assert operators["curation"].risk_level == types.RiskLevel.LOW


def test_the_manifest_names_no_address():
    assert not re.search(r"https?://", MANIFEST)


def test_the_workspace_has_a_button_above_the_grid(operators):
    from fiftyone.operators import types

    placed = {name: o.resolve_placement(None) for name, o in operators.items()}
    buttons = {name: p for name, p in placed.items() if p is not None}
    assert buttons["open_workspace"].place == types.Places.SAMPLES_GRID_SECONDARY_ACTIONS


def test_the_skill_names_operators_that_exist(operators):
    from fiftyone.plugins.skills import list_skills

    (skill,) = [s for s in list_skills() if s.plugin_name == PLUGIN]
    assert skill.description
    assert skill.category == "curation"
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", skill.content)) - {"label_field"}
    steps = {n for n in named if n in unseen.STEPS or n.endswith(("_annotations", "_dataset"))}
    assert steps <= set(operators)
    expected = {"next_iteration", "request_annotations", "load_annotations", "undo_annotations"}
    assert expected <= named
