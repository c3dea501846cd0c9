"""Whether the installed package `unseen` fits this plugin, and what the App shows if not.

Imports nothing of the package by name: it may be of any version.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
import sys
from pathlib import Path
from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

_ROOT = Path(__file__).resolve().parents[1]


@functools.cache  # the entry point runs again at every look-up; what is imported stays
def mismatch() -> str:
    """What does not fit and the way out, or nothing; logged once."""
    package = importlib.import_module("unseen")
    manifest = (_ROOT / "fiftyone.yml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version: "?([^"\s]+)', manifest, re.MULTILINE)
    reason = ""
    if package.__version__ != version:
        reason = f"the plugin has version {version}, the package {package.__version__}"
    else:
        try:
            for part in ("operators", "panel"):
                importlib.import_module(f".{part}", __package__)
        except ImportError as error:  # two states of one version
            if not (error.name or "").startswith("unseen"):
                raise
            reason = str(error)
    if not reason:
        return ""
    text = f"The plugin in {_ROOT} does not fit the package in {package.__path__[0]}: {reason}. "
    if (_ROOT / "pyproject.toml").is_file():
        text += f"Install the plugin's package: `{sys.executable} -m pip install {_ROOT}`. Or t"
    else:
        text += "T"
    text += (
        "ake the package's plugin: `fiftyone plugins delete @unseen/curation` (a link: remove it), "
        "then `unseen install-plugin`. Then start again what uses FiftyOne."
    )
    logging.getLogger(__name__).warning(text)
    return text


class MismatchPanel(foo.Panel):
    """Stands in for the panel."""

    @property
    def config(self) -> foo.PanelConfig:
        return foo.PanelConfig(name="curation", label="Curation", icon="warning", surfaces="grid")

    @property
    def risk_level(self) -> types.RiskLevel:
        return types.RiskLevel.LOW

    def render(self, ctx: Any) -> types.Property:
        panel = types.Object()
        panel.md(mismatch(), name="mismatch")
        return types.Property(panel)
