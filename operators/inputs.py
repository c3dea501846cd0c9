"""The form of a step, made from the parameters of its config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import fiftyone as fo
from fiftyone.operators import types
from fiftyone.operators.constants import ViewTarget

from unseen.annotation import BACKENDS
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.setup import LASTING, lasting, names_of
from unseen.dataset.writing import MARK
from unseen.errors import ConfigError, UnseenError
from unseen.loop import overview
from unseen.parameters import Parameter, StepConfig, check_value, from_mapping, parameters
from unseen.steps.catalogue import catalogue

#: The switch that reveals the second section of a form.
ADVANCED = "advanced"
#: What the form and the App (1.22; the last two from a panel) add to a request.
_NOT_OURS = (ADVANCED, "view_target", "panel_id", "panel_state")
#: Parameters that name a field of the dataset with boxes.
LABEL_FIELDS = ("label_field", "hidden_field", "gt_field")


def form(ctx: Any, config: type[StepConfig], *, view_verb: str | None = None) -> types.Object:
    """A form with every parameter of `config`; what is wrong is said at its field while typing.

    Args:
        ctx: the operator's execution context.
        config: whose parameters are asked for.
        view_verb: what the step does to a view, for example "Score". Then the form asks for the
            target; the whole dataset is the default even while a view is open, because the view
            in front is usually the last batch. While patches are in front, such as the ranked
            regions, the dataset is meant and nothing is asked. None asks for no target.
    """
    inputs = types.Object()
    if view_verb and not shows_patches(ctx):
        inputs.view_target(ctx, action_description=view_verb, default_target=ViewTarget.DATASET)
    found = [_as_in_data(p, ctx.dataset, ctx.params) for p in parameters(config)]
    found = [p for p in found if _has_meaning(p, found, ctx.params)]
    invalid = problems(config, ctx.params) or refusals(ctx, config, found)
    for parameter in found:
        if not parameter.advanced:
            _add(inputs, ctx, parameter, invalid.get(parameter.name))
    advanced = [p for p in found if p.advanced]
    if advanced:
        inputs.bool(
            ADVANCED,
            default=False,
            label="Advanced",
            description="Show the parameters that seldom need a change.",
            view=types.SwitchView(),
        )
    for parameter in advanced:
        # A value that applies is always seen, whatever the switch says.
        if ctx.params.get(ADVANCED) or _is_changed(parameter, ctx.params):
            _add(inputs, ctx, parameter, invalid.get(parameter.name))
    if None in invalid:
        problem = inputs.str("problem", view=types.Error(label=invalid[None]))
        problem.invalid, problem.error_message = True, invalid[None]
    return inputs


def shows_patches(ctx: Any) -> bool:
    """Whether the App, which this request comes from, shows patches such as the ranked regions.

    Steps work on whole images; then 1.22 offers nothing but patches as target.
    """
    # An App request carries its operator's URI (1.22); what Python passes on is meant.
    is_app = "operator_uri" in ctx.request_params
    return is_app and ctx.view is not None and ctx.view._is_generated


def settings(config: type[StepConfig], params: Mapping[str, Any]) -> dict[str, Any]:
    """The config values among an operator's params; what the form left empty takes the default.

    Raises:
        ConfigError: a key is neither a parameter nor the form's own switch.
    """
    values = {k: v for k, v in params.items() if k not in _NOT_OURS}
    for parameter in parameters(config):
        value = values.get(parameter.name)
        if value is None or (value == "" and parameter.default != ""):
            values.pop(parameter.name, None)
    from_mapping(config, values)
    return values


def problems(config: type[StepConfig], params: Mapping[str, Any]) -> dict[str | None, str]:
    """What is wrong with an operator's params: a message per parameter, and None for the whole."""
    found: dict[str | None, str] = {}
    for parameter in parameters(config):
        value = params.get(parameter.name)
        if value is not None and (value != "" or parameter.default == ""):
            try:
                check_value(config, parameter.name, value)
            except ConfigError as error:
                found[parameter.name] = str(error).removeprefix(f"{config.__name__}.")
    if not found:
        try:
            settings(config, params)
        except ConfigError as error:
            found[None] = str(error)
    return found


def refusals(
    ctx: Any, config: type[StepConfig], found: Sequence[Parameter]
) -> dict[str | None, str]:
    """What the step would refuse as the dataset is now, as `problems` gives it."""
    step = next((name for name, known in catalogue().items() if known.config is config), None)
    if ctx.dataset is None or step is None:
        return {}
    params = {**{p.name: p.default for p in found}, **to_params(ctx.params)}
    try:
        why = overview.why_not(ctx.dataset, step, params, _names(ctx.dataset, params))
    except UnseenError:  # of the dataset's own making: the step says it
        return {}
    return {} if why is None else {why[0]: why[1]}


def _names(dataset: fo.Dataset, params: Mapping[str, Any]) -> Names:
    """The loop that a form's parameters speak of."""
    given = {f.name: params[f.name] for f in dataclasses.fields(Names) if params.get(f.name)}
    known = lasting(
        dataset, given.get("prefix", Names().prefix), given.get("series", Names().series)
    )
    return Names(**{**known, **given})


