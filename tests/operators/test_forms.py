"""The forms: the config's parameters, and what is wrong with them while one types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import unseen
from unseen.dataset import setup
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop import overview
from unseen.parameters import parameters
from unseen.steps.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.fiftyone


def form(dataset, step, **params):
    """The properties of the operator's form, without what the dataset's state refuses."""
    properties = dict(whole_form(dataset, step, **params))
    properties.pop("problem", None)
    return properties


def refused(dataset, step):
    """The field at which the form says that the step cannot run yet."""
    params = {p.name: p.default for p in parameters(catalogue()[step].config)}
    return (overview.why_not(dataset, step, params) or (None,))[0]


def whole_form(dataset, step, **params):
    """The properties of the operator's form, as the App asks for them."""
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionContext, Executor

    operator = foo.get_operator(f"@unseen/curation/{step}")
    request = {"dataset_name": dataset.name, "view": [], "params": params}
    ctx = ExecutionContext(request, executor=Executor(), operator_uri=operator.uri)
    return operator.resolve_type(ctx, "inputs").type.properties


@pytest.fixture(scope="module")
def dataset(request):
    request.getfixturevalue("fiftyone_database")
    import fiftyone as fo

    dataset = fo.Dataset()
    for name in ("ground_truth", "hidden_truth"):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    yield dataset
    dataset.delete()


def with_meaning(step):
    """The parameters that do something with the defaults of the others."""
    found = parameters(catalogue()[step].config)
    defaults = {p.name: p.default for p in found}
    return [p for p in found if all(defaults[n] in v for n, v in p.only_with.items())]


@pytest.mark.parametrize("step", unseen.STEPS)
def test_a_form_asks_for_every_parameter_of_its_config_and_nothing_else(dataset, step):
    own = {"advanced", "view_target", "warning", "schedule", "nothing_selected"}
    fields = set(form(dataset, step, advanced=True)) - own
    assert fields == {p.name for p in with_meaning(step)}


@pytest.mark.parametrize("step", unseen.STEPS)
def test_a_form_opens_short_and_valid(dataset, step):
    fields = form(dataset, step)
    basic = {p.name for p in with_meaning(step) if not p.advanced}
    # Nothing is selected here: a form that needs a selection says so, and no other does.
    assert (fields.pop("nothing_selected", None) is not None) == (step == "more_like_this")
    assert basic <= set(fields) <= basic | {"advanced", "view_target", "warning", "schedule"}
    fields.pop(refused(dataset, step), None)
    assert not any(prop.invalid or prop.required for prop in fields.values())


@pytest.mark.parametrize("step", unseen.STEPS)
def test_defaults_ranges_and_help_come_from_the_config(dataset, step):
    fields = form(dataset, step, advanced=True)
    for parameter in with_meaning(step):
        prop = fields[parameter.name]
        default = parameter.default
        assert prop.default == (list(default) if isinstance(default, tuple) else default)
        assert prop.view.description == parameter.help
        if parameter.kind in (int, float):
            assert (prop.type.min, prop.type.max) == (parameter.minimum, parameter.maximum)
        if parameter.unit:
            assert parameter.unit in prop.view.label.lower()
        if parameter.choices:
            assert tuple(prop.view.values()) == parameter.choices


def test_a_parameter_is_asked_for_where_it_does_something(dataset):
    shown = {
        choice: set(form(dataset, "prepare_dataset", structure=choice))
        for choice in ("none", "grid", "mask", "field")
    }
    assert "zone" not in shown["none"]
    assert {"pitch", "origin", "street", "zone", "margin"} <= shown["grid"]
    assert "structure_file" in shown["mask"]
    assert "pitch" not in shown["mask"]
    assert "structure_field" in shown["field"]
    assert "paper_loss" in form(dataset, "train_unet", mode="paper", advanced=True)


def test_the_order_of_the_initial_images_is_asked_for_until_something_is_labelled(make_wafers):
    fields = form(make_wafers(3, labelled=0, test=0), "prepare_dataset")
    assert fields["initial_order"].default == "coverage"
    labelled = make_wafers(3, labelled=1, test=0)
    assert "initial_order" not in form(labelled, "prepare_dataset")
    assert "initial_order" in form(labelled, "prepare_dataset", initial_order="random")


@pytest.mark.parametrize(
    ("is_allowed", "words"), [(False, "FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true"), (True, "worker")]
)
def test_the_form_of_a_long_step_says_how_to_schedule_it(dataset, monkeypatch, is_allowed, words):
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "allow_legacy_orchestrators", is_allowed)
    notice = form(dataset, "train_unet")["schedule"].view.label
    assert words in notice
    assert "fiftyone delegated launch" in notice
    assert ("FIFTYONE_ALLOW" in notice) is not is_allowed
    assert "schedule" not in form(dataset, "select_batch")


