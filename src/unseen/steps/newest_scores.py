"""Whether the pool's scores are those of the newest UNet: what every step that ranks asks first."""

from __future__ import annotations

from typing import Any

from unseen.dataset import structure
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError


def newest_scores(loop: Loop, *, otherwise: str = "") -> tuple[str, dict[str, Any]]:
    """The mark of the samples that the newest UNet scored, and the record of that.

    Args:
        loop: the loop.
        otherwise: what the step can do without scores, for the end of the message.

    Raises:
        DatasetError: nothing was scored, or by an older UNet, or when something else counted.
    """
    newest = loop.newest_with("score_samples")
    trained = loop.newest_with("train_unet")
    record = None if newest is None else loop.record(newest)
    if record is None or loop.dataset.get_field(loop.names.model) is None:
        raise DatasetError(
            f"no sample of dataset {loop.dataset.name!r} has been scored yet; run train_unet and "
            f"score_samples first{otherwise}"
        )
    entry = record["steps"]["score_samples"]
    model = (record["steps"].get("train_unet") or {}).get("digest", entry["digest"])
    if entry["parameters"].get("checkpoint"):  # a UNet that the user named, on purpose
        model, trained = entry["digest"], None
    if (trained is not None and trained > (newest or 0)) or model != entry["digest"]:
        raise DatasetError(
            "the scores are older than the newest UNet; run score_samples again before ranking"
        )
    mark = structure.scored_mark(entry)
    if mark != structure.score_mark(entry["digest"], structure.read_record(loop)):
        raise DatasetError(
            "what counts in the ranking changed since the pool was scored (known structure: zone, "
            "margin or weight); run score_samples again before ranking"
        )
    return mark, entry
