"""The command line: `unseen <verb> DATASET`, one verb per step.

The result is one JSON line on stdout; progress, the sentence for a person, and errors go to
stderr. Exit codes: 0 done, 1 crash, 2 something the user can put right, 130 stopped by Ctrl-C.
Nothing heavy is imported before the verb is known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import unseen
from unseen.cli.terminal import Bars
from unseen.errors import Cancelled, UnseenError
from unseen.parameters import Parameter, from_mapping, parameters
from unseen.steps.catalogue import catalogue


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the command line without the program's name; default: the process's own.

    Returns:
        The exit code.
    """
    given = build_parser().parse_args(arguments)
    given.typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Libraries report on stdout as they like; it belongs to the result alone.
        given.stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            result, code = given.run(given)
    except UnseenError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Cancelled):
        print(
            "unseen: stopped; what was finished is stored. Run the same command again to continue",
            file=sys.stderr,
        )
        return 130
    except Exception as error:
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", 1)
    if result is not None:
        print(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False))
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every verb."""
    parser = _Parser(
        prog="unseen",
        description="Tells a labelling team what to label next.",
        epilog="The loop: split-dataset, then train-unet, score-samples, select-batch, label, and "
        "again. `unseen VERB --help` names every option with its unit and default.",
    )
    parser.add_argument("--version", action="version", version=unseen.__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for step in catalogue():
        _add_step(verbs, step)
    _add_benchmark(verbs)
    _add_others(verbs)
    return parser


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in the same form as every other error."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise SystemExit(_fail(message, 2))


def _fail(message: str, code: int) -> int:
    print(f"unseen: error: {message}", file=sys.stderr)
    return code


def _verb(verbs: Any, name: str, help: str, run: Callable[..., Any]) -> argparse.ArgumentParser:
    sentence = help[0].upper() + help[1:] + "."
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=sentence)
    verb.set_defaults(run=run)
    return verb


def _add_step(verbs: Any, step: str) -> None:
    verb = _verb(verbs, catalogue()[step].command, catalogue()[step].help, _run_step)
    verb.set_defaults(step=step)
    verb.add_argument("dataset", metavar="DATASET", help="name of the FiftyOne dataset")
    verb.add_argument("--view", metavar="NAME", help="work on this saved view of the dataset only")
    verb.add_argument("--quiet", action="store_true", help="show no progress")
    main_group = verb.add_argument_group("parameters")
    advanced = verb.add_argument_group("advanced parameters")
    for parameter in parameters(catalogue()[step].config):
        _add_parameter(advanced if parameter.advanced else main_group, parameter)


def _add_benchmark(verbs: Any) -> None:
    from unseen.benchmark.config import NOT_HERE, BenchmarkConfig

    text = "compare strategies on complete labels: rare classes found, detectors, a report"
    verb = _verb(verbs, "benchmark", text, _benchmark)
    verb.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="FiftyOne dataset, COCO folder with train/ and test/, or synthetic:KIND",
    )
    verb.add_argument("--quiet", action="store_true", help="show no progress")
    main_group = verb.add_argument_group("parameters")
    advanced = verb.add_argument_group("advanced parameters")
    for parameter in parameters(BenchmarkConfig):
        if parameter.name not in NOT_HERE:
            _add_parameter(advanced if parameter.advanced else main_group, parameter)


def _benchmark(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.benchmark import BenchmarkConfig, run_benchmark

    prefix = "parameter_"
    values = {k[len(prefix) :]: v for k, v in vars(given).items() if k.startswith(prefix)}
    config = from_mapping(BenchmarkConfig, values)
    command = shlex.join(["unseen", *given.typed])
    with Bars() as bars:
        progress = None if given.quiet else bars
        result = run_benchmark(*given.sources, config=config, progress=progress, command=command)
    print(result.summary(), file=sys.stderr)
    return result.to_dict(), 0


def _add_parameter(group: Any, parameter: Parameter) -> None:
    # Values stay text here: the config knows what is valid and says so, as it does for forms.
    option: dict[str, Any] = {
        "dest": f"parameter_{parameter.name}",
        "default": None,
        "help": describe(parameter).replace("%", "%%"),
    }
    if parameter.kind is bool:
        option["action"] = argparse.BooleanOptionalAction
    elif parameter.kind is tuple:
        option["metavar"] = "A,B,..." if parameter.item is str else "N,N,..."
    else:
        option["metavar"] = {int: "N", float: "X"}.get(parameter.kind, "TEXT")
    group.add_argument(f"--{parameter.name.replace('_', '-')}", **option)


def describe(parameter: Parameter) -> str:
    """Help, choices, unit, range and default of a parameter, as one text."""
    facts = []
    if parameter.choices:
        facts.append("one of " + ", ".join(parameter.choices))
    if parameter.unit:
        facts.append(f"unit: {parameter.unit}")
    if parameter.minimum is not None:
        upper = f" to {parameter.maximum:g}" if parameter.maximum is not None else " or more"
        facts.append(f"{parameter.minimum:g}{upper}")
    facts.append(f"default: {default_text(parameter)}")
    return f"{parameter.help} [{'; '.join(facts)}]"


def default_text(parameter: Parameter) -> str:
    """The default of a parameter as one would type it."""
    default = parameter.default
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    if isinstance(default, float):
        return f"{default:g}"
    return "none" if default in (None, "") else str(default)


def _run_step(given: argparse.Namespace) -> tuple[Any, int]:
    prefix = "parameter_"
    values = {k[len(prefix) :]: v for k, v in vars(given).items() if k.startswith(prefix)}
    from_mapping(catalogue()[given.step].config, values)  # a wrong value is reported at once
    collection = _saved_view(given.dataset, given.view) if given.view else given.dataset
    settings = {k: v for k, v in values.items() if v is not None}
    with Bars() as bars:
        step = catalogue()[given.step].function
        result = step(collection, progress=None if given.quiet else bars, **settings)
    print(result.summary(), file=sys.stderr)
    return result.to_dict(), 0


def _saved_view(dataset: str, name: str) -> Any:
    from unseen.dataset.reading import open_collection
    from unseen.errors import DatasetError

    opened = open_collection(dataset)
    if not opened.has_saved_view(name):
        there = ", ".join(opened.list_saved_views()) or "none"
        raise DatasetError(f"dataset {dataset!r} has no saved view {name!r}; it has: {there}")
    return opened.load_saved_view(name)


def _add_others(verbs: Any) -> None:
    verb = _verb(verbs, "doctor", "say what is there, what is missing and how to get it", _doctor)
    verb.add_argument("--json", action="store_true", help="print one JSON line instead of text")

    verb = _verb(verbs, "app", "open the FiftyOne App with the newest batch in front", _app)
    verb.add_argument("dataset", metavar="DATASET", nargs="?", help="default: the newest demo")
    verb.add_argument("--port", type=int, metavar="N", help="port of the App [default: 5151]")
    verb.add_argument(
        "--remote", action="store_true", help="accept connections from other machines"
    )
    verb.add_argument("--no-browser", action="store_true", help="do not open a browser")

    _verb(verbs, "install-plugin", "make FiftyOne find the plugin", _install_plugin)

    verb = _verb(
        verbs,
        "synthesize",
        "write a set of synthetic images: wafers, rolled metal, solder joints",
        _synthesize,
    )
    verb.add_argument("folder", metavar="FOLDER", help="new or empty folder")
    verb.add_argument(
        "--kind",
        choices=("bare", "device", "texture", "lookalikes"),
        default="bare",
        help="[default: bare]",
    )
    for name, default, text in (
        ("train", 200, "images of the pool"),
        ("test", 60, "images of the test split"),
        ("size", 256, "side of the images, px"),
        ("seed", 51, "number of the pool"),
    ):
        verb.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text} [default: {default}]"
        )

    verb = _verb(verbs, "import-coco", "make a dataset from a COCO folder", _import_coco)
    verb.add_argument("folder", metavar="FOLDER", help="has train/ and test/")
    verb.add_argument("--name", help="name of the new dataset [default: the folder's, numbered]")

    verb = _verb(verbs, "demo", "run the whole loop with a simulated annotator", _demo)
    verb.add_argument("--data", metavar="FOLDER", help="COCO folder [default: synthetic wafers]")
    verb.add_argument(
        "--output", metavar="DIR", default="demo", help="where results go [default: demo]"
    )
    verb.add_argument("--full", action="store_true", help="add the fully labelled set")
    verb.add_argument(
        "--strategies",
        default="mixed,sequential,random",
        help="comma-separated [default: mixed,sequential,random]",
    )
    for name, value, text in (
        ("iterations", 2, "batches after the initial images"),
        ("budget", 10, "images in a batch"),
        ("seed", 51, "seed of all random choices"),
    ):
        verb.add_argument(
            f"--{name}", type=int, default=value, metavar="N", help=f"{text} [default: {value}]"
        )
    for name, text in (
        ("unet-steps", "optimiser steps of the UNet [default: 300]"),
        ("detector-steps", "optimiser steps of the detector [default: 100 epochs]"),
    ):
        verb.add_argument(f"--{name}", type=int, metavar="N", help=text)

    _verb(verbs, "version", "print the version", lambda given: (unseen.__version__, 0))


def _doctor(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.cli.doctor import main as doctor

    with contextlib.redirect_stdout(given.stdout):
        return None, doctor(["--json"] if given.json else [])


def _app(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.cli.app import open_app

    open_app(
        given.dataset,
        port=given.port,
        remote=given.remote,
        browser=not given.no_browser,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    return None, 0


def _install_plugin(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.cli.plugin_folder import install_plugin

    outcome = install_plugin()
    print(outcome.message, file=sys.stderr)
    return {"state": outcome.state, "message": outcome.message}, 0 if outcome.is_usable else 2


def _synthesize(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.benchmark.synthetic.dataset import write_coco_folder

    counts = {"train": given.train, "test": given.test}
    folder = write_coco_folder(given.folder, given.kind, **counts, size=given.size, seed=given.seed)
    return {"folder": str(folder), "kind": given.kind, **counts}, 0


def _import_coco(given: argparse.Namespace) -> tuple[Any, int]:
    from unseen.dataset.coco_folder import import_coco_folder

    with Bars() as bars:
        result = import_coco_folder(given.folder, given.name, progress=bars)
    print(result.summary(), file=sys.stderr)
    return result.to_dict(), 0


def _demo(given: argparse.Namespace) -> tuple[Any, int]:
    from pathlib import Path

    from unseen.cli.demo import run_demo

    text = run_demo(
        Path(given.data) if given.data else None,
        output=Path(given.output),
        strategies=tuple(given.strategies.split(",")),
        iterations=given.iterations,
        budget=given.budget,
        unet_steps=given.unet_steps,
        detector_steps=given.detector_steps,
        full=given.full,
        seed=given.seed,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    return text, 0


if __name__ == "__main__":
    sys.exit(main())
