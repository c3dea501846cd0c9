"""The annotation operators, as the App and Python call them, against a CVAT double."""

from __future__ import annotations

import threading

import pytest

from unseen.dataset.locks import last_run

pytestmark = pytest.mark.fiftyone


def operator(step):
    import fiftyone.operators as foo

    return foo.get_operator(f"@unseen/curation/{step}")


def context(dataset, step, **params):
    from fiftyone.operators.executor import ExecutionContext, Executor

    uri = f"@unseen/curation/{step}"
    request = {"operator_uri": uri, "dataset_name": dataset.name, "view": [], "params": params}
    secrets = operator(step)._plugin_secrets
    return ExecutionContext(
        request, executor=Executor(), operator_uri=uri, required_secrets=secrets
    )


def test_a_batch_goes_out_and_comes_back_operator_by_operator(cvat, batch):
    dataset = batch(4)
    sent = operator("request_annotations")(dataset, segment_size=2, classes=["particle"]).result
    assert sent["sent"] == 4
    annotator = cvat.annotator(min(cvat.jobs))
    annotator.draw(0, "particle", [5, 5, 20, 20])
    annotator.set(state="completed")
    status = operator("list_annotations")(dataset).result
    assert [job["waiting"] for job in status["batches"][0]["tasks"][0]["jobs"]] == [True, False]
    # The status links every job and says what waits.
    ctx = context(dataset, "list_annotations")
    ctx.request_params["results"] = status
    text = operator("list_annotations").resolve_type(ctx, "outputs").to_json()
    shown = text["type"]["properties"]["shown"]["default"]
    assert "waiting to be loaded" in shown
    rows = [line for line in shown.splitlines() if "/jobs/" in line]
    assert [row.split("|")[-2].strip() for row in rows] == ["yes", "no"]
    assert all(f"({cvat.url}/tasks/" in row for row in rows)
    loaded = operator("load_annotations")(dataset).result
    assert (loaded["jobs_loaded"], loaded["added"]) == (1, {"particle": 1})
    undone = operator("undo_annotations")(dataset).result
    assert (undone["images"], undone["boxes_after"]) == (2, 0)


def to_its_end(ctx):
    """The record of a run that the App began, which may go on behind it, and what the App was told."""
    messages = list(operator("request_annotations").execute(ctx))
    for thread in threading.enumerate():
        if thread.name == "unseen-step":
            thread.join(60)
    return last_run(ctx.dataset), messages


def test_operators_take_the_credentials_from_fiftyones_secrets(cvat, batch, monkeypatch):
    dataset = batch(2)
    secrets = {
        "FIFTYONE_CVAT_URL": cvat.url,
        "FIFTYONE_CVAT_USERNAME": cvat.username,
        "FIFTYONE_CVAT_PASSWORD": cvat.password,
    }
    for name in secrets:
        monkeypatch.delenv(name)
    ctx = context(dataset, "request_annotations")
    # What FiftyOne resolved for this request; the open-source server reads its environment.
    ctx._secrets = secrets
    run, messages = to_its_end(ctx)
    assert (run.state, sum(len(task.frames) for task in cvat.tasks.values())) == ("done", 2)
    assert cvat.password not in f"{run} {[vars(m) for m in messages]}"


def test_an_unreachable_server_is_an_error_message_in_the_app(batch, monkeypatch, quick):
    dataset = batch(2)
    monkeypatch.setenv("FIFTYONE_CVAT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", "somebody")
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "a-secret")
    run, _ = to_its_end(context(dataset, "request_annotations"))
    assert run.state == "failed"
    assert "cannot be reached" in run.text
    assert "127.0.0.1:9" in run.text
    assert "a-secret" not in run.text


def test_the_next_iteration_puts_its_batch_in_front(cvat, batch):
    import fiftyone as fo

    dataset = batch(2)
    ctx = context(dataset, "next_iteration")
    result = {"batch": "batch_01", "summary": ""}
    asked = [m.body for m in operator("next_iteration").refresh(ctx, result)]
    shown = fo.DatasetView._build(dataset, asked[-1].params["view"])
    assert shown.values("id") == dataset.load_saved_view("batch_01").values("id")
