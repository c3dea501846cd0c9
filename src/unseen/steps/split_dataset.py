"""Fix the test split once, and choose the initial images."""

from __future__ import annotations

from typing import Any

import numpy as np

from unseen.configs import SplitConfig
from unseen.dataset import iterations, reading, setup, writing
from unseen.dataset.fields import Names
from unseen.errors import BudgetError, DatasetError
from unseen.progress import Progress
from unseen.results import SplitResult
from unseen.steps.step import step


@step(SplitConfig)
def split_dataset(view: Any, config: SplitConfig, names: Names, progress: Progress) -> SplitResult:
    """Tag the test split and the initial images.

    A test split that exists (samples with the test tag) is left as it is: the measure must not
    change while the loop runs. The initial images are the first in directory order, or random
    ones; they are what a person labels first. Calling it again with the same parameters changes
    nothing.
    """
    dataset = reading.dataset_of(view)
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    check_unbegun(dataset, names)
    usable = reading.in_directory_order(view.match_tags(names.excluded_tag, bool=False))
    ids, _ = reading.ids_and_paths(usable)
    if not ids:
        raise DatasetError(
            f"dataset {dataset.name!r} has no usable images"
            f" (empty view, or all tagged {names.excluded_tag!r}); add images first"
        )
    rng = np.random.default_rng(config.seed)
    existing = set(reading.split(dataset, names.test_tag).values("id"))
    wanted = config.test_count
    if wanted is None:
        wanted = round(config.test_share * len(ids))
    test = existing or {ids[i] for i in rng.permutation(len(ids))[:wanted]}
    rest = [i for i in ids if i not in test]
    if config.initial > len(rest):
        raise BudgetError(
            f"initial={config.initial} exceeds the {len(rest)} images left beside the test split "
            f"of {len(test)}; lower initial or the test share"
        )
    order = range(len(rest)) if config.initial_order == "directory" else rng.permutation(len(rest))
    initial = [rest[i] for i in list(order)[: config.initial]]

    if not config.dry_run:
        setup.record_split(dataset, names, made_test=not existing, parameters=config.to_dict())
        if not existing:
            writing.set_tag(dataset, sorted(test), names.test_tag)
        writing.set_tag(dataset, initial, names.initial_tag)
    progress(1, 1, "split dataset")
    has_labels = _labelled_ids(dataset, names)
    return SplitResult(
        dataset=dataset.name,
        test=len(test),
        test_unlabelled=len(test - has_labels),
        initial=len(initial),
        initial_unlabelled=len(set(initial) - has_labels),
        pool=len(rest) - len(initial),
        excluded=len(reading.split(dataset, names.excluded_tag)),
        test_was_fixed=bool(existing),
        dry_run=config.dry_run,
    )


def _labelled_ids(dataset: Any, names: Names) -> set[str]:
    if dataset.get_field(names.label_field) is None:
        return set()
    return set(dataset.exists(names.label_field).values("id"))


def check_unbegun(dataset: Any, names: Names) -> None:
    """Make sure that no batch was selected: from then on the split is fixed.

    Raises:
        DatasetError: there are batches.
    """
    if iterations.batches(dataset, names):
        raise DatasetError(
            f"dataset {dataset.name!r} has batches already; its split is fixed. Remove them with "
            f"`unseen clean {dataset.name}` to start over"
        )
