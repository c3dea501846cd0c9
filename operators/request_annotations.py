"""Form of `unseen.request_annotations`."""

from __future__ import annotations

from fiftyone.operators import types

from .annotation_operator import AnnotationOperator


class RequestAnnotations(AnnotationOperator):
    """Asks what goes to the annotators, and how."""

    step = "request_annotations"
    label = "Request annotations"
    description = "Hand the batch to the annotators, most novel image first"
    risk_level = types.RiskLevel.HIGH
