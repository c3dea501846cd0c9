"""The hand-over to people who label, and back: guide, shapes, merge, CVAT."""

from __future__ import annotations

BACKENDS = ("cvat", "app")


STAGES = ("annotation", "validation", "acceptance")
