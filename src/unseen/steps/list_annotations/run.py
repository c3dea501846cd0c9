"""What was handed to annotators, and how far it is."""

from __future__ import annotations

from typing import Any

from unseen.annotation.status import ask_servers
from unseen.dataset import reading
from unseen.dataset.fields import Names
from unseen.progress import Progress
from unseen.steps.list_annotations import ListAnnotationsConfig, ListAnnotationsResult
from unseen.steps.step import step


@step(ListAnnotationsConfig, writes=False)
def list_annotations(
    view: Any, config: ListAnnotationsConfig, names: Names, progress: Progress
) -> ListAnnotationsResult:
    """Ask every server for its tasks and jobs; change nothing.

    A server that cannot be reached is no error: what was recorded is listed, with the reason.
    """
    dataset = reading.dataset_of(view)
    found = ask_servers(dataset, names, config.anno_key, config.stage, progress)
    return ListAnnotationsResult(dataset=dataset.name, batches=found)
