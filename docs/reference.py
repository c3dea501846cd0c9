"""Write the parameter tables of docs/cli.md and docs/operators.md from the configs.

`python docs/reference.py` writes them, `--check` only says whether they are current. Everything
outside the two marker lines of a file is written by hand and kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import unseen
from unseen.benchmark.config import NOT_HERE, BenchmarkConfig
from unseen.cli import default_text
from unseen.parameters import Parameter, StepConfig, parameters
from unseen.steps.catalogue import catalogue

DOCS = Path(__file__).resolve().parent
BEGIN = "<!-- written by docs/reference.py from here -->"
END = "<!-- to here -->"
#: Parameters that every step has; described once.
SHARED = {f.name for f in fields(StepConfig)}


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` return 1 where one is not current."""
    stale = []
    for name, reference in (("cli.md", cli_reference), ("operators.md", operator_reference)):
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        current = with_reference(text, reference())
        if current != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(current, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"not current: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


def with_reference(text: str, reference: str) -> str:
    """The text of a file with `reference` between its two markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the markers {BEGIN!r} and {END!r} are not both there")
    return f"{before}{BEGIN}\n\n{reference}\n\n{END}{after}"


def cli_reference() -> str:
    """One section per verb of a step."""

    def option(parameter: Parameter) -> str:
        name = parameter.name.replace("_", "-")
        return f"`--{name}` / `--no-{name}`" if parameter.kind is bool else f"`--{name}`"

    parts = []
    for step in unseen.STEPS:
        verb = catalogue()[step].command
        head = f"## unseen {verb}\n\n{_sentence(catalogue()[step].help)}\n\n    unseen {verb} DATASET\n\n"
        parts.append(head + table("Option", option, own(catalogue()[step].config)))
    head = "## unseen benchmark\n\nCompare strategies on complete labels; see [benchmark.md](benchmark.md).\n\n"
    head += "    unseen benchmark SOURCE [SOURCE ...]\n\n"
    rows = [p for p in own(BenchmarkConfig) if p.name not in NOT_HERE]
    parts.append(head + table("Option", option, rows))
    parts.append("## Options of every step\n\n" + table("Option", option, shared()))
    return "\n\n".join(parts)


def operator_reference() -> str:
    """One section per operator."""

    def field(parameter: Parameter) -> str:
        star = "\\*" if parameter.advanced else ""
        return f"`{parameter.name}`{star}"

    parts = []
    for step in unseen.STEPS:
        head = f"## {step}\n\n{_sentence(catalogue()[step].help)}\n\n"
        parts.append(head + table("Parameter", field, own(catalogue()[step].config)))
    parts.append("## Parameters of every operator\n\n" + table("Parameter", field, shared()))
    return "\n\n".join(parts)


def own(config: type[StepConfig]) -> list[Parameter]:
    """The parameters that only this step has."""
    return [p for p in parameters(config) if p.name not in SHARED]


def shared() -> list[Parameter]:
    """The parameters that every step has."""
    return parameters(StepConfig)


def table(first: str, name: Callable[[Parameter], str], rows: list[Parameter]) -> str:
    """A table of parameters."""
    lines = [f"| {first} | Meaning | Values | Default |", "|---|---|---|---|"]
    for parameter in rows:
        meaning = parameter.help.replace("|", "\\|")
        values = _values(parameter)
        lines.append(f"| {name(parameter)} | {meaning} | {values} | {default_text(parameter)} |")
    return "\n".join(lines)


def _values(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    kind = parameter.item or parameter.kind
    text = {bool: "yes, no", int: "whole number", float: "number", str: "text"}[kind]
    if parameter.kind is tuple:
        text = f"list of {text}s"
    if parameter.minimum is not None:
        text += f" from {parameter.minimum:g}"
    if parameter.maximum is not None:
        text += f" to {parameter.maximum:g}"
    return f"{text} ({parameter.unit})" if parameter.unit else text


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
