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
from unseen.dataset.locks import DONE, RUNNING, Run, last_run
from unseen.dataset.loop import Loop
from unseen.dataset.setup import LASTING, lasting
from unseen.dataset.writing import MARK
from unseen.errors import ConfigError, UnseenError
from unseen.loop import overview
from unseen.parameters import Config, Parameter, check_value, from_mapping, parameters
from unseen.steps.catalogue import IMPORT, Step, catalogue

from . import paths
from .paths import is_from_app

#: The switch that reveals the second section of a form.
ADVANCED = "advanced"
#: 1.22: a list empties its field when it is left, with what was typed and not followed by Enter.
_KEEPS_WHAT_IS_TYPED = {"autocomplete": {"autoSelect": True, "autoHighlight": False}}
#: What the form and the App (1.22; the last two from a panel) add to the parameters.
_NOT_OURS = (ADVANCED, "view_target", "panel_id", "panel_state")


def form(ctx: Any, step: Step) -> types.Object:
    """A form with every parameter of a step, and what is wrong with them at their fields.

    It asks for a target if the step takes views. The default is the whole dataset even while a
    view is open, because the view in front is usually the last batch.
    """
    inputs = types.Object()
    if step.view_verb and not shows_patches(ctx):
        inputs.view_target(
            ctx, action_description=step.view_verb, default_target=ViewTarget.DATASET
        )
    run = last_run(ctx.dataset) if ctx.dataset is not None and step.locks else None
    before = _entries_of(run, step) if ADVANCED not in ctx.params else {}
    params = {**before, **ctx.params}
    wrong = problems(step.config, params)
    given = {k: v for k, v in params.items() if k not in wrong}
    known = _lasting(ctx.dataset, given)
    defaults = {**{k: v for k, v in known.items() if k in LASTING}, **before}
    shown = [_with_default(p, defaults) for p in parameters(step.config) if p.in_app]
    shown = [p for p in shown if _has_meaning(p, shown, given)]
    wrong = wrong or paths.refused(ctx, step.config)
    if not wrong and run is not None and run.state == RUNNING:
        wrong = {None: f"{described(run)}. Wait until it ends, or stop it in the panel."}
    wrong = wrong or refusals(ctx, step, shown, known)
    for parameter in (p for p in shown if not p.advanced):
        _add(inputs, ctx.dataset, parameter, given, wrong.get(parameter.name))
    if advanced := [p for p in shown if p.advanced]:
        inputs.bool(
            ADVANCED,
            default=bool(params.get(ADVANCED)),
            label="Advanced",
            description="Show the parameters that seldom need a change.",
            view=types.SwitchView(),
        )
    for parameter in advanced:
        # A value that applies is always shown, whatever the switch says.
        is_asked = params.get(ADVANCED) or parameter.name in before
        if is_asked or _is_changed(parameter, params):
            _add(inputs, ctx.dataset, parameter, given, wrong.get(parameter.name))
    if None in wrong:
        problem = inputs.str("problem", view=types.Error(label=wrong[None]))
        problem.invalid, problem.error_message = True, wrong[None]
    return inputs


def shows_patches(ctx: Any) -> bool:
    """Whether the App shows patches, such as the ranked regions, while it sends this request.

    Steps work on whole images, but 1.22 then offers only the patches as target.
    """
    # A view from Python is meant.
    return is_from_app(ctx) and ctx.view is not None and ctx.view._is_generated


def settings(ctx: Any, config: type[Config]) -> dict[str, Any]:
    """The step's parameters among an operator's; an empty field takes the default.

    Raises a ConfigError for a value out of range, for a key that is no parameter and for a path
    that a request may not name.
    """
    values = _filled_in(config, ctx.params)
    from_mapping(config, values)
    for message in paths.refused(ctx, config).values():
        raise ConfigError(message)
    return values


def step_of(run: Run) -> Step | None:
    """The step that runs or ran; None if there is no such step any more."""
    return catalogue().get(run.step)


def described(run: Run) -> str:
    """What runs, since when and where, for a person."""
    known = step_of(run)
    name = known.label if known else run.step
    return f"{name}: running since {run.since.astimezone():%H:%M} ({run.where})"


