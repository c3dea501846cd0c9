"""Write what follows from the catalogue: docs/reference.md, and the list in fiftyone.yml.

`python docs/reference.py` writes them, `--check` only says whether they are current. Everything
outside the marker lines of a document, and of the operators in fiftyone.yml, is kept.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

from unseen.benchmark.config import NOT_HERE, BenchmarkConfig
from unseen.parameters import Parameter, StepConfig, parameters
from unseen.ranking import STRATEGIES
from unseen.steps.catalogue import IMPORT, catalogue

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- written by docs/reference.py from here -->"
END = "<!-- to here -->"


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


#: Operators that are no steps.
OTHERS = ("label_next", "mark_empty", "open_workspace")


def manifest(text: str) -> str:
    """fiftyone.yml with the operators that there are."""
    names = "".join(f"  - {name}\n" for name in (IMPORT.name, *catalogue(), *OTHERS))
    return re.sub(r"(?<=^operators:\n)(  - \w+\n)*", names, text, flags=re.MULTILINE)


def reference(text: str) -> str:
    """docs/reference.md: the parameters that steps share, then one section per step."""
    steps = {IMPORT.name: IMPORT, **catalogue()}
    sections = {name: parameters(step.config) for name, step in steps.items()}
    sections["benchmark"] = [p for p in parameters(BenchmarkConfig) if p.name not in NOT_HERE]
    shared = shared_parameters(sections)
    every = {f.name for f in fields(StepConfig)}
    parts = [
        "## Parameters of every step\n\n" + table([p for n, p in shared.items() if n in every]),
        "## Parameters of several steps\n\nA step that has them lists them under *Also*.\n\n"
        + table([p for n, p in shared.items() if n not in every]),
        "## Strategies\n\n| Strategy | The batch holds |\n|---|---|\n"
        + "\n".join(f"| `{name}` | {text} |" for name, text in STRATEGIES.items())
        + "\n\nAll but `random` and `sequential` need a scored pool.",
    ]
    for name, rows in sections.items():
        step = steps.get(name)
        part = f"## {name}\n\n"
        if step:
            part += f"{step.description}. `unseen {step.command} {'FOLDER' if step is IMPORT else 'DATASET'}`"
        else:
            part += "Compare strategies on complete labels, see [benchmark.md](benchmark.md). "
            part += "`unseen benchmark SOURCE [SOURCE ...]`\n\nOf the parameters of every step "
            part += "it has `label_field` and `test_tag`."
        own = [p for p in rows if not same(p, shared.get(p.name))]
        also = [f"`{p.name}`" for p in rows if p not in own and p.name not in every]
        part += f"\n\n{table(own)}" if own else ""
        part += f"\n\n*Also:* {', '.join(also)}." if also else ""
        parts.append(part)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"the markers {BEGIN!r} and {END!r} are not both there")
    return "\n\n".join([before + begin, *parts, end + after])


def shared_parameters(sections: dict[str, list[Parameter]]) -> dict[str, Parameter]:
    """By name, the form of a parameter that most sections have, if at least two have it."""
    shared = {}
    for p in (p for rows in sections.values() for p in rows):
        forms = [q for rows in sections.values() for q in rows if q.name == p.name]
        most = max(forms, key=lambda form: sum(same(form, q) for q in forms))
        if sum(same(most, q) for q in forms) > 1:
            shared[p.name] = most
    return shared


def same(a: Parameter, b: Parameter | None) -> bool:
    """Whether two parameters have the same row, but for the mark of the second form section."""
    return b is not None and row(a).replace("\\*", "") == row(b).replace("\\*", "")


def row(p: Parameter) -> str:
    """One row of a table."""
    name = f"`{p.name}`" + ("\\*" if p.advanced else "")
    meaning = p.help.replace("|", "\\|")
    return f"| {name} | {meaning} | {p.expected} | {p.default_text} |"


def table(rows: list[Parameter]) -> str:
    """A table of parameters."""
    head = ["| Parameter | Meaning | Values | Default |", "|---|---|---|---|"]
    return "\n".join(head + [row(p) for p in rows])


FILES = {
    "docs/reference.md": reference,
    "fiftyone.yml": manifest,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
