"""One operator per step of the catalogue, and what is particular to the App.

A step needs no file here: its form comes from its parameters. A module of the step's name holds a
subclass of `StepOperator` if the App shows or asks more than that.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from unseen.steps.catalogue import IMPORT, Step, catalogue

from .label_next import LabelNext, MarkEmpty
from .open_workspace import OpenWorkspace
from .step_operator import StepOperator

#: Operators that are no steps.
OTHERS = (LabelNext, MarkEmpty, OpenWorkspace)


def operators() -> list[type[Any]]:
    """Every operator, in the order of the loop."""
    return [*(_operator(step) for step in (IMPORT, *catalogue().values())), *OTHERS]


def register(plugin: Any) -> None:
    """Hand every operator to FiftyOne."""
    for operator in operators():
        plugin.register(operator)


def _operator(step: Step) -> type[StepOperator]:
    name = "".join(word.capitalize() for word in step.name.split("_"))
    base = StepOperator
    if importlib.util.find_spec(f"{__name__}.{step.name}"):
        base = getattr(importlib.import_module(f"{__name__}.{step.name}"), name)
    return type(name, (base,), {"step": step, "__module__": __name__, "__doc__": step.description})