def test_what_the_dataset_cannot_do_yet_is_said_at_its_field_before_it_runs(make_wafers):
    wafers = make_wafers(8, labelled=0, test=2)
    nothing = whole_form(wafers, "train_unet")["problem"]
    assert nothing.invalid
    assert "No image has labels in 'ground_truth'" in nothing.error_message
    unscored = whole_form(wafers, "select_batch")["strategy"]
    assert unscored.invalid
    assert "score the pool first" in unscored.error_message
    large = whole_form(wafers, "select_batch", strategy="random", budget=9)["budget"]
    assert large.invalid
    assert "The pool has 8 images" in large.error_message
    fine = whole_form(wafers, "select_batch", strategy="random", budget=8)
    assert not any(prop.invalid for prop in fine.values())
    # What a series lacks, the main loop may have.
    unseen.split_dataset(wafers, initial=2)
    unseen.reveal_labels(wafers)
    assert "problem" not in whole_form(wafers, "train_unet")
    other = whole_form(wafers, "train_unet", label_field="hidden_labels")["problem"]
    assert "hidden_labels" in other.error_message


def test_the_label_field_is_what_the_data_says(fiftyone_database):
    import fiftyone as fo

    dataset = fo.Dataset()
    default = lambda: form(dataset, "train_unet")["label_field"].default  # noqa: E731
    assert default() == "ground_truth"
    dataset.add_sample_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert default() == "boxes"  # the only field with boxes
    dataset.add_sample_field("more", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert default() == "ground_truth"
    names = Names(label_field="more")
    setup.record_split(Loop(dataset, names), made_test=True, parameters={"label_field": "more"})
    assert default() == "more"  # what the loop was set up with
    dataset.delete()


def test_classes_are_offered_as_the_dataset_knows_them(fiftyone_database):
    import fiftyone as fo

    dataset = fo.Dataset()
    label = fo.Detection(label="particle", bounding_box=[0, 0, 0.1, 0.1])
    truth = fo.Detections(detections=[label])
    dataset.add_sample(fo.Sample(filepath="/a.png", ground_truth=truth))
    offered = lambda: form(dataset, "prepare_dataset")["classes"].view.values()  # noqa: E731
    assert offered() == ["particle"]
    dataset.classes = {"ground_truth": ["particle", "scratch"]}
    assert offered() == ["particle", "scratch"]
    dataset.delete()


def test_a_wrong_value_is_flagged_at_its_field_with_what_was_expected(dataset):
    fields = form(dataset, "select_batch", budget=0)
    assert fields["budget"].invalid
    assert "budget=0" in fields["budget"].error_message
    assert "from 1" in fields["budget"].error_message
    assert not fields["strategy"].invalid


def test_a_wrong_advanced_value_is_seen_although_the_section_is_closed(dataset):
    fields = form(dataset, "select_batch", prefix="No Good")
    assert fields["prefix"].invalid
    assert "lower-case" in fields["prefix"].error_message
    assert "test_tag" not in fields


def test_an_emptied_field_means_the_default(dataset):
    fields = form(dataset, "score_samples", threshold=None, checkpoint="", advanced=True)
    assert not any(prop.invalid for prop in fields.values())


def test_label_fields_are_offered_but_any_name_can_be_typed(dataset):
    fields = form(dataset, "simulate", label_field="not_there_yet")
    assert fields["label_field"].view.values() == ["ground_truth", "hidden_truth"]
    assert not fields["label_field"].invalid


def test_the_sdk_refuses_what_the_form_flags(dataset):
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionError

    operator = foo.get_operator("@unseen/curation/select_batch")
    with pytest.raises(ExecutionError, match=r"budget=0; expected a whole number"):
        operator(dataset, budget=0)
    with pytest.raises(ExecutionError, match="no parameter 'budgett'"):
        operator(dataset, budgett=3)


def test_forms_open_without_loading_torch(fiftyone_database):
    code = """
import sys
import fiftyone as fo, fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext, Executor
import unseen
dataset = fo.Dataset()
for step in unseen.STEPS:
    operator = foo.get_operator(f"@unseen/curation/{step}")
    request = {"dataset_name": dataset.name, "view": [], "params": {"advanced": True}}
    ctx = ExecutionContext(request, executor=Executor(), operator_uri=operator.uri)
    assert operator.resolve_type(ctx, "inputs").type.properties
    operator.resolve_placement(ctx)
dataset.delete()
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize("step", unseen.STEPS)
def test_a_form_that_a_panel_opened_is_valid_too(dataset, step):
    # 1.22: the App adds these to the parameters of an operator that a panel prompts for.
    fields = form(dataset, step, panel_id="panel-1", panel_state={"tab": "Now"})
    fields.pop(refused(dataset, step), None)
    fields.pop("nothing_selected", None)
    assert not any(prop.invalid for prop in fields.values())
