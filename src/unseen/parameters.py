"""The parameters of every step: one frozen dataclass feeds the SDK, the command line and the form.

Each field carries its help, unit, range and choices, and is checked when the object is made.
Imports neither torch nor fiftyone, so that forms and `--help` open at once.
"""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from unseen.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound="Config")

#: Whole numbers beyond it are changed by JSON in a browser, and break databases and seeds.
LARGEST = 2**53
#: What FiftyOne (1.22) and MongoDB take as the name of a field; dots lead into embedded ones.
_FIELD = re.compile(r"(?s:[^_$.][^.]*(\.[^_$.][^.]*)*)")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One field of a config, as the form, the command line and the docs see it."""

    name: str
    kind: type  #: bool, int, float, str, or tuple of `item`s
    item: type | None
    is_optional: bool
    default: Any
    help: str
    unit: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    meanings: Mapping[str, str]  #: of the choices that need an explanation
    advanced: bool
    only_with: Mapping[str, tuple[Any, ...]]
    path: str | None  #: "read" or "write" if it names a file or folder
    not_paths: tuple[str, ...]  #: the values of such a parameter that name something else
    in_app: bool  #: whether requests from the App may set it

    @property
    def expected(self) -> str:
        """The valid values, for example "a whole number (images) from 1"."""
        kind = self.item or self.kind
        names = {bool: "yes or no", int: "a whole number", float: "a number", str: "a text"}
        text = "one of " + ", ".join(self.choices) if self.choices else names[kind]
        if self.kind is tuple:
            text = f"a list, each {text}"
        if self.unit:
            text += f" ({self.unit})"
        if self.minimum is not None:
            text += f" from {self.minimum:g}"
        if self.maximum is not None:
            text += f" up to {self.maximum:g}"
        return text

    @property
    def default_text(self) -> str:
        """The default as one would type it."""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, float):
            return f"{self.default:g}"
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default)) or "none"
        return "none" if self.default in (None, "") else str(self.default)


def setting(
    default: T,
    help: str,
    *,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[str] | None = None,
    advanced: bool = False,
    only_with: Mapping[str, tuple[Any, ...]] | None = None,
    path: Literal["read", "write"] | None = None,
    not_paths: tuple[str, ...] = (),
    in_app: bool = True,
) -> T:
    """Declare one parameter.

    `help` is one sentence; `unit` names what a number counts ("px", "images"); the range includes
    `minimum` and `maximum`. The form shows `advanced` parameters in its second section, and shows
    a parameter `only_with` the given values of others: {"mode": ("paper",)}. `choices` may map each
    value to its meaning. `path` marks the name of a file or folder, which the App confines to certain
    folders; `not_paths` are its values that mean something else, such as "none". What is not `in_app`
    is for Python and the command line, such as the address of a server.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": None if choices is None else tuple(choices),
        "meanings": choices if isinstance(choices, Mapping) else {},
        "advanced": advanced,
        "only_with": dict(only_with or {}),
        "path": path,
        "not_paths": not_paths,
        "in_app": in_app,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of everything that is asked for: its fields are declared by `setting`."""

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            value = _checked(type(self).__name__, parameter, getattr(self, parameter.name))
            object.__setattr__(self, parameter.name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Rules between parameters, each of which is valid by itself."""

    def to_dict(self) -> dict[str, Any]:
        """Every parameter as plain JSON data."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class StepConfig(Config):
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
        path="write",
    )


def parameters(config: type[Config]) -> list[Parameter]:
    """The parameters of a config class, in the order of the form: its own first, shared ones last.

    >>> [parameter.name for parameter in parameters(StepConfig)]
    ['label_field', 'series', 'prefix', 'test_tag', 'model_dir']
    """
    hints = typing.get_type_hints(config)
    shared = {f.name for f in dataclasses.fields(StepConfig)} - {"label_field"}
    declared = []
    for f in dataclasses.fields(config):
        hint = hints[f.name]
        is_optional = isinstance(hint, types.UnionType)
        if is_optional:
            hint = next(a for a in typing.get_args(hint) if a is not type(None))
        kind = typing.get_origin(hint) or hint
        declared.append(
            Parameter(
                name=f.name,
                kind=kind,
                item=typing.get_args(hint)[0] if kind is tuple else None,
                is_optional=is_optional,
                default=f.default,
                **f.metadata,
            )
        )
    return sorted(declared, key=lambda p: (p.name in shared, p.name == "dry_run"))


def from_mapping(config: type[C], values: Mapping[str, Any]) -> C:
    """A config from form or command-line values; None and missing keys take the default.

    Raises a ConfigError for a key that is no parameter, and for a value out of range.
    """
    known = {f.name for f in dataclasses.fields(config)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{config.__name__} has no parameter {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(sorted(known))}"
        )
    return config(**{k: v for k, v in values.items() if v is not None})


def as_path(name: str, value: str) -> Path:
    """The absolute path that a person means, `~` included; `name` is the parameter.

    Raises a ConfigError for a text that can be no path. Whether it exists is another question.
    """
    problem = no_text(value)
    if "://" in value:
        problem = (
            "is an address, and FiftyOne's open-source version opens files only: mount the storage"
        )
    try:
        path = Path(value).expanduser().absolute()
        if not problem:
            path.stat()
    except RuntimeError:
        problem = "names a person who has no home folder here"
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            problem = f"can be no path ({error.strerror})"
    if problem:
        raise ConfigError(
            f"{name}={_short(value)} {problem}; expected the path of a file or folder"
        )
    return path


def part(config: StepConfig, base: type[StepConfig]) -> dict[str, Any]:
    """The parameters of a config that `base` declares, for another step."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(base)}


