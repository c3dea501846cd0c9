"""The panel's events, as the App sends them; what they ask the App to do in return."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

import unseen
from unseen.dataset import locks
from unseen.errors import LabelError
from unseen.loop import overview
from unseen.ranking import STRATEGIES
from unseen.ranking.mixed import CRITERIA

pytestmark = pytest.mark.fiftyone

TABS = ("Now", "Ranking", "Progress", "When to stop")
SMALL = {"architecture": "small", "steps": 2, "batch_size": 1, "image_size": 64}


class Answer(NamedTuple):
    """What the App gets back for an event."""

    asked: list[tuple[str, dict[str, Any]]]  #: operations and their parameters
    state: dict[str, Any]
    data: dict[str, Any]
    layout: Any

    def the(self, operation):
        """The parameters of the only operation of this name."""
        (params,) = [given for name, given in self.asked if name == operation]
        return params

    def view(self, dataset):
        """The view that the grid shows."""
        import fiftyone as fo

        return fo.DatasetView._build(dataset, self.the("set_view")["view"])


@pytest.fixture(scope="module")
def panel(fiftyone_database):
    from fiftyone.operators.registry import OperatorRegistry

    registry = OperatorRegistry()
    assert registry.list_errors() == []
    (curation,) = [o for o in registry.list_operators(type="panel") if o.name == "curation"]
    return curation


@pytest.fixture
def send(panel):
    """Send an event to the panel, with its state and the event's parameters."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    def send(dataset, event, state=None, *, view=(), spaces=None, **params):
        state = dict(state or {})
        request = {
            "dataset_name": dataset.name,
            "view": list(view),
            "params": {
                "panel_id": "panel-1",
                "__method__": event,
                "panel_state": state,
                **params,
            },
            "spaces": spaces,
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
        answer = Answer(asked, dict(state), {}, None)
        for name, given in asked:
            if name == "patch_panel_state":
                answer.state.update(given["state"])
            elif name == "patch_panel_data":
                answer.data.update(given["data"])
            elif name == "show_panel_output":
                answer = answer._replace(layout=given["output"])
        return answer

    return send


@pytest.fixture
def open_tab(send):
    return lambda dataset, tab: send(dataset, "choose", send(dataset, "on_load").state, tab=tab)


def score(dataset, folder):
    place = {"model_dir": str(folder)}
    unseen.split_dataset(dataset, initial=4)
    unseen.train_unet(dataset, steps=2, batch_size=2, crop_size=32, channels=(4, 8), **place)
    unseen.score_samples(dataset, **place)
    unseen.select_batch(dataset, budget=3)


def measure(dataset, folder):
    place = {"model_dir": str(folder)}
    unseen.train_detector(dataset, **SMALL, **place)
    unseen.apply_detector(dataset, min_confidence=0.0, **place)
    unseen.evaluate_detector(dataset, min_confidence=0.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def measured(make_module_wafers, models):
    """A dataset with scores, a batch of three, and an evaluated detector; tests only read it."""
    dataset = make_module_wafers(12, labelled=4, test=3)
    score(dataset, models)
    measure(dataset, models)
    return dataset


def chosen(answer):
    """The sections that are drawn as open."""
    bar = answer.layout["type"]["properties"]["choose_tab"]["type"]["properties"].values()
    parts = [button["view"]["componentsProps"]["button"] for button in bar]
    names = [button["view"]["label"] for button in bar]
    return [name for name, part in zip(names, parts, strict=True) if part["aria-selected"]]


@pytest.mark.parametrize("tab", TABS)
def test_every_section_opens_on_a_plain_dataset(send, wafers, tab):
    state = send(wafers, "on_load").state
    answer = send(wafers, "choose", state, tab=tab)
    assert answer.state["tab"] == tab
    assert chosen(answer) == [tab]


def test_the_first_section_offers_the_next_action_and_opens_its_form(send, make_wafers):
    wafers = make_wafers(6, labelled=0, test=0)
    opened = send(wafers, "on_load")
    best = overview.now(wafers).next_action
    assert best.operator == "prepare_dataset"
    assert best.reason in str(opened.layout)
    answer = send(wafers, "act", opened.state, operator="prepare_dataset", form={"initial": 5})
    prompt = answer.the("prompt_user_for_operation")
    assert prompt["operator_uri"] == "@unseen/curation/prepare_dataset"
    assert prompt["params"] == {"initial": 5}
    assert prompt["on_success"].endswith("after_action")
    # An operator of a plugin that is missing is named.
    answer = send(wafers, "act", opened.state, operator="@voxel51/io/nothing", form={})
    assert "@voxel51/io/nothing" in answer.the("notify")["message"]
    assert "prompt_user_for_operation" not in dict(answer.asked)
    # What is done is no longer the next action.
    unseen.split_dataset(wafers, initial=3)
    after = send(wafers, "after_action", opened.state)
    assert overview.now(wafers).next_action.operator != "prepare_dataset"
    assert overview.now(wafers).next_action.reason in str(after.layout)


def test_bars_of_the_histogram_show_their_images(send, open_tab, measured):
    ranking = overview.ranking(measured)
    edges = ranking.histogram.edges
    counts = [p + b for p, b in zip(ranking.histogram.pool, ranking.histogram.batch, strict=True)]
    opened = open_tab(measured, "Ranking")
    bars = {trace["name"]: trace for trace in opened.data["histogram"]}
    assert [p + b for p, b in zip(bars["Pool"]["y"], bars["Batch"]["y"], strict=True)] == counts
    shown = set()
    for position, count in enumerate(counts):
        centre = (edges[position] + edges[position + 1]) / 2
        view = send(measured, "show_bars", opened.state, x=centre).view(measured)
        assert len(view) == count
        shown |= set(view.values("id"))
    assert len(shown) == ranking.scored
    ends = [{"x": bars["Pool"]["x"][0]}, {"x": bars["Pool"]["x"][-1]}]
    assert len(send(measured, "show_bars", opened.state, data=ends).view(measured)) == len(shown)


def test_a_row_of_the_batch_opens_its_sample(send, open_tab, measured):
    opened = open_tab(measured, "Ranking")
    assert [row["image"].split(".")[0] for row in opened.data["rows"]] == ["1", "2", "3"]
    batch = measured.load_saved_view("batch_01").values("id")
    answer = send(measured, "open_row", opened.state, row=1)
    assert answer.the("open_sample")["id"] == batch[1]
    # Outside the grid's view, the batch comes first, and then the same event again.
    elsewhere = measured.exclude(batch)._serialize()
    answer = send(measured, "open_row", opened.state, row=1, view=elsewhere)
    assert "open_sample" not in dict(answer.asked)
    assert answer.view(measured).values("id") == batch
    answer = send(measured, "open_row", opened.state, row=1, again=True)
    assert answer.the("open_sample")["id"] == batch[1]


def test_a_batch_says_what_each_image_was_chosen_for(open_tab, make_wafers, tmp_path):
    def columns(answer):
        table = answer.layout["type"]["properties"]["rows"]["view"]
        return [column["label"] for column in table["columns"]]

    dataset = make_wafers(12, labelled=4, test=3)
    score(dataset, tmp_path)
    unseen.select_batch(dataset, budget=4, strategy="plain", replace=True)
    answer = open_tab(dataset, "Ranking")
    assert columns(answer) == ["Rank, image", "Excess", "Regions", "Chosen for"]
    assert {row["chosen_for"] for row in answer.data["rows"]} == {"high excess"}
    unseen.select_batch(dataset, budget=4, strategy="mixed", random_share=0.5, replace=True)
    answer = open_tab(dataset, "Ranking")
    assert STRATEGIES["mixed"] in str(answer.layout)
    by_sample = dataset.load_saved_view("batch_01").values("unseen_chosen_by")
    assert by_sample[2:] == [None, None]
    said = [CRITERIA[name].seeks if name else "at random" for name in by_sample]
    assert [row["chosen_for"] for row in answer.data["rows"]] == said


def test_a_row_of_the_table_shows_exactly_the_boxes_it_counts(send, open_tab, measured):
    (point,) = [p for p in overview.progress(measured).main.points if p.macro_f1 is not None]
    opened = open_tab(measured, "Progress")
    labels = [row["label"].rsplit(" (", 1)[0] for row in opened.data["table"]]
    assert labels[1:] == list(point.per_class)
    for row, label in enumerate(labels[1:], start=1):
        cell = point.per_class[label]
        for event, count, field in (
            ("show_hits", cell.tp, point.predictions),
            ("show_false", cell.fp, point.predictions),
            ("show_missed", cell.fn, point.gt_field),
        ):
            view = send(measured, event, opened.state, row=row).view(measured)
            assert view.count(f"{field}.detections") == count


def test_a_bar_of_the_errors_shows_exactly_these_boxes(send, open_tab, measured):
    progress = overview.progress(measured)
    opened = open_tab(measured, "Progress")
    assert progress.mistakes.sentence in str(opened.layout)
    (bars,) = opened.data["errors"]
    assert dict(zip(bars["y"], bars["x"], strict=True)) == {
        k.name: k.cost for k in progress.mistakes.kinds
    }
    for kind in progress.mistakes.kinds:
        view = send(measured, "show_errors", opened.state, y=kind.name).view(measured)
        if kind.kind == "missed":  # also those that a wrong class or a bad place stands for
            missed = sum(cell.fn for cell in progress.newest.per_class.values())
            assert view.count("ground_truth.detections") == missed >= kind.boxes
        else:
            assert view.count(f"{progress.newest.predictions}.detections") == kind.boxes


def test_curves_are_drawn_against_images_or_boxes(send, open_tab, measured):
    opened = open_tab(measured, "Progress")
    assert opened.data["f1"][0]["x"] == [4]
    changed = send(measured, "choose", opened.state, against="boxes")
    boxes = measured.match_tags("initial").count("ground_truth.detections")
    assert changed.data["f1"][0]["x"] == [boxes]


def test_a_section_that_was_open_before_is_not_computed_again(
    send, open_tab, measured, monkeypatch
):
    opened = open_tab(measured, "Progress")

    def refuse(*_):
        raise AssertionError("computed again")

    away = send(measured, "choose", opened.state, tab="Now")
    monkeypatch.setattr(overview, "progress", refuse)
    back = send(measured, "choose", away.state, tab="Progress")
    assert back.layout == opened.layout


def test_the_section_chosen_last_is_drawn_whatever_comes_late(send, measured, monkeypatch):
    opened, answers = send(measured, "on_load"), []
    now = overview.now

    def meanwhile(dataset):  # a slow event; another section is chosen while it reads
        monkeypatch.setattr(overview, "now", now)
        answers.append(send(dataset, "choose", opened.state, tab="Progress"))
        return now(dataset)

    monkeypatch.setattr(overview, "now", meanwhile)
    late = send(measured, "choose", opened.state, tab="Ranking")
    assert late.asked == []
    assert chosen(answers[0]) == ["Progress"]
    # The clock may know the section before; another page has its own.
    assert chosen(send(measured, "refresh", opened.state)) == ["Progress"]
    assert chosen(send(measured, "on_load")) == ["Now"]


def test_a_section_is_drawn_by_one_operation_each_for_state_data_and_layout(send, measured):
    def operations(answer):
        return [name for name, _ in answer.asked]

    opened = send(measured, "on_load")
    assert operations(opened) == ["patch_panel_state", "show_panel_output"]
    first = send(measured, "choose", opened.state, tab="Progress")
    all_of_it = ["patch_panel_state", "patch_panel_data", "show_panel_output"]
    assert operations(first) == all_of_it
    # The browser keeps what it has got, as long as it is true.
    back = send(measured, "choose", first.state, tab="Now")
    again = send(measured, "choose", back.state, tab="Progress")
    assert operations(again) == ["patch_panel_state", "show_panel_output"]
    other = send(measured, "choose", again.state, against="boxes")
    assert operations(other) == all_of_it
    assert operations(send(measured, "on_load", other.state)) == all_of_it


def test_the_panel_follows_a_run_to_its_end(send, wafers):
    state = send(wafers, "on_load").state
    assert send(wafers, "follow", state).asked == []
    with locks.exclusive(wafers, "train_unet", {"steps": 3}) as lock:
        lock.tell(0.5, "training: 50%")
        seen = send(wafers, "follow", state)
        assert "Train the UNet: running since" in str(seen.layout)
        assert (seen.data["run_share"], seen.data["run_bar.text"]) == (0.5, "training: 50%")
        # From now on only what has changed is sent.
        assert [name for name, _ in send(wafers, "follow", seen.state).asked] == [
            "patch_panel_data"
        ]
        stopping = send(wafers, "stop", seen.state)
        assert "Stopping" in str(stopping.layout)
        assert locks.last_run(wafers).is_stopping
    ended = send(wafers, "follow", stopping.state)
    assert ended.the("notify")["message"].startswith("Train the UNet:")
    assert "reload_dataset" in dict(ended.asked)
    assert send(wafers, "follow", ended.state).asked == []
    # One panel says it, or the form that has waited for it; all others only show it.
    other = send(wafers, "follow", stopping.state)
    assert "notify" not in dict(other.asked)
    assert "reload_dataset" in dict(other.asked)

    begun = seen.state
    with pytest.raises(LabelError), locks.exclusive(wafers, "train_unet", {"steps": 3}):
        raise LabelError("no labels here")
    failed = send(wafers, "follow", begun)
    assert "Train the UNet failed: no labels here" in str(failed.layout)
    # What was started from the panel gets its form back.
    after = send(wafers, "after_action", begun, original_params={"steps": 3, "panel_id": "p"})
    prompt = after.the("prompt_user_for_operation")
    assert prompt["operator_uri"] == "@unseen/curation/train_unet"
    assert prompt["params"] == {"steps": 3}
    dismissed = send(wafers, "dismiss", after.state)
    assert "failed" not in str(dismissed.layout)


def test_how_a_run_ended_is_one_line_that_opens(send, wafers):
    def box():
        return send(wafers, "on_load").layout["type"]["properties"]["run_done"]

    with locks.exclusive(wafers, "train_unet") as lock:
        lock.text = "trained."
    assert "Train the UNet: trained" in str(box())
    with locks.exclusive(wafers, "train_unet") as lock:
        lock.text = "trained. On few images.\nLabel more."
    folded = box()
    assert folded["view"]["label"] == "Train the UNet: trained"
    assert folded["view"]["collapsible"]
    inside = str(folded["type"]["properties"]["all"])
    assert "On few images." in inside
    assert "```" not in inside  # which would not wrap


def test_the_end_of_a_terminal_s_run_is_said_once(send, wafers):
    with locks.exclusive(wafers, "train_unet") as lock:
        state = send(wafers, "on_load").state
        lock.text = "trained"
    ended = send(wafers, "follow", state)
    assert ended.the("notify") == {"message": "Train the UNet: trained", "variant": "success"}
    assert send(wafers, "follow", ended.state).asked == []


def test_the_recommendation_comes_with_its_figures(open_tab, measured):
    opened = open_tab(measured, "When to stop")
    questions = (overview.progress, overview.ranking, overview.now)
    advice = overview.stopping(*(ask(measured) for ask in questions))
    assert advice.sentence in str(opened.layout)
    assert all(line in str(opened.layout) for line in advice.details)


def test_a_ranking_that_is_no_better_than_random_is_a_plain_warning(
    open_tab, measured, monkeypatch
):
    real = overview.ranking(measured)
    trust = replace(real.trust, verdict="no better than random", is_warning=True, sentence="NO")
    monkeypatch.setattr(overview, "ranking", lambda *a, **k: replace(real, trust=trust))
    dataset = measured.clone()  # not read before
    view = open_tab(dataset, "Ranking").layout["type"]["properties"]["warning"]["view"]
    assert (view["name"], view["label"]) == ("Warning", "NO")
    dataset.delete()


def test_the_workspace_puts_samples_left_and_the_panel_in_front_on_the_right(panel, wafers):
    from unseen.dataset.appearance import WORKSPACE, save_workspace

    assert save_workspace(wafers) == WORKSPACE
    left, right = wafers.load_workspace(WORKSPACE).children
    assert [child.type for child in left.children] == ["Samples"]
    assert right.children[0].type == panel.config.name
    assert right.active_child == right.children[0].component_id
    wafers.save_workspace(WORKSPACE, left, overwrite=True)
    save_workspace(wafers)  # a workspace that the user changed stays as it is
    assert len(wafers.load_workspace(WORKSPACE).children) == 1


def test_two_evaluations_open_side_by_side_once_both_are_there(send, open_tab, measured, models):
    """The events that FiftyOne's Model Evaluation needs (1.22); the browser tests see it happen."""
    import fiftyone as fo

    assert "compare_bar" not in str(open_tab(measured, "Progress").layout)
    dataset = measured.clone()
    unseen.reveal_labels(dataset, iteration=1)
    measure(dataset, models)
    opened = open_tab(dataset, "Progress")
    assert "compare_bar" in str(opened.layout)

    evaluation = fo.Panel(type="model_evaluation_panel_builtin")
    spaces = fo.Space(children=[fo.Space(children=[evaluation])]).to_dict()
    answer = send(dataset, "compare_show", opened.state, spaces=spaces)
    (told,) = [
        g for name, g in answer.asked if name == "patch_panel_state" and "view" in g["state"]
    ]
    assert told["panel_id"] == evaluation.component_id
    view = told["state"]["view"]
    assert (view["key"], view["compareKey"]) == ("iter_01", "iter_00")
    assert view["id"] == str(dataset._doc.evaluations["iter_01"].id)
    assert [e["key"] for e in told["state"]["evaluations"]] == ["iter_00", "iter_01"]

    # The App puts what a field holds into the panel's state.
    state = {**opened.state, "compare_bar": {"older": "iter_01"}}
    answer = send(dataset, "compare", state, spaces=spaces)
    assert "two different" in answer.the("notify")["message"]
    dataset.delete()
