"""The forms: the config's parameters, and what is wrong with them while one types."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import unseen
from unseen.dataset import setup
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.loop import overview
from unseen.parameters import from_mapping, parameters
from unseen.steps.catalogue import catalogue

pytestmark = pytest.mark.fiftyone

NOTICES = {"warning", "schedule", "server"}


@pytest.fixture(scope="module")
def dataset(fiftyone_database):
    """An empty dataset with two fields of boxes."""
    import fiftyone as fo

    dataset = fo.Dataset()
    for name in ("ground_truth", "hidden_truth"):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    yield dataset
    dataset.delete()


@pytest.fixture
def valid_form(form_of):
    """A form without what the dataset's state refuses."""

    def valid_form(dataset, step, **params):
        form = dict(form_of(dataset, step, **params))
        defaults = {p.name: p.default for p in parameters(catalogue()[step].config)}
        refused = (overview.why_not(dataset, step, defaults) or (None,))[0]
        form.pop(refused or "problem", None)
        return form

    return valid_form


def with_meaning(step):
    """The parameters that do something with the defaults of the others."""
    declared = parameters(catalogue()[step].config)
    defaults = {p.name: p.default for p in declared}
    asked = [p for p in declared if p.in_app]
    return [p for p in asked if all(defaults[n] in v for n, v in p.only_with.items())]


@pytest.mark.parametrize("step", unseen.STEPS)
def test_a_form_asks_for_every_parameter_of_its_config_and_nothing_else(dataset, form_of, step):
    own = {*NOTICES, "advanced", "view_target", "nothing_selected", "problem"}
    form = form_of(dataset, step, advanced=True, backend="cvat")
    assert set(form) - own == {p.name for p in with_meaning(step)}
    for parameter in with_meaning(step):
        prop = form[parameter.name]
        default = parameter.default
        if type(prop.type).__name__ == "String" and isinstance(default, tuple):
            default = ", ".join(default)
        assert prop.default == (list(default) if isinstance(default, tuple) else default)
        assert prop.view.description.startswith(parameter.help)
        if parameter.kind in (int, float):
            assert (prop.type.min, prop.type.max) == (parameter.minimum, parameter.maximum)
        if parameter.unit:
            assert parameter.unit in prop.view.label.lower()
        if parameter.choices:
            assert tuple(prop.view.values()) == parameter.choices


@pytest.mark.parametrize("step", unseen.STEPS)
def test_a_form_opens_short_and_valid(dataset, valid_form, step):
    # 1.22: the App adds the last two to the parameters of an operator that a panel prompts for.
    for params in ({}, {"panel_id": "panel-1", "panel_state": {"tab": "Now"}}):
        form = valid_form(dataset, step, **params)
        # Nothing is selected here: a form that needs a selection says so, and no other does.
        assert (form.pop("nothing_selected", None) is not None) == (step == "more_like_this")
        basic = {p.name for p in with_meaning(step) if not p.advanced}
        assert set(form) <= basic | {*NOTICES, "advanced", "view_target"}
        assert not any(prop.invalid or prop.required for prop in form.values())


def test_a_parameter_is_asked_for_if_it_does_something(dataset, form_of):
    shown = {
        choice: set(form_of(dataset, "prepare_dataset", structure=choice))
        for choice in ("none", "grid", "mask", "field")
    }
    assert "zone" not in shown["none"]
    assert {"pitch", "origin", "street", "zone", "margin"} <= shown["grid"]
    assert "structure_file" in shown["mask"]
    assert "pitch" not in shown["mask"]
    assert "structure_field" in shown["field"]
    assert "paper_loss" in form_of(dataset, "train_unet", mode="paper", advanced=True)


def test_the_order_of_the_initial_images_is_asked_for_until_something_is_labelled(
    make_wafers, form_of
):
    for test in (0, 2):  # labels of a test split teach nothing
        form = form_of(make_wafers(3, labelled=0, test=test), "prepare_dataset")
        assert form["initial_order"].default == "coverage"
    labelled = make_wafers(3, labelled=1, test=0)
    assert "initial_order" not in form_of(labelled, "prepare_dataset")
    assert "initial_order" in form_of(labelled, "prepare_dataset", initial_order="random")


@pytest.mark.parametrize("is_allowed", [False, True])
def test_the_form_of_a_long_step_says_how_to_schedule_it(dataset, form_of, monkeypatch, is_allowed):
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "allow_legacy_orchestrators", is_allowed)
    notice = form_of(dataset, "train_unet")["schedule"].view.label
    assert "fiftyone delegated launch" in notice
    assert ("FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS=true" in notice) is not is_allowed
    assert "schedule" not in form_of(dataset, "select_batch")


