"""Write what follows from the catalogue: parameter tables in docs/, and the list in fiftyone.yml.

`python docs/reference.py` writes them, `--check` only says whether they are current. Everything
outside the marker lines of a document, and of the operators in fiftyone.yml, is kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from unseen.benchmark.config import NOT_HERE, BenchmarkConfig
from unseen.parameters import Parameter, StepConfig, parameters
from unseen.steps.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- written by docs/reference.py from here -->"
END = "<!-- to here -->"
#: Parameters that every step has; described once.
SHARED = {f.name for f in fields(StepConfig)}


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` return 1 if one is not current."""
    stale = []
    for name, write in FILES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        current = write(text)
        if current != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(current, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"not current: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


def manifest(text: str) -> str:
    """fiftyone.yml with the operators that there are."""
    names = "".join(f"  - {name}\n" for name in (*catalogue(), "open_workspace"))
    return re.sub(r"(?<=^operators:\n)(  - \w+\n)*", names, text, flags=re.MULTILINE)


def cli_reference(text: str) -> str:
    """docs/cli.md with one section per step."""

    def option(parameter: Parameter) -> str:
        name = parameter.name.replace("_", "-")
        return f"`--{name}` / `--no-{name}`" if parameter.kind is bool else f"`--{name}`"

    parts = []
    for step in catalogue().values():
        usage = f"{_sentence(step.help)}\n\n    unseen {step.command} DATASET"
        parts.append(f"## unseen {step.command}\n\n{usage}\n\n" + table(option, own(step.config)))
    usage = "Compare strategies on complete labels; see [benchmark.md](benchmark.md).\n\n"
    usage += "    unseen benchmark SOURCE [SOURCE ...]"
    rows = [p for p in own(BenchmarkConfig) if p.name not in NOT_HERE]
    parts.append(f"## unseen benchmark\n\n{usage}\n\n" + table(option, rows))
    parts.append("## Options of every step\n\n" + table(option, parameters(StepConfig)))
    return between_markers(text, parts)


def operator_reference(text: str) -> str:
    """docs/operators.md with one section per step."""

    def field(parameter: Parameter) -> str:
        return f"`{parameter.name}`" + ("\\*" if parameter.advanced else "")

    parts = [
        f"## {name}\n\n{_sentence(step.help)}\n\n" + table(field, own(step.config))
        for name, step in catalogue().items()
    ]
    parts.append("## Parameters of every operator\n\n" + table(field, parameters(StepConfig)))
    return between_markers(text, parts)


def between_markers(text: str, parts: list[str]) -> str:
    """The text of a document with these sections between its two markers."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the markers {BEGIN!r} and {END!r} are not both there")
    sections = "\n\n".join(parts)
    return f"{before}{BEGIN}\n\n{sections}\n\n{END}{after}"


def own(config: type[StepConfig]) -> list[Parameter]:
    """The parameters that only this config has."""
    return [p for p in parameters(config) if p.name not in SHARED]


def table(name: Callable[[Parameter], str], rows: list[Parameter]) -> str:
    """A table of parameters."""
    lines = ["| Parameter | Meaning | Values | Default |", "|---|---|---|---|"]
    for p in rows:
        meaning = p.help.replace("|", "\\|")
        lines.append(f"| {name(p)} | {meaning} | {p.expected} | {p.default_text} |")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


FILES = {
    "docs/cli.md": cli_reference,
    "docs/operators.md": operator_reference,
    "fiftyone.yml": manifest,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
