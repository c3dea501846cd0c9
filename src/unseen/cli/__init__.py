"""The command line: `unseen <verb> DATASET`, one verb per step.

The result is one JSON line on stdout; progress, the summary and errors go to stderr. Exit codes:
0 done, 1 crash, 2 something the user can correct, 130 stopped by Ctrl-C. Nothing heavy is imported
before the verb is known.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

import unseen
from unseen.cli.terminal import Bars, silence_mongodb_notice
from unseen.dataset import mongodb
from unseen.errors import Cancelled, ConfigError, UnseenError, file_errors
from unseen.parameters import (
    LARGEST,
    Config,
    Parameter,
    as_path,
    from_mapping,
    no_text,
    parameters,
)
from unseen.steps.catalogue import IMPORT, Step, catalogue


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; default: the arguments of the process."""
    given = build_parser().parse_args(arguments)
    given.typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        for argument in given.typed:
            if problem := no_text(argument):
                raise ConfigError(f"{argument!r} {problem}; expected a text")
        silence_mongodb_notice()
        with contextlib.ExitStack() as stack:
            stack.enter_context(file_errors())
            stack.enter_context(mongodb.clear_errors())
            # Libraries print what they like; stdout belongs to the result alone.
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            is_quiet = getattr(given, "quiet", False)
            bars = stack.enter_context(contextlib.closing(Bars(is_quiet=is_quiet)))
            if given.run not in (_doctor, _synthesize, _version):
                mongodb.reach()  # sooner, and in other words, than by importing FiftyOne
            result, code = given.run(given, bars)
    except UnseenError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Cancelled):
        step = getattr(given, "step", None)
        continues = given.run is _benchmark or (step is not None and step.continues)
        again = "goes on where it stopped" if continues else "starts over"
        print(f"unseen: stopped; the same command {again}", file=sys.stderr)
        return 130
    except Exception as error:
        traceback.print_exc()
        return _fail(f"{type(error).__name__}: {error}", 1)
    if result is not None:
        _print(result)
    return int(code)


