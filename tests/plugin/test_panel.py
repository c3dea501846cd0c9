"""The panel's events, as the App sends them; what they ask the App to do in return."""

from __future__ import annotations

import pytest

import unseen

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def panel(fiftyone_database):
    from fiftyone.operators.registry import OperatorRegistry

    registry = OperatorRegistry()
    assert registry.list_errors() == []
    (found,) = [o for o in registry.list_operators(type="panel") if o.name == "curation"]
    return found


def send(panel, dataset, event, state=None, **params):
    """What the App gets back for an event: (operations as (name, params), state, data, layout)."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    request = {
        "dataset_name": dataset.name,
        "view": params.pop("view", []),
        "params": {
            "panel_id": "panel-1",
            "__method__": event,
            "panel_state": dict(state or {}),
            **params,
        },
        "spaces": params.pop("spaces", None),
    }
    ctx = ExecutionContext(
        request,
        executor=Executor(),
        operator_uri=panel.uri,
        required_secrets=panel._plugin_secrets,
    )
    panel.execute(ctx)
    requests = ctx.executor.to_json()["requests"]
    asked = [(r["operator_uri"], r["params"]) for r in requests]
    new_state, data, shown = dict(state or {}), {}, None
    for name, given in asked:
        if name == "patch_panel_state":
            new_state.update(given["state"])
        elif name == "patch_panel_data":
            data.update(given["data"])
        elif name == "show_panel_output":
            shown = given["output"]
    return asked, new_state, data, shown


def texts(layout):
    """Every text of a layout, for a look at what a person reads."""
    return str(layout)


@pytest.fixture
def scored(make_wafers, tmp_path):
    """A dataset with scores and a batch of three."""
    dataset = make_wafers(12, labelled=4, test=3)
    place = {"model_dir": str(tmp_path)}
    unseen.split_dataset(dataset, initial=4)
    unseen.train_unet(dataset, steps=2, batch_size=2, crop_size=32, channels=(4, 8), **place)
    unseen.score_samples(dataset, **place)
    unseen.select_batch(dataset, budget=3)
    return dataset


@pytest.fixture
def measured(scored, tmp_path):
    """The same with a detector that was evaluated."""
    place = {"model_dir": str(tmp_path)}
    unseen.train_detector(
        scored, architecture="small", steps=2, batch_size=1, image_size=64, **place
    )
    unseen.apply_detector(scored, min_confidence=0.0, **place)
    unseen.evaluate_detector(scored, min_confidence=0.0)
    return scored


@pytest.mark.parametrize("tab", ["Now", "Ranking", "Progress", "When to stop"])
def test_every_section_opens_on_a_plain_dataset_and_says_what_to_do_first(panel, wafers, tab):
    _, state, _, shown = send(panel, wafers, "change_tab", {"tab": "Now"}, value=tab)
    assert state["tab"] == tab
    assert shown is not None
    assert "Reading" not in texts(shown)


def test_the_first_section_offers_the_next_action_and_opens_its_form(panel, make_wafers):
    wafers = make_wafers(6, labelled=0, test=0)
    _, state, _, shown = send(panel, wafers, "on_load")
    best = state["shown"]["now"]["next_action"]
    assert best["operator"] == "prepare_dataset"
    assert best["reason"] in texts(shown)
    asked, *_ = send(panel, wafers, "act", state, operator="prepare_dataset", form={"initial": 5})
    (prompt,) = [given for name, given in asked if name == "prompt_user_for_operation"]
    assert prompt["operator_uri"] == "@unseen/curation/prepare_dataset"
    assert prompt["params"] == {"initial": 5}
    assert prompt["on_success"].endswith("after_action")


def test_an_operator_of_a_plugin_that_is_missing_is_named(panel, wafers):
    _, state, *_ = send(panel, wafers, "on_load")
    asked, *_ = send(panel, wafers, "act", state, operator="@voxel51/io/nothing", form={})
    assert "prompt_user_for_operation" not in [name for name, _ in asked]
    (told,) = [given for name, given in asked if name == "notify"]
    assert "@voxel51/io/nothing" in told["message"]


def test_an_action_that_is_done_is_no_longer_the_next_one(panel, wafers):
    _, state, *_ = send(panel, wafers, "on_load")
    unseen.split_dataset(wafers, initial=4)
    _, state, *_ = send(panel, wafers, "after_action", state)
    assert state["shown"]["now"]["next_action"]["operator"] == "train_unet"


def test_a_bar_of_the_histogram_shows_its_images(panel, scored):
    import fiftyone as fo

    from unseen.loop import overview

    ranking = overview.ranking(scored)
    edges = ranking.histogram.edges
    _, state, data, _ = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    bars = {trace["name"]: trace for trace in data["histogram"]}
    assert [p + b for p, b in zip(bars["Pool"]["y"], bars["Batch"]["y"], strict=True)] == [
        p + b for p, b in zip(ranking.histogram.pool, ranking.histogram.batch, strict=True)
    ]
    shown_in_all = set()
    for position, count in enumerate(
        p + b for p, b in zip(ranking.histogram.pool, ranking.histogram.batch, strict=True)
    ):
        centre = (edges[position] + edges[position + 1]) / 2
        asked, *_ = send(panel, scored, "show_bars", state, x=centre)
        (given,) = [g for name, g in asked if name == "set_view"]
        view = fo.DatasetView._build(scored, given["view"])
        assert len(view) == count
        shown_in_all |= set(view.values("id"))
    assert len(shown_in_all) == ranking.scored


def test_a_selection_of_bars_shows_the_images_of_all_of_them(panel, scored):
    import fiftyone as fo

    from unseen.loop import overview

    ranking = overview.ranking(scored)
    _, state, data, _ = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    centres = data["histogram"][0]["x"]
    points = [{"x": centres[0]}, {"x": centres[-1]}]
    asked, *_ = send(panel, scored, "show_bars", state, data=points)
    (given,) = [g for name, g in asked if name == "set_view"]
    assert len(fo.DatasetView._build(scored, given["view"])) == ranking.scored


def test_a_row_of_the_batch_opens_its_sample(panel, scored):
    _, state, data, _ = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    assert [row["image"].split(".")[0] for row in data["rows"]] == ["1", "2", "3"]
    asked, *_ = send(panel, scored, "open_row", state, row=1)
    (given,) = [g for name, g in asked if name == "open_sample"]
    assert given["id"] == scored.load_saved_view("batch_01").values("id")[1]


def test_only_a_mixed_batch_says_what_chose_each_image(panel, scored):
    def columns(shown):
        return [c["label"] for c in shown["type"]["properties"]["rows"]["view"]["columns"]]

    unseen.select_batch(scored, budget=4, strategy="plain", replace=True)
    _, _, _, shown = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    assert columns(shown) == ["Rank, image", "Excess", "Regions"]
    unseen.select_batch(scored, budget=4, strategy="mixed", random_share=0.5, replace=True)
    _, _, data, shown = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    assert columns(shown) == ["Rank, image", "Excess", "Regions", "Chosen by"]
    by_sample = scored.load_saved_view("batch_01").values("unseen_chosen_by")
    assert by_sample[2:] == [None, None]
    said = [(name or "random").replace("_", " ") for name in by_sample]
    assert [row["chosen_by"] for row in data["rows"]] == said


def test_a_cell_of_the_table_shows_exactly_the_boxes_it_counts(panel, measured):
    import fiftyone as fo

    from unseen.loop import overview

    progress = overview.progress(measured)
    _, state, data, _ = send(panel, measured, "change_tab", {"tab": "Now"}, value="Progress")
    labels = [row["label"].rsplit(" (", 1)[0] for row in data["table"]]
    (point,) = [p for p in progress.main.points if p.macro_f1 is not None]
    assert labels[1:] == list(point.per_class)
    for row, label in enumerate(labels[1:], start=1):
        cell = point.per_class[label]
        for event, count, field in (
            ("show_hits", cell.tp, point.predictions),
            ("show_false", cell.fp, point.predictions),
            ("show_missed", cell.fn, point.gt_field),
        ):
            asked, *_ = send(panel, measured, event, state, row=row)
            (given,) = [g for name, g in asked if name == "set_view"]
            view = fo.DatasetView._build(measured, given["view"])
            assert view.count(f"{field}.detections") == count


def test_curves_are_drawn_against_images_or_boxes(panel, measured):
    _, state, data, _ = send(panel, measured, "change_tab", {"tab": "Now"}, value="Progress")
    assert data["f1"][0]["x"] == [4]
    _, state, data, _ = send(panel, measured, "change_axis", state, value="boxes")
    boxes = measured.match_tags("initial").count("ground_truth.detections")
    assert data["f1"][0]["x"] == [boxes]


def test_the_recommendation_comes_with_its_figures(panel, measured):
    _, state, _, shown = send(panel, measured, "change_tab", {"tab": "Now"}, value="When to stop")
    advice = state["shown"]["advice"]
    assert advice["sentence"] in texts(shown)
    assert all(line in texts(shown) for line in advice["details"])


def test_a_ranking_that_is_no_better_than_random_is_a_plain_warning(panel, scored, monkeypatch):
    from dataclasses import replace

    from unseen.loop import overview

    real = overview.ranking(scored)
    warned = replace(real.trust, verdict="no better than random", is_warning=True, sentence="NO")
    monkeypatch.setattr(overview, "ranking", lambda *a, **k: replace(real, trust=warned))
    _, _, _, shown = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    view = shown["type"]["properties"]["warning"]["view"]
    assert (view["name"], view["label"]) == ("Warning", "NO")


def test_the_workspace_puts_samples_left_and_the_panel_in_front_on_the_right(panel, wafers):
    from unseen.dataset.workspace import WORKSPACE, save_workspace

    assert save_workspace(wafers) == WORKSPACE
    left, right = wafers.load_workspace(WORKSPACE).children
    assert [child.type for child in left.children] == ["Samples"]
    assert right.children[0].type == panel.config.name
    assert right.active_child == right.children[0].component_id
    wafers.save_workspace(WORKSPACE, left, overwrite=True)
    save_workspace(wafers)  # a workspace that the user changed stays as it is
    assert len(wafers.load_workspace(WORKSPACE).children) == 1


def test_a_row_outside_of_the_grids_view_brings_its_batch_first(panel, scored):
    _, state, *_ = send(panel, scored, "change_tab", {"tab": "Now"}, value="Ranking")
    batch = scored.load_saved_view("batch_01").values("id")
    elsewhere = scored.exclude(batch)._serialize()
    asked, *_ = send(panel, scored, "open_row", state, row=1, view=elsewhere)
    names = [name for name, _ in asked]
    assert "open_sample" not in names
    (view,) = [given["view"] for name, given in asked if name == "set_view"]
    import fiftyone as fo

    assert fo.DatasetView._build(scored, view).values("id") == batch
    # ... and then the same again, with the batch in the grid.
    asked, *_ = send(panel, scored, "open_row", state, row=1, again=True)
    (given,) = [g for name, g in asked if name == "open_sample"]
    assert given["id"] == batch[1]


def test_two_evaluations_open_side_by_side_once_both_are_there(panel, measured, tmp_path):
    """The events that FiftyOne's Model Evaluation needs (1.22); the browser tests see it happen."""
    import fiftyone as fo

    _, state, _, shown = send(panel, measured, "change_tab", {"tab": "Now"}, value="Progress")
    assert "compare_bar" not in texts(shown)
    unseen.reveal_labels(measured, iteration=1)
    place = {"model_dir": str(tmp_path)}
    small = {"architecture": "small", "steps": 2, "batch_size": 1, "image_size": 64}
    unseen.train_detector(measured, **small, **place)
    unseen.apply_detector(measured, min_confidence=0.0, **place)
    unseen.evaluate_detector(measured, min_confidence=0.0)
    _, state, _, shown = send(panel, measured, "change_tab", {"tab": "Now"}, value="Progress")
    assert "compare_bar" in texts(shown)

    evaluation = fo.Panel(type="model_evaluation_panel_builtin")
    spaces = fo.Space(children=[fo.Space(children=[evaluation])]).to_dict()
    asked, *_ = send(panel, measured, "compare_show", state, spaces=spaces)
    (told,) = [g for name, g in asked if name == "patch_panel_state" and "view" in g["state"]]
    assert told["panel_id"] == evaluation.component_id
    view = told["state"]["view"]
    assert (view["key"], view["compareKey"]) == ("iter_01", "iter_00")
    assert view["id"] == str(measured._doc.evaluations["iter_01"].id)
    assert [e["key"] for e in told["state"]["evaluations"]] == ["iter_00", "iter_01"]

    _, state, *_ = send(panel, measured, "change_older", state, value="iter_01")
    asked, *_ = send(panel, measured, "compare", state, spaces=spaces)
    (told,) = [given for name, given in asked if name == "notify"]
    assert "two different" in told["message"]


def test_an_event_that_changes_nothing_reads_nothing(panel, measured, monkeypatch):
    from unseen.loop import overview

    _, state, *_ = send(panel, measured, "change_tab", {"tab": "Now"}, value="Progress")

    def refuse(*_):
        raise AssertionError("the database was asked again")

    for question in ("now", "progress"):
        monkeypatch.setattr(overview, question, refuse)
    send(panel, measured, "change_tab", state, value="Progress")
    send(panel, measured, "change_axis", state, value="images")


@pytest.mark.parametrize("tab", ["Ranking", "Progress", "When to stop"])
def test_a_section_opens_although_the_app_changes_the_state_first(panel, wafers, tab):
    _, state, *_ = send(panel, wafers, "on_load")
    # 1.22: the property is called "tab", so the App writes the new value there before it calls.
    _, state, *_ = send(panel, wafers, "change_tab", {**state, "tab": tab}, value=tab)
    assert state["shown"]["tab"] == tab
