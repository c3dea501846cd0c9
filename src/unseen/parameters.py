"""The parameters of every step: one frozen dataclass feeds the SDK, the command line and the form.

Each field carries its help, unit, range and choices, and is checked when the object is made. This
module imports neither torch nor fiftyone, so that forms and `--help` open at once.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from unseen.errors import ConfigError

T = TypeVar("T")


C = TypeVar("C", bound="StepConfig")


def setting(
    default: T,
    help: str,
    *,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    advanced: bool = False,
    only_with: Mapping[str, tuple[Any, ...]] | None = None,
) -> T:
    """Declare one parameter.

    Args:
        default: the value when nothing is given.
        help: one sentence, shown by the form and by `--help`.
        unit: of a number, for example "px" or "images".
        minimum: the lowest valid number, inclusive.
        maximum: the highest valid number, inclusive.
        choices: the valid strings.
        advanced: shown in the form's second section only.
        only_with: another parameter -> its values with which this one has a meaning; with others
            the form leaves it out.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "advanced": advanced,
        "only_with": dict(only_with or {}),
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """One field of a config as the form and the command line see it."""

    name: str
    kind: type  # bool, int, float, str or tuple (of kind `item`)
    item: type | None
    is_optional: bool
    default: Any
    help: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    advanced: bool
    only_with: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """What all steps share: where things are stored in the dataset."""

    label_field: str = setting(
        "ground_truth",
        "Field with the labels (Detections). None on a sample means unlabelled, an empty list means labelled and nothing there.",
    )
    series: str = setting(
        "",
        "Name of a second, independent loop on the same dataset; its tags, fields and records carry this name. Empty for the main loop.",
        advanced=True,
    )
    prefix: str = setting(
        "unseen", "Prefix of every sample field and record that this package writes.", advanced=True
    )
    test_tag: str = setting("test", "Tag of the fixed test split.", advanced=True)
    model_dir: str | None = setting(
        None,
        "Folder for checkpoints. Default: a folder per dataset below FiftyOne's default dataset directory.",
        advanced=True,
    )

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            value = _checked(type(self).__name__, parameter, getattr(self, parameter.name))
            object.__setattr__(self, parameter.name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Rules between parameters; each of them is valid by itself already."""

    def to_dict(self) -> dict[str, Any]:
        """Every parameter as plain JSON data."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }


def parameters(config: type[StepConfig]) -> list[Parameter]:
    """The parameters of a config class, in the order of the form: its own first, shared ones last."""
    hints = typing.get_type_hints(config)
    shared = {f.name for f in dataclasses.fields(StepConfig)} - {"label_field"}
    found = []
    for f in dataclasses.fields(config):
        kind, is_optional = _unwrap_optional(hints[f.name])
        item = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None
        found.append(
            Parameter(
                name=f.name,
                kind=typing.get_origin(kind) or kind,
                item=item,
                is_optional=is_optional,
                default=f.default,
                **f.metadata,
            )
        )
    return sorted(found, key=lambda p: (p.name in shared, p.name == "dry_run"))


def from_mapping(config: type[C], values: Mapping[str, Any]) -> C:
    """A config from form or command-line values; None and missing keys take the default.

    Raises:
        ConfigError: a key is no parameter of this config, or a value is out of range.
    """
    known = {f.name for f in dataclasses.fields(config)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{config.__name__} has no parameter {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(sorted(known))}"
        )
    return config(**{k: v for k, v in values.items() if v is not None})


def check_value(config: type[StepConfig], name: str, value: Any) -> None:
    """Check one parameter by itself, as a form does while one types.

    Raises:
        ConfigError: the value is out of its range.
    """
    parameter = next(p for p in parameters(config) if p.name == name)
    _checked(config.__name__, parameter, value)


def _unwrap_optional(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return inner[0], True
    return hint, False


def _checked(owner: str, parameter: Parameter, value: Any) -> Any:
    """The value in its declared type, or a ConfigError that says what was expected."""
    if value is None:
        if parameter.is_optional:
            return None
        raise ConfigError(f"{owner}.{parameter.name} is None; expected {_expectation(parameter)}")
    if parameter.kind is tuple:
        if isinstance(value, str):
            value = [v.strip() for v in value.split(",") if v.strip()]
        try:
            values = tuple(_checked_one(owner, parameter, parameter.item, v) for v in value)
        except TypeError:
            raise ConfigError(
                f"{owner}.{parameter.name}={value!r}; expected a list of {_expectation(parameter)}"
            ) from None
        if len(set(values)) != len(values) and parameter.item is str:
            raise ConfigError(f"{owner}.{parameter.name}={value!r} names something twice")
        return values
    return _checked_one(owner, parameter, parameter.kind, value)


def _checked_one(owner: str, parameter: Parameter, kind: type | None, value: Any) -> Any:
    message = f"{owner}.{parameter.name}={value!r}; expected {_expectation(parameter)}"
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(message)
        return value
    if kind is str:
        if not isinstance(value, str):
            raise ConfigError(message)
    else:
        if isinstance(value, bool):
            raise ConfigError(message)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ConfigError(message) from None
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ConfigError(message)
        if parameter.minimum is not None and number < parameter.minimum:
            raise ConfigError(message)
        if parameter.maximum is not None and number > parameter.maximum:
            raise ConfigError(message)
        value = int(number) if kind is int else number
    if parameter.choices and value not in parameter.choices:
        raise ConfigError(message)
    if parameter.name in ("prefix", "series"):
        _check_name(parameter.name, value)
    return value


def _check_name(name: str, value: str) -> None:
    if value and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ConfigError(
            f"{name}={value!r}: expected lower-case letters, digits and underscores, "
            "starting with a letter (it becomes part of field names)"
        )
    if name == "prefix" and not value:
        raise ConfigError("prefix is empty; expected a name such as 'unseen'")


def _expectation(parameter: Parameter) -> str:
    if parameter.choices:
        return "one of " + ", ".join(parameter.choices)
    kind = parameter.item or parameter.kind
    text = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
    if parameter.unit:
        text += f" ({parameter.unit})"
    if parameter.minimum is not None:
        text += f" from {parameter.minimum:g}"
    if parameter.maximum is not None:
        text += f" up to {parameter.maximum:g}"
    return text
