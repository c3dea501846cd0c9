"""How the dataset was split: written before the tags, so that clean-up knows what is ours.

The record also says which label field and which tags the loop uses, so that nobody has to repeat
them at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.parameters import StepConfig

SETUP_METHOD = "unseen/setup"
#: Shared parameters of a loop that hold for all of its steps, once it is set up.
LASTING = ("label_field", "test_tag", "initial_tag", "excluded_tag")


def record_split(loop: Loop, *, made_test: bool, parameters: Mapping[str, Any]) -> None:
    """Remember the parameters, and whether the test split is ours or the user's own."""
    before = read_split(loop)
    config = loop.dataset.init_run(
        method=SETUP_METHOD,
        prefix=loop.names.prefix,
        series=loop.names.series,
        made_test=made_test or bool(before and before["made_test"]),
        test_tag=loop.names.test_tag,
        initial_tag=loop.names.initial_tag,
        parameters=dict(parameters),
    )
    if before is None:
        loop.dataset.register_run(loop.names.setup_key, config)
    else:
        loop.dataset.update_run_config(loop.names.setup_key, config)


def read_split(loop: Loop) -> dict[str, Any] | None:
    """What `record_split` wrote, or None."""
    if not loop.dataset.has_run(loop.names.setup_key):
        return None
    found: dict[str, Any] = loop.dataset.get_run_info(loop.names.setup_key).config.serialize()
    return found


def lasting(dataset: Any, prefix: str, series: str) -> dict[str, str]:
    """The parameters that a loop was set up with and that its other steps shall use too.

    Empty where nothing was set up; then the steps' own defaults hold.
    """
    record = read_split(Loop(dataset, Names(prefix=prefix, series=series)))
    given = (record or {}).get("parameters") or {}
    return {name: given[name] for name in LASTING if given.get(name)}


def names_for(dataset: Any, config: StepConfig) -> Names:
    """The names that a step's parameters ask for; what they do not say is as it was set up."""
    main = lasting(dataset, config.prefix, "") if config.series else {}
    tags = {k: v for k, v in main.items() if k.endswith("_tag")}  # splits are of the dataset
    given: dict[str, str] = {
        f.name: getattr(config, f.name) for f in fields(Names) if hasattr(config, f.name)
    }
    return Names(**{**tags, **lasting(dataset, config.prefix, config.series), **given})


def names_of(dataset: Any, prefix: str = "unseen", series: str = "") -> Names:
    """The names that a loop was set up with, or the default ones."""
    return Names(prefix=prefix, series=series, **lasting(dataset, prefix, series))
