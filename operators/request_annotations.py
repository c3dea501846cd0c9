"""Operator of `unseen.request_annotations`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from unseen.annotation.cvat.credentials import is_configured
from unseen.annotation.sendings import read_sendings

from .label_next import loop_of
from .run_step import cvat_secrets
from .step_operator import StepOperator


class RequestAnnotations(StepOperator):
    """Proposes what was used last, else what is configured."""

    def resolve_input(self, ctx: Any) -> types.Property:
        if ctx.dataset is not None and not ctx.params.get("backend"):
            ctx.params["backend"] = proposed_backend(ctx)
        form = super().resolve_input(ctx)
        form.type.properties["backend"].default = ctx.params.get("backend")
        return form


def proposed_backend(ctx: Any) -> str:
    """Where the last images were sent; before that CVAT, if a server is configured."""
    if sent := read_sendings(loop_of(ctx)):
        return sent[-1].backend
    with cvat_secrets(ctx):
        return "cvat" if is_configured() else "app"
