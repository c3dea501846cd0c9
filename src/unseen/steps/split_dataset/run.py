"""Fix the test split once, and choose the initial images."""

from __future__ import annotations

import numpy as np

from unseen.dataset import reading, setup, writing
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, DatasetError
from unseen.progress import Progress
from unseen.steps.split_dataset import SplitConfig, SplitResult
from unseen.steps.step import step


@step(SplitConfig)
def split_dataset(loop: Loop, config: SplitConfig, progress: Progress) -> SplitResult:
    """Tag the test split and the initial images.

    A test split that exists (samples with the test tag) is left as it is: the measure must not
    change while the loop runs. The initial images are the first in directory order, random ones, or
    typical ones of each kind; they are what a person labels first. Calling it again with the same
    parameters changes nothing.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    check_unbegun(loop)
    usable = loop.view.match_tags(loop.names.excluded_tag, bool=False).sort_by("filepath")
    ids, paths = usable.values(["id", "filepath"])
    if not ids:
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has no usable images"
            f" (empty view, or all tagged {loop.names.excluded_tag!r}); add images first"
        )
    rng = np.random.default_rng(config.seed)
    existing = set(loop.dataset.match_tags(loop.names.test_tag).values("id"))
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
    has_labels = loop.whole.labelled_ids()
    chosen_by = "the first in directory order"
    if config.initial_order == "random":
        initial = [rest[i] for i in rng.permutation(len(rest))[: config.initial]]
        chosen_by = f"at random (seed {config.seed})"
    elif config.initial_order == "coverage" and not has_labels:
        # Imported late: only this order needs torch.
        from unseen.steps.split_dataset.typical_images import typical_images

        by_id = dict(zip(ids, paths, strict=True))
        initial, chosen_by = typical_images(
            loop.dataset, {i: by_id[i] for i in rest}, config, progress
        )
    else:
        initial = rest[: config.initial]
        if config.initial_order == "coverage":
            before = set(loop.dataset.match_tags(loop.names.initial_tag).values("id"))
            # Those of before first: somebody may have labelled them since.
            initial = sorted(rest, key=lambda i: i not in before)[: config.initial]
            chosen_by = "those of before, then the first in directory order, as there are labels"

    if not config.dry_run:
        setup.record_split(loop, made_test=not existing, parameters=config.to_dict())
        if not existing:
            writing.set_tag(loop.dataset, sorted(test), loop.names.test_tag)
        writing.set_tag(loop.dataset, initial, loop.names.initial_tag)
    progress(1, 1, "split dataset")
    return SplitResult(
        dataset=loop.dataset.name,
        test=len(test),
        test_unlabelled=len(test - has_labels),
        initial=len(initial),
        initial_unlabelled=len(set(initial) - has_labels),
        pool=len(rest) - len(initial),
        excluded=len(loop.dataset.match_tags(loop.names.excluded_tag)),
        test_was_fixed=bool(existing),
        chosen_by=chosen_by,
        dry_run=config.dry_run,
    )


def check_unbegun(loop: Loop) -> None:
    """Make sure that no batch was selected: from then on the split is fixed.

    Raises:
        DatasetError: there are batches.
    """
    if loop.batches():
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has batches already; its split is fixed. Remove them with "
            f"`unseen clean {loop.dataset.name}` to start over"
        )
