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

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def manifest():
    return yaml.safe_load((ROOT / "fiftyone.yml").read_text())


@pytest.fixture(scope="module")
def registry(request):
    request.getfixturevalue("fiftyone_database")
    from fiftyone.operators.registry import OperatorRegistry

    return OperatorRegistry()


@pytest.fixture(scope="module")
def operators(registry):
    return {
        operator.name: operator
        for operator in registry.list_operators(builtin=False)
        if operator.plugin_name == PLUGIN
    }


def test_fiftyone_loads_the_plugin_without_errors(registry, operators):
    assert registry.list_errors() == []
    assert operators


def test_every_operator_of_the_manifest_is_registered_and_the_other_way_round(manifest, operators):
    listed = [*manifest["operators"], *manifest.get("panels", [])]
    assert sorted(listed) == sorted(operators)
    assert len(set(listed)) == len(listed)


def test_there_is_one_operator_per_step_in_the_order_of_the_loop(manifest):
    assert [name for name in manifest["operators"] if name in unseen.STEPS] == list(unseen.STEPS)


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


@pytest.mark.parametrize("step", unseen.STEPS)
def test_every_icon_exists_and_is_a_picture(operators, step):
    icon = ROOT / operators[step].config.icon.lstrip("/")
    assert ElementTree.parse(icon).getroot().tag.endswith("svg")


def test_the_manifest_names_no_address_and_a_version_range(manifest):
    assert manifest["fiftyone"]["version"].startswith(">=")
    assert not re.search(r"https?://", (ROOT / "fiftyone.yml").read_text())


def test_loading_again_registers_the_same_operators(operators):
    import fiftyone.operators as foo
    from fiftyone.operators.registry import OperatorRegistry

    again = OperatorRegistry().list_operators(builtin=False)
    assert {o.name for o in again if o.plugin_name == PLUGIN} == set(operators)
    assert foo.get_operator(f"{PLUGIN}/select_batch").uri == f"{PLUGIN}/select_batch"


def test_next_batch_has_a_button_above_the_grid(operators):
    from fiftyone.operators import types

    placed = {name: o.resolve_placement(None) for name, o in operators.items()}
    buttons = {name: p for name, p in placed.items() if p is not None}
    assert buttons["select_batch"].place == types.Places.SAMPLES_GRID_SECONDARY_ACTIONS


def test_the_skill_is_found_and_names_operators_that_exist(fiftyone_database, operators):
    from fiftyone.plugins.skills import list_skills

    (skill,) = [s for s in list_skills() if s.plugin_name == PLUGIN]
    assert skill.description
    assert skill.category == "curation"
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", skill.content)) - {"label_field"}
    assert set(unseen.STEPS) & named <= set(operators)
    assert named >= {
        "next_iteration",
        "request_annotations",
        "load_annotations",
        "undo_annotations",
    }
    assert {n for n in named if n in operators or n.endswith(("_annotations", "_dataset"))} <= set(
        operators
    )
