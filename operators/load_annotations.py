"""Form of `unseen.load_annotations`."""

from __future__ import annotations

from .annotation_operator import AnnotationOperator


class LoadAnnotations(AnnotationOperator):
    """Asks which jobs are loaded."""

    step = "load_annotations"
    label = "Load annotations"
    description = "Take the annotators' labels back, job by job"
