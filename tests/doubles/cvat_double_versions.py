"""What differs between versions of CVAT: recorded were 2.15.0 and 2.54.1.

Where it is not known which version changed an answer, it is taken for 2.54's.
"""

from __future__ import annotations

import re

OLD, NEW = "2.15.0", "2.54.1"

#: Every difference that the double knows, and the version from which on it is so.
SINCE = {
    "an upload is asked about as a request": (2, 31),
    "events are exported as a request": (2, 32),
    "a PUT must bring no ids": (2, 41),
    "there are personal access tokens": (2, 48),
    "shapes are checked": (2, 54),
    "answers have more keys": (2, 54),
    "what is gone is named": (2, 54),
}


class Version:
    """A version of CVAT, which knows how it behaves."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:3])

    def has(self, difference: str) -> bool:
        """Whether a line of the table is true of this version."""
        return self._numbers >= SINCE[difference]
