"""Parameters that several steps have: their defaults, ranges and help, declared once."""

from __future__ import annotations

from typing import Any

from unseen.parameters import setting


def device() -> str:
    """Where to compute."""
    return setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)


def precision() -> str:
    """The arithmetic of a network."""
    text = "Arithmetic: bf16 where it pays (auto), or fp32."
    return setting("auto", text, choices=("auto", "bf16", "fp32"), advanced=True)


def iteration(help: str, *, advanced: bool = True) -> int | None:
    """An iteration; None takes the default that `help` names."""
    return setting(None, help, minimum=0, advanced=advanced)


def seed(help: str = "Seed of all random choices.", *, advanced: bool = False) -> int:
    """A seed."""
    return setting(51, help, minimum=0, advanced=advanced)


def workers() -> int:
    """Threads that read images."""
    return setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)


def engine(what: str = "What computes", **more: Any) -> str:
    """What computes."""
    text = f"{what}: this process (local), or a Ray cluster (ray)."
    return setting("local", text, choices=("local", "ray"), advanced=True, **more)


def address() -> str | None:
    """A Ray cluster."""
    text = "Address of the Ray cluster; auto: the one on this machine. Default: start one here."
    return setting(None, text, advanced=True, in_app=False)


def batch_size(default: int, help: str = "Images per forward pass.", **more: Any) -> int:
    """Images per step of a network."""
    return setting(default, help, minimum=1, **{"unit": "images", "advanced": True, **more})


def image_size() -> int | None:
    """The size of images inside the detector."""
    text = (
        "Longest side of the images inside the detector. Default: by architecture and image size."
    )
    return setting(None, text, unit="px", minimum=64, maximum=4096, advanced=True)


def iou(help: str) -> float:
    """A threshold on the intersection over union of boxes."""
    return setting(0.5, help, minimum=0.05, maximum=0.95)


def gt_field() -> str | None:
    """The labels of the test split."""
    text = "Field with the labels of the test split. Default: the label field."
    return setting(None, text, advanced=True)


def excluded_tag() -> str:
    """The tag of images that the loop leaves out."""
    return setting("excluded", "Tag of images left out of the pool.", advanced=True)


def dry_run() -> bool:
    """Whether to write nothing."""
    return setting(False, "Say what would change; change nothing.")