def to_params(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of an SDK call as JSON params."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}


def detection_fields(dataset: fo.Dataset | None) -> list[str]:
    """The dataset's fields with boxes, by name."""
    if dataset is None:
        return []
    schema = dataset.get_field_schema(embedded_doc_type=fo.Detections)
    return sorted(schema)


def polyline_fields(dataset: fo.Dataset | None) -> list[str]:
    """The dataset's fields with polylines, by name, without the one that this package makes."""
    if dataset is None:
        return []
    schema = dataset.get_field_schema(embedded_doc_type=fo.Polylines)
    return sorted(name for name, found in schema.items() if MARK not in (found.info or {}))


def backends() -> list[str]:
    """Where people can label: our own two, then the others that FiftyOne knows."""
    return list(dict.fromkeys([*BACKENDS, *sorted(fo.annotation_config.backends)]))


def _as_in_data(
    parameter: Parameter, dataset: fo.Dataset | None, params: Mapping[str, Any]
) -> Parameter:
    """The parameter with the default that this dataset suggests.

    That is what the loop was set up with; else, for the label field, the only field with boxes.
    """
    if dataset is None or parameter.name not in LASTING:
        return parameter
    known = lasting(
        dataset, params.get("prefix") or Names().prefix, params.get("series") or Names().series
    )
    if parameter.name in known:
        return dataclasses.replace(parameter, default=known[parameter.name])
    fields = detection_fields(dataset)
    if parameter.name == "label_field" and parameter.default not in fields and len(fields) == 1:
        return dataclasses.replace(parameter, default=fields[0])
    return parameter


def _has_meaning(
    parameter: Parameter, all_of_them: Sequence[Parameter], params: Mapping[str, Any]
) -> bool:
    """Whether the parameter does something with what is chosen elsewhere in the form."""
    defaults = {p.name: p.default for p in all_of_them}
    return all(
        (params.get(name) or defaults.get(name)) in values
        for name, values in parameter.only_with.items()
    )


def _is_changed(parameter: Parameter, params: Mapping[str, Any]) -> bool:
    value = params.get(parameter.name)
    if isinstance(value, list):
        value = tuple(value)
    return value not in (None, parameter.default) and not (
        value == "" and parameter.default is None
    )


def _add(inputs: types.Object, ctx: Any, parameter: Parameter, problem: str | None) -> None:
    label = parameter.name.replace("_", " ").capitalize()
    if parameter.unit and parameter.unit not in parameter.name.split("_"):
        label += f" ({parameter.unit})"
    common: dict[str, Any] = {"label": label, "description": parameter.help, "required": False}
    if parameter.default is not None:
        default = parameter.default
        common["default"] = list(default) if isinstance(default, tuple) else default
    prop = _property(inputs, ctx, parameter, common)
    if problem is not None:
        prop.invalid, prop.error_message = True, problem


def _property(
    inputs: types.Object, ctx: Any, parameter: Parameter, common: dict[str, Any]
) -> types.Property:
    name, bounds = parameter.name, {"min": parameter.minimum, "max": parameter.maximum}
    if parameter.kind is bool:
        return inputs.bool(name, view=types.CheckboxView(), **common)
    if parameter.kind is int:
        return inputs.int(name, **bounds, **common)
    if parameter.kind is float:
        return inputs.float(name, **bounds, **common)
    if parameter.kind is tuple:
        if parameter.item in (int, float):
            number = types.Number(
                int=parameter.item is int, float=parameter.item is float, **bounds
            )
            return inputs.list(name, number, **common)
        known = parameter.choices or (_labels(ctx) if name == "classes" else ())
        view = _choices(known, multiple=True, free=not parameter.choices)
        return inputs.list(name, types.String(), view=view, **common)
    if parameter.choices:
        view = _choices(parameter.choices)
        return inputs.enum(name, view.values(), view=view, **common)
    if name == "backend":
        return inputs.str(name, view=_choices(backends(), free=True), **common)
    if name in LABEL_FIELDS:
        fields = detection_fields(ctx.dataset)
        return inputs.str(name, view=_choices(fields, free=True), **common)
    if name == "structure_field":
        return inputs.str(name, view=_choices(polyline_fields(ctx.dataset), free=True), **common)
    return inputs.str(name, allow_empty=True, **common)


def _labels(ctx: Any) -> list[str]:
    """The classes that the dataset keeps or shows, to choose from."""
    dataset = ctx.dataset
    if dataset is None:
        return []
    field = ctx.params.get("label_field") or names_of(dataset).label_field
    if field not in detection_fields(dataset):
        return [str(c) for c in dataset.default_classes or ()]
    try:
        return Loop(dataset, Names(label_field=field)).classes()
    except UnseenError:  # said by the step; the form only offers what it can
        return []


def _choices(values: Any, *, multiple: bool = False, free: bool = False) -> types.Choices:
    view: types.Choices = (
        types.AutocompleteView(allow_user_input=True, allow_duplicates=False)
        if free
        else types.DropdownView(multiple=multiple)
    )
    for value in values:
        view.add_choice(value, label=value)
    return view
