"""Find images that the loop should not see: unreadable, blank and partial ones."""

from __future__ import annotations

from collections import Counter
from functools import partial

import fiftyone as fo
import numpy as np

from unseen.arrays.images import ValueRange, read_image
from unseen.arrays.read_ahead import read_ahead
from unseen.dataset import reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import ImageError
from unseen.progress import Progress
from unseen.ranking.screening import contrast, flat_border_share, partial_images
from unseen.results import Skipped
from unseen.steps.screen_images import ScreenConfig, ScreenResult
from unseen.steps.step import check_readable, step


@step(ScreenConfig)
def screen_images(loop: Loop, config: ScreenConfig, progress: Progress) -> ScreenResult:
    """Tag unreadable, blank and partial images as excluded, with the reason; delete nothing.

    Ivanov et al. (2021, IV) removed blank and partial images as artefacts of the imaging system.
    Labelled images are excluded only if they cannot be read. What could not be read before and can
    be now is no longer excluded.
    """
    ids, stored = reading.raw_values(loop.view, ["filepath"])
    paths = stored["filepath"]
    errors: dict[str, str] = {}
    contrasts, flat_shares = np.full((2, len(ids)), np.nan)
    measure = partial(_measure, value_range=reading.value_range(loop.dataset))
    measured = read_ahead(measure, paths, workers=config.workers, ahead=2 * config.workers)
    for i, (_, measures) in enumerate(measured):
        if isinstance(measures, ImageError):
            errors[ids[i]] = str(measures)
        else:
            contrasts[i], flat_shares[i] = measures
        progress(i + 1, len(ids), "screen images")

    check_readable(len(ids), list(errors.values()))
    is_blank = contrasts < config.min_contrast
    is_partial = partial_images(flat_shares, config.max_flat_share)
    reasons = dict.fromkeys(errors, "unreadable")
    has_labels = loop.labelled_ids()
    for sample_id, blank, cut_off in zip(ids, is_blank, is_partial, strict=True):
        if (blank or cut_off) and sample_id not in has_labels:
            reasons[sample_id] = "blank" if blank else "partial"
    # What somebody else excluded gets no reason of ours: a clean-up would take the tag away.
    excluded = set(loop.tagged(loop.names.excluded_tag).values("id"))
    field, ours = loop.names.excluded_reason, {}
    if loop.dataset.get_field(field) is not None:
        ours = dict(zip(*loop.dataset.exists(field).values(["id", field]), strict=True))
    new = {i: reason for i, reason in reasons.items() if i not in excluded - ours.keys()}
    back = [i for i in ids if ours.get(i) == "unreadable" and i not in reasons]
    if (new or back) and not config.dry_run:
        writing.declare(loop, field, fo.StringField, "Why the image is excluded")
        loop.dataset.set_values(field, {**new, **dict.fromkeys(back)}, key_field="id")
        loop.dataset.select(list(new)).tag_samples(loop.names.excluded_tag)
        loop.dataset.select(back).untag_samples(loop.names.excluded_tag)
        writing.group_fields(loop)
    by_id = {i: path for i, path in zip(ids, paths, strict=True) if i in reasons}
    counts = Counter(reasons.values())
    return ScreenResult(
        dataset=loop.dataset.name,
        checked=len(ids),
        dry_run=config.dry_run,
        back=len(back),
        excluded={reason: counts[reason] for reason in ("unreadable", "blank", "partial")},
        skipped=[
            Skipped(sample_id=i, filepath=by_id[i], reason=errors.get(i, reason))
            for i, reason in reasons.items()
        ],
    )


def _measure(path: str, *, value_range: ValueRange | None) -> tuple[float, float]:
    image = read_image(path, value_range=value_range)
    return contrast(image), flat_border_share(image)