def check_value(config: type[Config], name: str, value: Any) -> None:
    """Check one parameter by itself, as a form does while one types; raises a ConfigError.

    >>> check_value(StepConfig, "prefix", "No")
    Traceback (most recent call last):
    unseen.errors.ConfigError: prefix='No': expected lower-case letters, digits and underscores, ...
    """
    parameter = next(p for p in parameters(config) if p.name == name)
    _checked(config.__name__, parameter, value)


def _checked(owner: str, parameter: Parameter, value: Any) -> Any:
    """The value in its declared type, or a ConfigError that says what was expected."""
    if value is None and parameter.is_optional:
        return None
    if parameter.kind is not tuple:
        return _checked_one(owner, parameter, value)
    if isinstance(value, str):
        value = [v.strip() for v in value.split(",") if v.strip()]
    if not isinstance(value, Iterable):
        raise _wrong(owner, parameter, value)
    values = tuple(_checked_one(owner, parameter, v) for v in value)
    if parameter.item is str and len(set(values)) != len(values):
        raise ConfigError(
            f"{owner}.{parameter.name}={_short(value)} names something twice; name it once"
        )
    return values


def _checked_one(owner: str, parameter: Parameter, value: Any) -> Any:
    kind = parameter.item or parameter.kind
    if parameter.path and isinstance(value, os.PathLike):
        value = os.fspath(value)
    checked: Any = _as_number(kind, value) if kind in (int, float) else value
    is_kind = isinstance(checked, kind)
    is_valid = (
        is_kind
        and (parameter.minimum is None or checked >= parameter.minimum)
        and (parameter.maximum is None or checked <= parameter.maximum)
        and (not parameter.choices or checked in parameter.choices)
    )
    if not is_valid:
        raise _wrong(owner, parameter, value)
    if kind is str and (problem := no_text(checked)):
        raise ConfigError(f"{owner}.{parameter.name}={_short(value)} {problem}; expected a text")
    if parameter.path and checked and checked not in parameter.not_paths:
        as_path(parameter.name, checked)
    # They become part of field names.
    if parameter.name in ("prefix", "series") and not re.fullmatch(r"([a-z][a-z0-9_]*)?", checked):
        raise ConfigError(
            f"{parameter.name}={checked!r}: expected lower-case letters, digits and underscores, "
            "starting with a letter"
        )
    if checked == "" and isinstance(parameter.default, str) and parameter.default:
        raise ConfigError(
            f"{parameter.name} is empty; expected a text such as {parameter.default!r}"
        )
    if parameter.name.endswith("_field") and checked and not _FIELD.fullmatch(checked):
        raise ConfigError(
            f"{parameter.name}={_short(checked)}: expected the name of a field, which has no empty "
            "part and begins with neither _ nor $"
        )
    if parameter.name == "label_field" and "." in checked:  # its record is a field beside it
        raise ConfigError(
            f"label_field={_short(checked)}: expected a field of the sample itself; copy the labels "
            f"to one with dataset.clone_sample_field({checked!r}, {checked.replace('.', '_')!r})"
        )
    return checked


def _wrong(owner: str, parameter: Parameter, value: Any) -> ConfigError:
    expected = parameter.expected
    if parameter.maximum is None and parameter.kind is int and _as_number(float, value):
        expected += f", at most {LARGEST}"
    return ConfigError(f"{owner}.{parameter.name}={_short(value)}; expected {expected}")


def _short(value: Any) -> str:
    """A value as a message shows it."""
    try:
        shown = repr(value)
    except ValueError:  # a number of more than 4,300 digits
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def no_text(value: str) -> str:
    """Why files and databases cannot hold this text, or nothing."""
    if "\0" in value:
        return "holds a null character"
    # Half of a pair of UTF-16: bytes of a command line, for example, that are no UTF-8.
    return (
        ""
        if value.isascii() or value.encode("utf-8", "ignore").decode() == value
        else ("holds bytes that are no UTF-8")
    )


def _as_number(kind: type, value: Any) -> float | None:
    """The value as a finite number of this kind, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, bool) or not math.isfinite(number):
        return None
    if kind is float:
        return number
    return int(number) if number == int(number) and abs(number) <= LARGEST else None
