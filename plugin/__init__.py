"""Entry point of the FiftyOne plugin.

FiftyOne runs this file again at every operator look-up: it only makes the parts importable and
hands them over.
"""

import importlib.util
import os
import sys

# realpath: the plugin folder may be a link to a checkout.
_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120

# An installed package wins; a bare checkout brings its own.
if importlib.util.find_spec("unseen") is None:
    sys.path.insert(0, os.path.join(_ROOT, "src"))  # noqa: PTH118

# FiftyOne makes this folder the package's only place; the repository root, one level up, makes
# `.operators` importable under this plugin's own name, so that it clashes with no other plugin.
if _ROOT not in __path__:
    __path__.append(_ROOT)

from .versions import MismatchPanel, mismatch  # noqa: E402 - needs the path above


def register(plugin):
    """Hand every operator and the panel to FiftyOne."""
    if mismatch():
        plugin.register(MismatchPanel)
        return
    from .operators import register as register_operators
    from .panel import CurationPanel

    register_operators(plugin)
    plugin.register(CurationPanel)
