"""One labelling loop on a dataset: what every step asks and tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unseen.dataset.fields import Names


@dataclass(frozen=True)
class Loop:
    """A dataset and the names under which one loop stores everything in it.

    A second loop on the same dataset (a baseline, another strategy) has a `series` among its names.

    Attributes:
        view: what a step was called on; the dataset or a view of it.
        names: every stored name of this loop.
    """

    view: Any
    names: Names = field(default_factory=Names)

    @property
    def dataset(self) -> Any:
        """The dataset below the view."""
        return self.view._dataset
