"""How a loop was set up: whose the test split is, and the parameters that hold for all its steps.

It is written before the tags, so that clean-up knows which of them are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.runs import save_run, stored_runs
from unseen.errors import DatasetError
from unseen.parameters import StepConfig

SETUP_METHOD = "unseen/setup"
#: Shared parameters that hold for all steps of a loop, once it is set up.
LASTING = ("label_field", "test_tag", "initial_tag", "excluded_tag")


def record_split(loop: Loop, *, made_test: bool, parameters: Mapping[str, Any]) -> None:
    """Record the parameters, and whether the test split is ours or the user's own."""
    before = _read(loop)
    save_run(
        loop.dataset,
        loop.names.setup_key,
        SETUP_METHOD,
        prefix=loop.names.prefix,
        series=loop.names.series,
        made_test=made_test or bool(before and before["made_test"]),
        test_tag=loop.names.test_tag,
        initial_tag=loop.names.initial_tag,
        parameters=dict(parameters),
    )


def check_own_tag(loop: Loop) -> None:
    """Raise `DatasetError` if samples have the initial tag, and no split of ours gave it to them."""
    tag, prefix = loop.names.initial_tag, loop.names.prefix
    own = {"config.method": SETUP_METHOD, "config.prefix": prefix, "config.initial_tag": tag}
    if not stored_runs(loop.dataset, **own) and (count := len(loop.whole.tagged(tag))):
        raise DatasetError(
            f"{count} samples of dataset {loop.dataset.name!r} have the tag {tag!r} already, and no "
            "split of this package gave it to them; pass another initial_tag, such as "
            f"'unseen_{tag}', or remove the tag"
        )


def lasting(dataset: Any, prefix: str, series: str) -> dict[str, str]:
    """The parameters that a loop was set up with; empty if it was not set up."""
    record = _read(Loop(dataset, Names(prefix=prefix, series=series)))
    given = (record or {}).get("parameters") or {}
    return {name: given[name] for name in LASTING if given.get(name)}


def names_for(dataset: Any, config: StepConfig) -> Names:
    """The names that a step's parameters ask for; the rest is as the loop was set up."""
    main = lasting(dataset, config.prefix, "") if config.series else {}
    tags = {k: v for k, v in main.items() if k.endswith("_tag")}  # splits are of the dataset
    given: dict[str, str] = {
        f.name: getattr(config, f.name) for f in fields(Names) if hasattr(config, f.name)
    }
    return Names(**{**tags, **lasting(dataset, config.prefix, config.series), **given})


def names_of(dataset: Any) -> Names:
    """The names that the main loop was set up with, or the default ones."""
    return Names(**lasting(dataset, Names.prefix, Names.series))


def _read(loop: Loop) -> dict[str, Any] | None:
    if not loop.dataset.has_run(loop.names.setup_key):
        return None
    config: dict[str, Any] = loop.dataset.get_run_info(loop.names.setup_key).config.serialize()
    return config