def _print(result: Any) -> None:
    """Write the result, with escapes where the console's encoding has no such letter."""
    is_utf = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=not is_utf)
    if not is_utf:
        text = text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)
    print(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every verb."""
    parser = _Parser(
        prog="unseen",
        description="Tells a labelling team what to label next.",
        epilog="The loop: split-dataset, then train-unet, score-samples, select-batch, label, and "
        "again. `unseen VERB --help` describes every option with its unit and default.",
    )
    parser.add_argument("--version", action="version", version=unseen.__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_import(verbs)
    for step in catalogue().values():
        _add_step(verbs, step)
    _add_benchmark(verbs)
    _add_serve(verbs)
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


# --- steps and benchmark: options from the config ------------------------------------------------
_OPTION = "parameter_"


def _add_step(verbs: Any, step: Step) -> None:
    verb = _verb(verbs, step.command, step.help, _run_step)
    verb.set_defaults(step=step)
    verb.add_argument("dataset", metavar="DATASET", help="name of the FiftyOne dataset")
    verb.add_argument("--view", metavar="NAME", help="use only this saved view of the dataset")
    _add_parameters(verb, step.config)


def _add_import(verbs: Any) -> None:
    verb = _verb(verbs, IMPORT.command, IMPORT.help, _import_folder)
    verb.add_argument("folder", metavar="FOLDER", help="images, with or without labels")
    _add_parameters(verb, IMPORT.config, without=("folder",))
    text = "the former name of `import --hidden`, for a simulated annotator"
    verb = _verb(verbs, "import-coco", text, _import_folder)
    verb.set_defaults(**{f"{_OPTION}hidden": True})
    verb.add_argument("folder", metavar="FOLDER", help="images with complete labels")
    _add_parameters(verb, IMPORT.config, without=("folder", "hidden"))


def _add_benchmark(verbs: Any) -> None:
    from unseen.benchmark.config import NOT_HERE, BenchmarkConfig

    text = "compare strategies on complete labels: rare classes found, detectors, a report"
    verb = _verb(verbs, "benchmark", text, _benchmark)
    verb.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="FiftyOne dataset, folder with complete labels (see import), or synthetic:KIND",
    )
    _add_parameters(verb, BenchmarkConfig, without=NOT_HERE)


def _add_serve(verbs: Any) -> None:
    from unseen.steps.next_iteration import NextConfig

    text = "run the loop by itself: go on whenever CVAT says that a job is finished"
    verb = _verb(verbs, "serve", text, _serve)
    verb.add_argument("dataset", metavar="DATASET", help="name of the FiftyOne dataset")
    text = "address to listen at; others than this machine can reach 0.0.0.0 [default: 127.0.0.1]"
    verb.add_argument("--host", default="127.0.0.1", help=text)
    verb.add_argument("--port", type=_whole(1, 65535), default=5252, help="[default: 5252]")
    text = "seconds after which CVAT is asked without a message [default: 300]"
    verb.add_argument("--poll", type=_whole(5, 86400), default=300, metavar="N", help=text)
    _add_parameters(verb, NextConfig, without=("send",))


def _add_parameters(
    verb: argparse.ArgumentParser, config: type[Config], without: Collection[str] = ()
) -> None:
    verb.add_argument("--quiet", action="store_true", help="show no progress")
    basic = verb.add_argument_group("parameters")
    advanced = verb.add_argument_group("advanced parameters")
    for parameter in parameters(config):
        if parameter.name in without:
            continue
        # Values stay text: the config checks them, as it does for forms.
        option: dict[str, Any] = {"help": describe(parameter).replace("%", "%%")}
        if parameter.kind is bool:
            option["action"] = argparse.BooleanOptionalAction
        elif parameter.kind is tuple:
            option["metavar"] = "A,B,..." if parameter.item is str else "N,N,..."
        else:
            option["metavar"] = {int: "N", float: "X"}.get(parameter.kind, "TEXT")
        (advanced if parameter.advanced else basic).add_argument(
            f"--{parameter.name.replace('_', '-')}", dest=_OPTION + parameter.name, **option
        )


def describe(parameter: Parameter) -> str:
    """Help, valid values and default of a parameter as one text."""
    meanings = "".join(f" {value}: {text}." for value, text in parameter.meanings.items())
    values = f"{parameter.expected}; default: {parameter.default_text}"
    return f"{parameter.help}{meanings} [{values}]"


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    options = {k: v for k, v in vars(given).items() if k.startswith(_OPTION) and v is not None}
    return {name.removeprefix(_OPTION): value for name, value in options.items()}


def _run_step(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    settings = _settings(given)
    from_mapping(given.step.config, settings)  # reports a wrong value before torch is loaded
    collection = _saved_view(given.dataset, given.view) if given.view else given.dataset
    step = getattr(unseen, given.step.name)
    return _report(step(collection, progress=bars, **settings), bars)


def _import_folder(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    return _report(unseen.import_folder(given.folder, progress=bars, **_settings(given)), bars)


def _benchmark(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.benchmark import BenchmarkConfig, run_benchmark

    result = run_benchmark(
        *given.sources,
        config=from_mapping(BenchmarkConfig, _settings(given)),
        progress=bars,
        command=shlex.join(["unseen", *given.typed]),
    )
    return _report(result, bars)


def _serve(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.cli.serve import serve
    from unseen.dataset.reading import open_collection
    from unseen.steps.next_iteration import NextConfig

    settings = {**_settings(given), "send": True}
    from_mapping(NextConfig, settings)
    open_collection(given.dataset)
    serve(
        given.dataset,
        lambda progress: unseen.next_iteration(given.dataset, progress=progress, **settings),
        host=given.host,
        port=given.port,
        poll=given.poll,
        say=bars.say,
    )
    return None, 0


def _report(result: Any, bars: Bars) -> tuple[Any, int]:
    bars.say(result.summary())
    return result.to_dict(), 0


def _saved_view(dataset: str, name: str) -> Any:
    from unseen.dataset.reading import open_collection
    from unseen.errors import DatasetError

    opened = open_collection(dataset)
    if not opened.has_saved_view(name):
        views = ", ".join(opened.list_saved_views()) or "none"
        raise DatasetError(f"dataset {dataset!r} has no saved view {name!r}; it has: {views}")
    return opened.load_saved_view(name)


# --- the other verbs -----------------------------------------------------------------------------
#: The parameters of `simulate` that the demo has too.
_OF_DEMO = ("strategies", "iterations", "budget", "unet_steps", "detector_steps", "full", "seed")


def _add_others(verbs: Any) -> None:
    text = "say what is installed, what is missing and how to get it"
    verb = _verb(verbs, "doctor", text, _doctor)
    verb.add_argument("--json", action="store_true", help="print one JSON line instead of text")
    text = "of a Ray cluster, HOST:PORT [default: the one on this machine, if any]"
    verb.add_argument("--address", help=text)

    verb = _verb(verbs, "app", "open the FiftyOne App on the newest batch", _app)
    verb.add_argument("dataset", metavar="DATASET", nargs="?", help="default: the newest demo")
    verb.add_argument("--port", type=_whole(1, 65535), metavar="N", help="[default: 5151]")
    text = "let other machines connect: whoever reaches the port can do what you can"
    verb.add_argument("--remote", action="store_true", help=text)
    verb.add_argument("--no-browser", action="store_true", help="do not open a browser")

    _verb(verbs, "install-plugin", "make FiftyOne find the plugin", _install_plugin)

    text = "write a set of synthetic images: wafers, rolled metal, solder joints"
    verb = _verb(verbs, "synthesize", text, _synthesize)
    verb.add_argument("folder", metavar="FOLDER", help="new or empty folder")
    kinds = ("bare", "device", "texture", "lookalikes")
    verb.add_argument("--kind", choices=kinds, default="bare", help="[default: bare]")
    for name, default, text in (
        ("train", 200, "images of the pool"),
        ("test", 60, "images of the test split"),
        ("size", 256, "side of the images, px"),
        ("seed", 51, "number of the pool"),
    ):
        help = f"{text} [default: {default}]"
        verb.add_argument(f"--{name}", type=_whole(), default=default, metavar="N", help=help)

    verb = _verb(verbs, "demo", "run the whole loop with a simulated annotator", _demo)
    verb.add_argument(
        "--data",
        metavar="FOLDER",
        help="with complete labels, as for import [default: synthetic wafers]",
    )
    text = "where results go [default: demo]"
    verb.add_argument("--output", metavar="DIR", default="demo", help=text)
    simulated = catalogue()["simulate"].config
    others = {p.name for p in parameters(simulated)} - set(_OF_DEMO)
    _add_parameters(verb, simulated, without=others)

    _verb(verbs, "version", "print the version", _version)


def _whole(low: int = 0, high: int = LARGEST) -> Callable[[str], int]:
    """A whole number of a range, as argparse takes it."""

    def whole(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(text) <= high:
                return int(text)
        raise argparse.ArgumentTypeError(
            f"{text[:50]!r}; expected a whole number from {low} up to {high}"
        )

    return whole


def _version(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    return unseen.__version__, 0


def _doctor(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.cli import doctor

    checks = doctor.diagnose(given.address)
    has_error = any(check.status == "error" for check in checks)
    return doctor.as_json(checks) if given.json else doctor.text(checks), int(has_error)


def _app(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.cli.app import open_app

    open_app(
        given.dataset,
        port=given.port,
        remote=given.remote,
        browser=not given.no_browser,
        say=bars.say,
    )
    return None, 0


def _install_plugin(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.cli.plugin_folder import install_plugin

    state, message = install_plugin()
    bars.say(message)
    return {"state": state, "message": message}, 0 if state in ("linked", "present") else 2


def _synthesize(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.benchmark.synthetic.dataset import write_coco_folder

    counts = {"train": given.train, "test": given.test}
    folder = write_coco_folder(
        as_path("FOLDER", given.folder), given.kind, **counts, size=given.size, seed=given.seed
    )
    return {"folder": str(folder), "kind": given.kind, **counts}, 0


def _demo(given: argparse.Namespace, bars: Bars) -> tuple[Any, int]:
    from unseen.cli.demo import run_demo

    text = run_demo(
        as_path("--data", given.data) if given.data else None,
        as_path("--output", given.output),
        bars,
        **_settings(given),
    )
    return text, 0
