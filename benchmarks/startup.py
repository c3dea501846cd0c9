"""How long it takes to import the package, to ask for help, and to open a form.

    python benchmarks/startup.py --repeat 5

Each figure is a fresh process less the bare interpreter's start; medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from shared import Clock, parser, print_json

CODES = {
    "import unseen": "import unseen",
    "unseen --help": "from unseen.cli import build_parser; build_parser().format_help()",
    "all configs": "from unseen.parameters import parameters\nfrom unseen.steps.catalogue import catalogue\n"
    "for s in catalogue().values(): parameters(s.config)",
}
LIGHT = "import sys\nassert not {'torch', 'fiftyone', 'numpy'} & set(sys.modules), 'heavy import'"


def seconds(code: str) -> float:
    """Wall time of one process."""
    clock = Clock()
    subprocess.run([sys.executable, "-c", code], check=True)
    return clock.lap()


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--repeat", type=int, default=5)
    options = arguments.parse_args()
    result = {}
    for name, code in CODES.items():
        runs = [seconds(f"{code}\n{LIGHT}") - seconds("pass") for _ in range(options.repeat)]
        result[name] = round(statistics.median(runs), 3)
        print(f"{name:<15} {result[name]:.3f} s (goal 0.3)")
    print_json(options, result)


if __name__ == "__main__":
    main()
