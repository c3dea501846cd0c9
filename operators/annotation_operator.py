"""What the operators that talk to an annotation server share: the secrets."""

from __future__ import annotations

import contextlib
from typing import Any

from unseen.cvat.credentials import SECRETS, supply

from .step_operator import StepOperator


class AnnotationOperator(StepOperator):
    """Hands FiftyOne's secrets to a step; they are no parameters, because those are stored."""

    def around(self, ctx: Any) -> contextlib.AbstractContextManager[Any]:
        found = {name: ctx.secrets.get(name) for name in SECRETS}
        # 1.22: the first look-up of a secret gives an object around its value.
        return supply({name: getattr(v, "value", v) for name, v in found.items()})
