"""How the dataset was split: written before the tags, so that clean-up knows what is ours.

The record also says which label field and which tags the loop uses, so that nobody has to repeat
them at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.dataset.fields import Names

SETUP_METHOD = "unseen/setup"
#: Shared parameters of a loop that hold for all of its steps, once it is set up.
LASTING = ("label_field", "test_tag", "initial_tag", "excluded_tag")


def record_split(
    dataset: Any, names: Names, *, made_test: bool, parameters: Mapping[str, Any]
) -> None:
    """Remember the parameters, and whether the test split is ours or the user's own."""
    before = read_split(dataset, names)
    config = dataset.init_run(
        method=SETUP_METHOD,
        prefix=names.prefix,
        series=names.series,
        made_test=made_test or bool(before and before["made_test"]),
        test_tag=names.test_tag,
        initial_tag=names.initial_tag,
        parameters=dict(parameters),
    )
    if before is None:
        dataset.register_run(names.setup_key, config)
    else:
        dataset.update_run_config(names.setup_key, config)


def read_split(dataset: Any, names: Names) -> dict[str, Any] | None:
    """What `record_split` wrote, or None."""
    if not dataset.has_run(names.setup_key):
        return None
    found: dict[str, Any] = dataset.get_run_info(names.setup_key).config.serialize()
    return found


def lasting(dataset: Any, prefix: str, series: str) -> dict[str, str]:
    """The parameters that a loop was set up with and that its other steps shall use too.

    Empty where nothing was set up; then the steps' own defaults hold.
    """
    record = read_split(dataset, Names(prefix=prefix, series=series))
    given = (record or {}).get("parameters") or {}
    return {name: given[name] for name in LASTING if given.get(name)}


def names_of(dataset: Any, prefix: str = "unseen", series: str = "") -> Names:
    """The names that a loop was set up with, or the default ones."""
    return Names(prefix=prefix, series=series, **lasting(dataset, prefix, series))