def entries(params: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered in a form, with which it can be opened again."""
    return {k: v for k, v in params.items() if k not in ("panel_id", "panel_state")}


def problems(config: type[Config], params: Mapping[str, Any]) -> dict[str | None, str]:
    """What is wrong with an operator's parameters: a message by name, and at None of the whole."""
    wrong: dict[str | None, str] = {}
    values = _filled_in(config, params)
    for parameter in parameters(config):
        try:
            if parameter.name in values:
                check_value(config, parameter.name, values[parameter.name])
        except ConfigError as error:
            wrong[parameter.name] = str(error).removeprefix(f"{config.__name__}.")
    if not wrong:
        try:
            from_mapping(config, values)
        except ConfigError as error:
            wrong[None] = str(error)
    return wrong


def refusals(
    ctx: Any, step: Step, shown: Sequence[Parameter], known: Mapping[str, str]
) -> dict[str | None, str]:
    """What the step would refuse on the dataset as it is now, in the form of `problems`."""
    if ctx.dataset is None or step.name == IMPORT.name:
        return {}
    given = {p.name: p.default for p in shown} | {
        k: v for k, v in ctx.params.items() if v is not None
    }
    names = {f.name: given[f.name] for f in dataclasses.fields(Names) if given.get(f.name)}
    try:
        why = overview.why_not(ctx.dataset, step.name, given, Names(**{**known, **names}))
    except UnseenError:  # the step itself reports it
        return {}
    return {} if why is None else {why[0]: why[1]}


def detection_fields(dataset: fo.Dataset | None) -> list[str]:
    """The dataset's fields with boxes, by name."""
    if dataset is None:
        return []
    return sorted(dataset.get_field_schema(embedded_doc_type=fo.Detections))


def polyline_fields(dataset: fo.Dataset | None) -> list[str]:
    """The dataset's fields with polylines, by name, without those that this package writes."""
    if dataset is None:
        return []
    schema = dataset.get_field_schema(embedded_doc_type=fo.Polylines)
    return sorted(name for name, field in schema.items() if MARK not in (field.info or {}))


def _filled_in(config: type[Config], params: Mapping[str, Any]) -> dict[str, Any]:
    declared = parameters(config)
    texts = {p.name for p in declared if p.default == ""}
    lists = {p.name for p in declared if p.item is str and not p.choices}
    return {
        # What is typed as "open, short" is two classes.
        k: ",".join(v) if k in lists and _are_texts(v) else v
        for k, v in params.items()
        if k not in _NOT_OURS and v is not None and (v != "" or k in texts)
    }


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _lasting(dataset: fo.Dataset | None, given: Mapping[str, Any]) -> dict[str, str]:
    """What the loop was set up with; else, as label field, the only field with boxes."""
    if dataset is None:
        return {}
    default = Names()
    prefix, series = (given.get(n) or getattr(default, n) for n in ("prefix", "series"))
    known = lasting(dataset, prefix, series)
    fields = detection_fields(dataset)
    if len(fields) == 1 and default.label_field not in fields:
        known.setdefault("label_field", fields[0])
    return known


def _entries_of(run: Run | None, step: Step) -> Mapping[str, Any]:
    """What was entered for a step whose last run did not come to its end."""
    is_open = run is not None and run.step == step.name and run.state not in (RUNNING, DONE)
    return (run.request or {}) if run is not None and is_open else {}


def _with_default(parameter: Parameter, known: Mapping[str, Any]) -> Parameter:
    if parameter.name in known:
        return dataclasses.replace(parameter, default=known[parameter.name])
    return parameter


def _has_meaning(
    parameter: Parameter, all_of_them: Sequence[Parameter], params: Mapping[str, Any]
) -> bool:
    """Whether the parameter has an effect, given the values of the others."""
    defaults = {p.name: p.default for p in all_of_them}
    return all(
        (params.get(name) or defaults.get(name)) in values
        for name, values in parameter.only_with.items()
    )


def _is_changed(parameter: Parameter, params: Mapping[str, Any]) -> bool:
    value = params.get(parameter.name)
    value = tuple(value) if isinstance(value, list) else value
    is_empty = value == "" and parameter.default is None
    return value not in (None, parameter.default) and not is_empty


def _add(
    inputs: types.Object,
    dataset: fo.Dataset | None,
    parameter: Parameter,
    given: Mapping[str, Any],
    problem: str | None,
) -> None:
    label = parameter.name.replace("_", " ").capitalize()
    if parameter.unit and parameter.unit not in parameter.name.split("_"):
        label += f" ({parameter.unit})"
    common: dict[str, Any] = {"label": label, "description": parameter.help, "required": False}
    if parameter.default is not None:
        default = parameter.default
        common["default"] = list(default) if isinstance(default, tuple) else default
    prop = _property(inputs, parameter, _offered(dataset, parameter.name, given), common)
    if problem is not None:
        prop.invalid, prop.error_message = True, problem


def _property(
    inputs: types.Object, parameter: Parameter, offered: list[str] | None, common: dict[str, Any]
) -> types.Property:
    name, kind = parameter.name, parameter.kind
    bounds = {"min": parameter.minimum, "max": parameter.maximum}
    if kind is bool:
        return inputs.bool(name, view=types.CheckboxView(), **common)
    if kind is int:
        return inputs.int(name, **bounds, **common)
    if kind is float:
        return inputs.float(name, **bounds, **common)
    if parameter.item in (int, float):
        number = types.Number(int=parameter.item is int, float=parameter.item is float, **bounds)
        return inputs.list(name, number, **common)
    if is_choice := bool(parameter.choices) or name == "backend":
        view: types.Choices = types.DropdownView(multiple=kind is tuple)
    else:
        view = types.AutocompleteView(
            allow_user_input=True, allow_duplicates=False, componentsProps=_KEEPS_WHAT_IS_TYPED
        )
    for value in parameter.choices or offered or ():
        view.add_choice(value, label=value, description=parameter.meanings.get(value))
    if kind is tuple:
        return inputs.list(name, types.String(), view=view, **common)
    if is_choice:
        return inputs.enum(name, view.values(), view=view, **common)
    if offered is not None:
        return inputs.str(name, view=view, **common)
    return inputs.str(name, allow_empty=True, **common)


def _offered(dataset: fo.Dataset | None, name: str, given: Mapping[str, Any]) -> list[str] | None:
    """What to choose from for a parameter that takes any text, or None."""
    if name in ("label_field", "hidden_field", "gt_field"):
        return detection_fields(dataset)
    if name == "structure_field":
        return polyline_fields(dataset)
    if name == "backend":
        return list(dict.fromkeys([*BACKENDS, *sorted(fo.annotation_config.backends)]))
    return _labels(dataset, given) if name == "classes" else None


def _labels(dataset: fo.Dataset | None, given: Mapping[str, Any]) -> list[str]:
    """The classes that the dataset stores or shows."""
    if dataset is None:
        return []
    known = _lasting(dataset, given)
    field = given.get("label_field") or known.get("label_field", Names().label_field)
    if field not in detection_fields(dataset):
        return [str(c) for c in dataset.default_classes or ()]
    try:
        return Loop(dataset, Names(label_field=field)).classes()
    except UnseenError:  # the step reports it
        return []
