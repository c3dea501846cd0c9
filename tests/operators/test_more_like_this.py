"""The operator `more_like_this` takes what is selected in the App."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.fiftyone


def context(dataset, *, selected=(), labels=(), **params):
    from fiftyone.operators.executor import ExecutionContext, Executor

    uri = "@unseen/curation/more_like_this"
    request = {
        "operator_uri": uri,
        "dataset_name": dataset.name,
        "view": [],
        "selected": list(selected),
        "selected_labels": [{"label_id": i} for i in labels],
        "params": params,
    }
    return ExecutionContext(request, executor=Executor(), operator_uri=uri)


def operator():
    import fiftyone.operators as foo

    return foo.get_operator("@unseen/curation/more_like_this")


def test_the_form_asks_for_a_selection(wafers):
    fields = operator().resolve_input(context(wafers)).type.properties
    assert fields["nothing_selected"].invalid
    chosen = context(wafers, selected=[wafers.first().id])
    assert "nothing_selected" not in operator().resolve_input(chosen).type.properties


@pytest.mark.parametrize("what", ["labels", "samples"])
def test_what_is_selected_is_wanted(wafers, tmp_path, what):
    sample = wafers.first()
    label = sample["ground_truth"].detections[0].id
    chosen = {
        "labels": {"labels": [label], "selected": [sample.id]},
        "samples": {"selected": [sample.id]},
    }
    ctx = context(wafers, **chosen[what], model_dir=str(tmp_path))
    list(operator().execute(ctx))
    assert ctx.params["wanted"] == [label if what == "labels" else sample.id]
    wafers.reload()
    assert wafers.list_saved_views() == ["similar_regions"]
