"""What was handed to annotators, and how far it is."""

from __future__ import annotations

from unseen.annotation.agreement import read_agreement
from unseen.annotation.status import ask_servers
from unseen.dataset.loop import Loop
from unseen.progress import Progress
from unseen.steps.list_annotations import ListAnnotationsConfig, ListAnnotationsResult
from unseen.steps.step import step


@step(ListAnnotationsConfig)
def list_annotations(
    loop: Loop, config: ListAnnotationsConfig, progress: Progress
) -> ListAnnotationsResult:
    """Ask every server for its tasks and jobs; change nothing.

    A server that cannot be reached is no error: what was recorded is listed, with the reason.
    """
    batches = ask_servers(loop, config.anno_key, config.stage, progress)
    agreement = read_agreement(loop)
    return ListAnnotationsResult(dataset=loop.dataset.name, batches=batches, agreement=agreement)
