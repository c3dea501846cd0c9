"""Detectors of boxes with classes. Each folder beside this file is one; nothing else lists them.

A folder's `__init__.py` declares `DETECTOR` and imports no torch, so that forms and `--help` open
at once. Its `network.py` has

    build(spec: DetectorSpec, start: Start) -> torch.nn.Module

which makes the network, called like torchvision's detectors: images and targets in, losses out in
training mode; images in, boxes out in evaluation mode.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from unseen.errors import ConfigError

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How an architecture sees an image; sides in px."""

    shortest_side: int | None = None  #: to scale images to; None: they keep theirs if they fit
    longest_side: int = 320  #: images are not larger than this
    #: of the square anchors, per pyramid level, finest first; as many on each
    anchor_sizes: tuple[tuple[int, ...], ...] = ((7, 12), (21, 36), (60, 100))
    aspect_ratios: tuple[float, ...] = (0.33, 1.0, 3.0)  #: height / width of the anchors


#: Of the networks for CPUs and little data.
SMALL = Architecture()
#: Sizes and anchors of torchvision's pretrained Faster R-CNN.
RESNET50 = Architecture(
    shortest_side=800,
    longest_side=1333,
    anchor_sizes=((32,), (64,), (128,), (256,), (512,)),
    aspect_ratios=(0.5, 1.0, 2.0),
)


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What parameters, reports and training have to know of a detector."""

    name: str  #: of its folder, and of the parameter's choice
    label: str  #: as people call it
    order: int  #: its place among the choices
    architectures: Mapping[str, Architecture]  #: its backbones by name, the first is the default
    has_rectification: bool = False  #: its network.py has `add_class_rectification(model, weight)`

    @property
    def network(self) -> ModuleType:
        """Its `network.py`; this loads torch."""
        return importlib.import_module(f"{__name__}.{self.name}.network")


@functools.cache
def detectors() -> dict[str, Detector]:
    """Every detector by its name, in order."""
    folders = [m.name for m in pkgutil.iter_modules(__path__) if m.ispkg]
    declared = [importlib.import_module(f"{__name__}.{name}").DETECTOR for name in folders]
    return {one.name: one for one in sorted(declared, key=lambda one: one.order)}


def architecture_choices() -> tuple[str, ...]:
    """The choices of the parameter `architecture`: "auto", and those of all detectors."""
    names = (name for one in detectors().values() for name in one.architectures)
    return tuple(dict.fromkeys([AUTO, *names]))


def check_architecture(detector: str, architecture: str) -> None:
    """Raise `ConfigError` if a detector does not have an architecture."""
    known = detectors()[detector].architectures
    if architecture != AUTO and architecture not in known:
        others = [one.name for one in detectors().values() if architecture in one.architectures]
        raise ConfigError(
            f"architecture={architecture!r} with detector={detector!r}; expected one of "
            f"{', '.join([AUTO, *known])}"
            + (f", or choose detector {' or '.join(map(repr, others))}" if others else "")
        )
