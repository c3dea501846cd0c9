"""What to label next.

Every step of the loop is one function with one frozen config; all load on first use, so that
`import unseen` costs nothing::

    import unseen

    unseen.train_unet("wafers")
    unseen.score_samples("wafers")
    unseen.select_batch("wafers", budget=10)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Modules of questions and figures, beside the steps.
_MODULES = {"overview": "unseen.loop.overview", "plots": "unseen.report.plots"}


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'unseen' has no attribute {name!r}")
    if name == "UnseenError":
        return importlib.import_module("unseen.errors").UnseenError
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    module = importlib.import_module("unseen.steps.catalogue")
    if name == "STEPS":
        return tuple(module.catalogue())
    steps = {module.IMPORT.name: module.IMPORT, **module.catalogue()}
    configs = {step.config.__name__: step.config for step in steps.values()}
    if name == "__all__":
        return [*steps, *configs, "UnseenError", "__version__"]
    if name in steps:
        return steps[name].function
    if name in configs:
        return configs[name]
    raise AttributeError(f"module 'unseen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
