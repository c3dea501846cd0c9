"""Free key/value facts of a report; keys are compared without case, spaces and underscores."""

from __future__ import annotations

import math
from collections.abc import Mapping


def fact(facts: Mapping[str, object], key: str) -> str | None:
    """The fact as text, or None where it is missing or empty.

    `fact(facts, "min_confidence")` finds "Min confidence" as well.
    """
    for name, value in facts.items():
        if _plain(name) == _plain(key) and value is not None:
            return fact_text(value) or None
    return None


def fact_text(value: object) -> str:
    """A value for people: numbers short, lists with commas, undefined values as "-"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {fact_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(fact_text(v) for v in value)
    return str(value)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
