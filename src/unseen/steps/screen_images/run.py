"""Find images that the loop should not see: unreadable, blank and partial ones."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import fiftyone as fo

from unseen.arrays.images import read_image
from unseen.dataset import writing
from unseen.dataset.loop import Loop
from unseen.errors import ImageError
from unseen.progress import Progress
from unseen.ranking.screening import contrast, flat_border_share, partial_images
from unseen.results import Skipped
from unseen.steps.screen_images import ScreenConfig, ScreenResult
from unseen.steps.step import step


@step(ScreenConfig)
def screen_images(loop: Loop, config: ScreenConfig, progress: Progress) -> ScreenResult:
    """Tag unreadable, blank and partial images as excluded, with the reason; delete nothing.

    Ivanov et al. (2021, IV) removed blank and partial images, because they are artefacts of the
    imaging system. Labelled images are only ever excluded when they cannot be read.
    """
    ids, paths = loop.view.values(["id", "filepath"])
    unreadable: dict[str, str] = {}
    contrasts: dict[str, float] = {}
    flat_shares: dict[str, float] = {}

    def measure(path: str) -> tuple[float, float] | ImageError:
        try:
            image = read_image(path)
        except ImageError as error:
            return error
        return contrast(image), flat_border_share(image)

    with ThreadPoolExecutor(config.workers) as threads:
        for done, (sample_id, found) in enumerate(
            zip(ids, threads.map(measure, paths), strict=True), start=1
        ):
            if isinstance(found, ImageError):
                unreadable[sample_id] = str(found)
            else:
                contrasts[sample_id], flat_shares[sample_id] = found
            progress(done, len(ids), "screen images")

    is_partial = partial_images(list(flat_shares.values()), config.max_flat_share)
    reasons = {sample_id: "unreadable" for sample_id in unreadable}
    has_labels = loop.labelled_ids()
    for sample_id, partial in zip(flat_shares, is_partial, strict=True):
        if sample_id in has_labels:
            continue
        if contrasts[sample_id] < config.min_contrast:
            reasons[sample_id] = "blank"
        elif partial:
            reasons[sample_id] = "partial"
    if reasons and not config.dry_run:
        writing.declare(
            loop, loop.names.excluded_reason, fo.StringField, "Why the image is excluded"
        )
        loop.dataset.set_values(loop.names.excluded_reason, reasons, key_field="id")
        loop.dataset.select(list(reasons)).tag_samples(loop.names.excluded_tag)
        writing.group_fields(loop)
    by_id = dict(zip(ids, paths, strict=True))
    counts = Counter(reasons.values())
    return ScreenResult(
        dataset=loop.dataset.name,
        checked=len(ids),
        dry_run=config.dry_run,
        excluded={reason: counts[reason] for reason in ("unreadable", "blank", "partial")},
        skipped=[
            Skipped(sample_id=i, filepath=by_id[i], reason=unreadable.get(i, reason))
            for i, reason in reasons.items()
        ],
    )
