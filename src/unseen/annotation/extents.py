"""The box around each type of shape that CVAT knows, and careful readers of its JSON.

Each extent takes a shape and its rotation in radians (clockwise, as the y axis points down) and
returns `x1, y1, x2, y2` in px, or None where the numbers are not what the type needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Box = tuple[float, float, float, float]
Extent = Callable[[Mapping[str, Any], float], Box | None]


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_integer(value: Any) -> int | None:
    """The value if it is an integer, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_number(value: Any) -> float | None:
    """The value as a finite number, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _numbers(value: Any) -> list[float] | None:
    """A list of finite numbers, or None."""
    numbers = [as_number(v) for v in as_list(value)]
    kept = [n for n in numbers if n is not None]
    return kept if len(kept) == len(numbers) else None


def _around(numbers: Sequence[float] | None, least: int = 1) -> Box | None:
    """The box around points x, y, x, y, ...; None with fewer than `least` of them."""
    if numbers is None or len(numbers) % 2 or len(numbers) < 2 * least:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _rectangle(shape: Mapping[str, Any], rotation: float) -> Box | None:
    numbers = _numbers(shape.get("points"))
    extent = _around(numbers) if numbers is not None and len(numbers) == 4 else None
    if extent is None or not rotation:
        return extent
    x1, y1, x2, y2 = extent
    cos, sin = abs(math.cos(rotation)), abs(math.sin(rotation))
    half_width = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
    half_height = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    return _centred((x1 + x2) / 2, (y1 + y2) / 2, half_width, half_height)


def _ellipse(shape: Mapping[str, Any], rotation: float) -> Box | None:
    numbers = _numbers(shape.get("points"))
    if numbers is None or len(numbers) != 4:
        return None
    x, y, right, top = numbers
    rx, ry = right - x, y - top
    cos, sin = math.cos(rotation), math.sin(rotation)
    return _centred(x, y, math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos))


def _mask(shape: Mapping[str, Any], rotation: float) -> Box | None:
    """A mask: run lengths, then the first and the last column and row that it covers."""
    numbers = _numbers(shape.get("points"))
    if numbers is None or len(numbers) < 5:
        return None
    left, top, right, bottom = numbers[-4:]
    return (left, top, right + 1, bottom + 1) if right >= left and bottom >= top else None


def _skeleton(shape: Mapping[str, Any], rotation: float) -> Box | None:
    parts = [
        _numbers(part.get("points"))
        for part in as_list(shape.get("elements"))
        if isinstance(part, Mapping) and not part.get("outside")
    ]
    return _around([v for part in parts if part and len(part) % 2 == 0 for v in part])


def _centred(x: float, y: float, half_width: float, half_height: float) -> Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _points(least: int, most: int | None = None) -> Extent:
    """The extent of a shape of `least` to `most` points."""

    def extent(shape: Mapping[str, Any], rotation: float) -> Box | None:
        numbers = _numbers(shape.get("points"))
        if numbers is not None and most is not None and len(numbers) > 2 * most:
            return None
        return _around(numbers, least)

    return extent


EXTENTS: dict[str, Extent] = {
    "rectangle": _rectangle,
    "polygon": _points(3),
    "polyline": _points(2),
    "points": _points(1),
    "cuboid": _points(8, 8),
    "ellipse": _ellipse,
    "mask": _mask,
    "skeleton": _skeleton,
}
