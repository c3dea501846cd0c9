"""Requests as the App sends them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def operator(fiftyone_database):
    """The operator of a step, by the step's name."""
    import fiftyone.operators as foo

    return lambda step: foo.get_operator(f"@unseen/curation/{step}")


@pytest.fixture(scope="session")
def context(fiftyone_database):
    """The execution context of a request that the App sends to a step's operator."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    def context(dataset, step, *, view=None, selected=(), labels=(), **params):
        request = {
            "operator_uri": f"@unseen/curation/{step}",
            "dataset_name": dataset.name,
            "view": view._serialize() if view is not None else [],
            "selected": list(selected),
            "selected_labels": [{"label_id": i} for i in labels],
            "params": params,
        }
        return ExecutionContext(request, executor=Executor(), operator_uri=request["operator_uri"])

    return context


@pytest.fixture(scope="session")
def form_of(operator, context):
    """The properties of an operator's form."""

    def form_of(dataset, step, **params):
        ctx = context(dataset, step, **params)
        return operator(step).resolve_type(ctx, "inputs").type.properties

    return form_of
