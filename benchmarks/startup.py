"""How long it takes to import the package, to ask for help, and to open a form.

    python benchmarks/startup.py --repeat 5

Each figure is a fresh process less the bare interpreter's start; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

CODES = {
    "import unseen": "import unseen",
    "unseen --help": "from unseen.cli import build_parser; build_parser().format_help()",
    "all configs": "from unseen.parameters import parameters\nfrom unseen.steps.catalogue import catalogue\n"
    "for s in catalogue().values(): parameters(s.config)",
}


def seconds(code: str) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    result = {}
    for name, code in CODES.items():
        check = (
            code + "\nimport sys\n"
            "assert not {'torch', 'fiftyone', 'numpy'} & set(sys.modules), 'heavy import'"
        )
        runs = [seconds(check) - seconds("pass") for _ in range(args.repeat)]
        result[name] = round(statistics.median(runs), 3)
        print(f"{name:<15} {result[name]:.3f} s (goal 0.3)")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