def test_a_form_says_that_it_contacts_the_annotation_server(dataset, form_of):
    said = {name: "server" in form_of(dataset, name) for name in catalogue()}
    assert said == {name: step.asks_server for name, step in catalogue().items()}


def test_what_the_dataset_cannot_do_yet_is_said_at_its_field(make_wafers, form_of):
    wafers = make_wafers(8, labelled=0, test=2)
    nothing = form_of(wafers, "train_unet")["problem"]
    assert nothing.invalid
    assert "No image has labels in 'ground_truth'" in nothing.error_message
    unscored = form_of(wafers, "select_batch")["strategy"]
    assert unscored.invalid
    assert "score the pool first" in unscored.error_message
    large = form_of(wafers, "select_batch", strategy="random", budget=9)["budget"]
    assert large.invalid
    assert "The pool has 8 images" in large.error_message
    fine = form_of(wafers, "select_batch", strategy="random", budget=8)
    assert not any(prop.invalid for prop in fine.values())
    unseen.split_dataset(wafers, initial=2)
    unseen.reveal_labels(wafers)
    assert "problem" not in form_of(wafers, "train_unet")
    other = form_of(wafers, "train_unet", label_field="hidden_labels")["problem"]
    assert "hidden_labels" in other.error_message


def test_the_label_field_is_what_the_data_says(empty, form_of):
    import fiftyone as fo

    def default():
        return form_of(empty, "train_unet")["label_field"].default

    assert default() == "ground_truth"
    empty.add_sample_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert default() == "boxes"  # the only field with boxes
    empty.add_sample_field("more", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    assert default() == "ground_truth"
    names = Names(label_field="more")
    setup.record_split(Loop(empty, names), made_test=True, parameters={"label_field": "more"})
    assert default() == "more"  # what the loop was set up with


def test_classes_are_offered_as_the_dataset_knows_them(empty, form_of):
    import fiftyone as fo

    label = fo.Detection(label="particle", bounding_box=[0, 0, 0.1, 0.1])
    truth = fo.Detections(detections=[label])
    empty.add_sample(fo.Sample(filepath="/a.png", ground_truth=truth))
    assert form_of(empty, "prepare_dataset")["classes"].view.values() == ["particle"]
    empty.classes = {"ground_truth": ["particle", "scratch"]}
    assert form_of(empty, "prepare_dataset")["classes"].view.values() == ["particle", "scratch"]


def test_a_wrong_value_is_flagged_at_its_field_with_what_was_expected(dataset, form_of, operator):
    from fiftyone.operators.executor import ExecutionError

    form = form_of(dataset, "select_batch", budget=0)
    assert form["budget"].invalid
    assert form["budget"].error_message.endswith(
        "expected a whole number (images) from 1 up to 100000"
    )
    assert not form["strategy"].invalid
    # A wrong advanced value is shown although the section is closed.
    form = form_of(dataset, "select_batch", prefix="No Good")
    assert form["prefix"].invalid
    assert "lower-case" in form["prefix"].error_message
    assert "test_tag" not in form
    # From Python the same is an error.
    with pytest.raises(ExecutionError, match=r"budget=0; expected a whole number"):
        operator("select_batch")(dataset, budget=0)
    with pytest.raises(ExecutionError, match="no parameter 'budgett'"):
        operator("select_batch")(dataset, budgett=3)


def test_an_emptied_field_means_the_default(dataset, valid_form):
    form = valid_form(dataset, "score_samples", threshold=None, checkpoint="", advanced=True)
    assert not any(prop.invalid for prop in form.values())


def test_label_fields_are_offered_but_any_name_can_be_typed(dataset, form_of):
    field = form_of(dataset, "simulate", label_field="not_there_yet")["label_field"]
    assert field.view.values() == ["ground_truth", "hidden_truth"]
    assert not field.invalid


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


@pytest.mark.parametrize("typed", ["open, short", ["open, short"], ["open", " short"]])
def test_classes_typed_with_commas_are_several(dataset, context, typed):
    inputs = sys.modules["fiftyone.plugins.orgs.unseen.curation.operators.inputs"]
    config = catalogue()["prepare_dataset"].config
    ctx = context(dataset, "prepare_dataset", classes=typed)
    assert from_mapping(config, inputs.settings(ctx, config)).classes == ("open", "short")
