"""Fix the test split once, and choose the initial images."""

from __future__ import annotations

import numpy as np

from unseen.annotation.queue import save_split_views
from unseen.dataset import reading, setup, writing
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, DatasetError
from unseen.progress import Progress
from unseen.steps.split_dataset import SplitConfig, SplitResult
from unseen.steps.step import step


@step(SplitConfig)
def split_dataset(loop: Loop, config: SplitConfig, progress: Progress) -> SplitResult:
    """Tag the test split and the initial images, which are the first to label.

    A test split that exists (samples with the test tag) stays as it is: the measure must not change
    while the loop runs. Initial tags that somebody else gave are refused. Calling it again with the
    same parameters changes nothing.
    """
    dataset, names = loop.dataset, loop.names
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    check_unbegun(loop)
    setup.check_own_tag(loop)
    usable = loop.view.match_tags(names.excluded_tag, bool=False).sort_by("filepath")
    paths = dict(zip(*usable.values(["id", "filepath"]), strict=True))
    if not paths:
        raise DatasetError(
            f"dataset {dataset.name!r} has no usable images (empty view, or all tagged "
            f"{names.excluded_tag!r}); add images first"
        )
    ids = list(paths)
    rng = np.random.default_rng(config.seed)
    existing = set(loop.whole.test.values("id"))
    wanted = config.test_count
    if wanted is None:
        wanted = round(config.test_share * len(ids))
    test = existing or {ids[i] for i in rng.permutation(len(ids))[:wanted]}
    rest = {i: path for i, path in paths.items() if i not in test}
    if config.initial > len(rest):
        raise BudgetError(
            f"initial={config.initial} exceeds the {len(rest)} images left beside the test split "
            f"of {len(test)}; lower initial or the test share"
        )
    has_labels = loop.whole.labelled_ids()
    initial = list(rest)[: config.initial]
    chosen_by = "the first in directory order"
    if config.initial_order == "random":
        order = rng.permutation(len(rest))
        initial = [list(rest)[i] for i in order[: config.initial]]
        chosen_by = f"at random (seed {config.seed})"
    elif config.initial_order == "coverage" and has_labels - test:
        before = set(loop.whole.tagged(names.initial_tag).values("id"))
        # Those of before first: somebody may have labelled them since.
        initial = sorted(rest, key=lambda i: i not in before)[: config.initial]
        chosen_by = "those of before, then the first in directory order, as there are labels"
    elif config.initial_order == "coverage":
        # Imported late: only this order needs torch.
        from unseen.steps.split_dataset.typical_images import typical_images

        initial, chosen_by = typical_images(
            rest, config, progress, reading.value_range(loop.dataset)
        )

    if not config.dry_run:
        setup.record_split(loop, made_test=not existing, parameters=config.to_dict())
        if not existing:
            writing.set_tag(dataset, sorted(test), names.test_tag)
        writing.set_tag(dataset, initial, names.initial_tag)
        save_split_views(loop)
    progress(1, 1, "split dataset")
    return SplitResult(
        dataset=dataset.name,
        test=len(test),
        test_unlabelled=len(test - has_labels),
        initial=len(initial),
        initial_unlabelled=len(set(initial) - has_labels),
        pool=len(rest.keys() - set(initial) - has_labels),
        excluded=len(loop.whole.tagged(names.excluded_tag)),
        test_was_fixed=bool(existing),
        chosen_by=chosen_by,
        dry_run=config.dry_run,
    )


def check_unbegun(loop: Loop) -> None:
    """Raise a DatasetError if a batch was selected: from then on the split is fixed."""
    name = loop.dataset.name
    if loop.batches():
        raise DatasetError(
            f"dataset {name!r} has batches already; its split is fixed. Remove them with "
            f"`unseen clean {name}` to start over"
        )
