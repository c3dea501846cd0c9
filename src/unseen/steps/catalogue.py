"""The steps there are: each folder beside this file is one, and nothing else lists them.

A folder's `__init__.py` declares the step's parameters, its result and, in its docstring, what the
step does. It imports neither torch nor fiftyone, so that forms and `--help` open at once; `run.py`
holds the function.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import unseen.steps
from unseen.dataset.import_folder import ImportConfig
from unseen.parameters import Config


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the SDK, the command line, the App and the docs know of a step."""

    order: int  #: its place in the loop
    label: str  #: title of its form
    config: type[Config]  #: its parameters
    verb: str = ""  #: on the command line; default: the name with dashes
    risk: str = "medium"  #: low, medium, high or dangerous: what a mistake costs
    warning: str = ""  #: what its form warns of
    view_verb: str | None = None  #: what it does to a view ("Score"); None: takes whole datasets
    is_long: bool = False  #: takes minutes and more
    continues: bool = False  #: stopped and run again, it goes on where it stopped
    locks: bool = True  #: only one such run works on a dataset at a time
    asks_server: bool = False  #: talks to an annotation server and needs its secrets

    @property
    def name(self) -> str:
        """Name of the folder, the function, the operator."""
        return self.config.__module__.rpartition(".")[2]

    @property
    def description(self) -> str:
        """What it does: the docstring of its folder, without the full stop."""
        return (sys.modules[self.config.__module__].__doc__ or "").strip().rstrip(".")

    @property
    def help(self) -> str:
        """The description as `unseen --help` lists it."""
        return self.description[0].lower() + self.description[1:]

    @property
    def command(self) -> str:
        """The command-line verb."""
        return self.verb or self.name.replace("_", "-")

    @property
    def function(self) -> Callable[..., Any]:
        """The step itself; this loads torch and fiftyone."""
        module = importlib.import_module(f"{self.config.__module__}.run")
        function: Callable[..., Any] = getattr(module, self.name)
        return function


#: What makes a dataset, before there is one to work on; for the rest it is like a step.
IMPORT = Step(order=0, label="Import a folder", config=ImportConfig, verb="import", locks=False)


@functools.cache
def catalogue() -> dict[str, Step]:
    """Every step by its name, in the order of the loop."""
    folders = [m.name for m in pkgutil.iter_modules(unseen.steps.__path__) if m.ispkg]
    steps = [importlib.import_module(f"unseen.steps.{name}").STEP for name in folders]
    return {step.name: step for step in sorted(steps, key=lambda step: step.order)}
