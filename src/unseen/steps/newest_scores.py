"""The scores of the newest UNet: what every step that ranks asks for first."""

from __future__ import annotations

from unseen.dataset.loop import Loop, Record
from unseen.errors import DatasetError
from unseen.loop import rules
from unseen.loop.facts import read_records, score_state
from unseen.loop.overview_data import NONE


def newest_scores(loop: Loop, *, otherwise: str = "") -> tuple[str, Record]:
    """The mark of the samples that the newest UNet scored, and the entry of that run.

    Raises a `DatasetError` if nothing was scored, or by an older UNet, or under another zone of the
    known structure; it ends with `otherwise`, what the step can do without scores.
    """
    records = read_records(loop)
    scores = score_state(records)
    has_scores = loop.dataset.get_field(loop.names.model) is not None
    state = scores.state if has_scores else NONE
    problem = rules.scores_problem(state, has_new_zone=scores.has_new_zone)
    if problem or scores.mark is None:
        raise DatasetError(f"{problem}{otherwise}")
    return scores.mark, records.newest("score_samples")
