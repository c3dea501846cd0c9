"""How results and answers show in a notebook and in a terminal, and the notebook of the docs."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import inspect
import io
import json
import types
import typing
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen import overview_data, results
from unseen.notebook.card import MOST_LINES, MOST_ROWS, Card, Link, as_html, as_text, cell, table
from unseen.overview_data import (
    Action,
    Advice,
    Batch,
    BatchRow,
    ClassPoint,
    Counts,
    Curve,
    Interval,
    Now,
    Plain,
    Point,
    Progress,
    Ranking,
    Trust,
)
from unseen.results import (
    ClassMetrics,
    CompareResult,
    EvaluateResult,
    IterationSummary,
    LoadResult,
    NextResult,
    RequestResult,
    ScreenResult,
    SelectResult,
    Skipped,
    StepResult,
    TrainUnetResult,
)

ROOT = Path(__file__).resolve().parents[1]
#: What a class, a file or a person may be called.
HOSTILE = "<script>\"&'</td>"


def classes_below(module, base):
    found = [c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, base)]
    return [c for c in found if c is not base]


SHOWN = [*classes_below(results, StepResult), *classes_below(overview_data, Plain)]


class Page(HTMLParser):
    """What a browser would read: checks that tags close, keeps text, tables and links."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tables, self.links, self.attributes = [], [], [], [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes |= {tag, *(f"{tag} {name}={value}" for name, value in attrs)}
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def made(kind, *, full, hint=None, name=""):
    """A value of a type: empty, zero and None, or everything there and hostile."""
    hint = kind if hint is None else hint
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return made(kind, full=full, hint=inside[0], name=name) if full else None
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        values = {
            f.name: made(kind, full=full, hint=hints[f.name], name=f"{hint.__name__}.{f.name}")
            for f in dataclasses.fields(hint)
        }
        return hint(**values)
    if name == "RequestResult.tasks":
        return [{"name": HOSTILE, "url": HOSTILE, "images": 3}] if full else []
    if origin is list:
        return [made(kind, full=full, hint=inside[0])] * 15 if full else []
    if origin is dict:
        return {HOSTILE: made(kind, full=full, hint=inside[1])} if full else {}
    plain = {str: HOSTILE, int: 1234, float: 0.25, bool: True, typing.Any: HOSTILE}
    return plain[hint] if full else {str: "", int: 0, float: 0.0, bool: False}[hint]


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_everything_shows_as_safe_html_that_fits_every_theme(kind, full):
    page = Page(made(kind, full=full)._repr_html_())
    assert "".join(page.text).strip()
    sides = {f"{tag} style=text-align: {s}" for tag in ("td", "th") for s in ("left", "right")}
    tags = {"div", "strong", "em", "br", "table", "thead", "tbody", "tr", "td", "th", "a"}
    assert page.attributes <= tags | sides


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_the_text_of_everything_is_short_and_begins_with_its_class(kind, full):
    text = repr(made(kind, full=full))
    assert text.startswith(f"{kind.__name__}: ")
    assert len(text.split("\n")) <= MOST_LINES + 1
    assert max(map(len, text.split("\n"))) < 330
    assert len(text) > len(f"{kind.__name__}: ")


def test_a_repr_of_its_own_is_kept():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Own(StepResult):
        def __repr__(self):
            return "own"

    assert repr(Own(dataset="wafers")) == "own"


def test_a_result_that_nothing_is_known_of_shows_its_fields():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class New(StepResult):
        polished: int
        dull: int = 0
        grain: float | None = None
        notes: list = dataclasses.field(default_factory=list)

    page = Page(New(dataset="wafers", polished=3)._repr_html_())
    assert page.tables == [[["Polished", "3"], ["Dull", "0"]]]
    assert "wafers" in "".join(page.text)


# --- results ---------------------------------------------------------------------------------------
def test_an_evaluation_shows_a_row_per_class_and_their_mean():
    metrics = ClassMetrics(precision=0.5, recall=0.4, f1=0.444, support=12, ap=0.3)
    absent = ClassMetrics(precision=0.0, recall=0.0, f1=0.0, support=0, ap=None)
    result = EvaluateResult(
        dataset="wafers",
        iteration=1,
        eval_key="iter_01",
        images=60,
        iou=0.5,
        min_confidence=0.5,
        per_class={"stain": metrics, "crack": absent},
        macro_f1=0.444,
        mean_ap=0.3,
    )
    page = Page(result._repr_html_())
    assert page.tables[0] == [
        ["Class", "Test boxes", "Precision", "Recall", "F1", "AP"],
        ["stain", "12", "0.50", "0.40", "0.44", "0.30"],
        ["crack", "0", "0.00", "0.00", "0.00", "-"],
        ["mean", "-", "-", "-", "0.44", "0.30"],
    ]
    assert "".join(page.text).startswith("Mean F1 0.444, AP 0.300 on 60 images.")
    assert "stain P 0.50" in repr(result)


def test_a_selection_lists_the_batch_in_rank_order():
    ids = [f"{i:024x}" for i in range(30)]
    result = SelectResult(
        dataset="wafers", iteration=1, batch="batch_01", strategy="plain", sample_ids=ids, pool=90
    )
    page = Page(result._repr_html_())
    rows = page.tables[0][1:]
    assert rows == [[str(rank), ids[rank - 1]] for rank in range(1, MOST_ROWS + 1)]
    assert f"... and {30 - MOST_ROWS} more" in page.text


def test_what_was_skipped_is_counted_and_not_listed_to_the_end():
    skipped = [
        Skipped(sample_id=str(i), filepath=f"/images/{i:03d}.png", reason="blank")
        for i in range(200)
    ]
    result = ScreenResult(
        dataset="wafers", checked=900, excluded={"blank": 200, "partial": 0}, skipped=skipped
    )
    page = Page(result._repr_html_())
    assert page.tables[0] == [["Excluded", "Images"], ["blank", "200"]]
    assert page.tables[1][1] == ["000.png", "blank"]
    assert f"... and {200 - MOST_ROWS} more" in page.text
    assert repr(result).count("\n") == 0


def test_a_checkpoint_is_named_without_its_folder():
    result = TrainUnetResult(
        dataset="wafers",
        iteration=0,
        checkpoint="/home/anna/models/unet_00_1f.safetensors",
        digest="1f",
        mode="recommended",
        images=10,
        boxes=60,
        classes=["particle"],
        class_counts={"particle": 60},
        working_scale=1.0,
        steps=300,
        final_loss=0.1,
        device="cpu",
    )
    page = Page(result._repr_html_())
    assert page.tables[0] == [["Class", "Boxes"], ["particle", "60"]]
    assert ["Checkpoint", "unet_00_1f.safetensors"] in page.tables[-1]
    assert "anna" not in result._repr_html_() + repr(result)


def test_loaded_labels_are_a_table_of_classes_and_changes():
    values = made(LoadResult, full=False).to_dict()
    values |= {"added": {"stain": 3}, "changed": {"scratch": 1}, "deleted": {"stain": 2}}
    page = Page(LoadResult(**values)._repr_html_())
    assert page.tables[0] == [
        ["Class", "Added", "Changed", "Deleted", "From suggestions"],
        ["stain", "3", "0", "2", "0"],
        ["scratch", "0", "1", "0", "0"],
    ]


def test_a_turn_of_the_loop_has_a_line_per_step():
    result = NextResult(
        dataset="wafers", iteration=1, done=["trained", "scored"], waits_for="labels"
    )
    assert repr(result) == "NextResult: trained\n  scored\n  Waiting: labels"
    assert "".join(Page(result._repr_html_()).text) == "trainedscoredWaiting: labels"


def test_a_comparison_shows_every_iteration_and_a_report_below_here_by_its_short_path(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    point = IterationSummary(
        series="", strategy="diverse", iteration=0, images=10, boxes=70, class_counts={}
    )
    metrics = ClassMetrics(precision=0.5, recall=0.5, f1=0.5, support=4, ap=0.4)
    measured = dataclasses.replace(
        point, iteration=1, per_class={"stain": metrics}, macro_f1=0.5, mean_ap=0.4
    )
    result = CompareResult(
        dataset="wafers",
        classes=["stain"],
        iterations=[point, measured],
        table="a table of many lines",
        report=str(tmp_path / "report" / "index.html"),
    )
    page = Page(result._repr_html_())
    assert page.tables[0][1:] == [
        ["diverse", "0", "10", "70", "-", "-", "-"],
        ["diverse", "1", "10", "70", "0.50", "0.50", "0.40"],
    ]
    assert repr(result).endswith("Report: report/index.html")
    elsewhere = dataclasses.replace(result, report="/elsewhere/index.html")
    assert repr(elsewhere).endswith("Report: /elsewhere/index.html")


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("http://cvat/tasks/1?a=1&b=2", ["http://cvat/tasks/1?a=1&b=2"]),
        ("javascript:alert(1)", []),
        ("http://[", ["http://["]),
        (None, []),
    ],
)
def test_only_addresses_of_pages_become_links(url, links):
    values = made(RequestResult, full=False).to_dict()
    values["tasks"] = [{"name": "batch 1 <a>", "url": url, "images": 4}]
    page = Page(RequestResult(**values)._repr_html_())
    assert page.links == links
    assert page.tables[0][1] == ["batch 1 <a>", "4"]


# --- answers ---------------------------------------------------------------------------------------
COUNTS = Counts(images=100, labelled=10, boxes=70, pool=70, unscored=5, test=20)
ACTION = Action(operator="train_unet", label="Train the UNet", reason="10 images are new.")


def test_where_the_loop_stands_names_the_next_action_with_its_reason():
    now = Now(
        dataset="wafers",
        iteration=0,
        counts=COUNTS,
        batch=Batch(name="batch_01", number=1, images=8, labelled=2, backend="cvat"),
        next_action=ACTION,
        other_actions=[dataclasses.replace(ACTION, label="Score")],
        hints=["5 images have no score."],
    )
    page = Page(now._repr_html_())
    text = "".join(page.text)
    assert "Next: Train the UNet. 10 images are new." in text
    assert "5 images have no score." in text
    assert "batch_01: 2 of 8 images labelled, with the annotators (cvat)." in text
    assert ["Labelled", "10 images, 70 boxes"] in page.tables[0]
    assert ["Pool", "70, 5 not scored by the newest UNet"] in page.tables[0]
    assert page.tables[1] == [["Score", "10 images are new."]]
    assert "Train the UNet" in repr(now)


def test_a_ranking_shows_how_far_to_trust_it_and_the_batch_with_links():
    row = BatchRow(
        sample_id="1",
        rank=1,
        filename="000063.png",
        value=41.25,
        regions=3,
        is_labelled=False,
        annotation="sent",
        url="http://cvat/1",
    )
    ranking = Ranking(
        dataset="wafers",
        metric="excess",
        field="unseen_excess",
        scored=70,
        histogram=None,
        batch=Batch(name="batch_01", number=1, images=1, labelled=0),
        rows=[row, dataclasses.replace(row, rank=None, value=None, regions=None, url=None)],
        trust=Trust(verdict="weak", sentence="No label tells yet.", details=["One more thing."]),
    )
    page = Page(ranking._repr_html_())
    assert "How far to trust it: weak. No label tells yet." in page.text
    assert "One more thing." in page.text
    assert page.links == ["http://cvat/1"]
    assert page.tables[0] == [
        ["Image", "Rank", "Excess", "Regions", "Labelled"],
        ["000063.png", "1", "41.2", "3", "no"],
        ["000063.png", "-", "-", "-", "no"],
    ]
    empty = dataclasses.replace(ranking, empty_state="Nothing is scored.", rows=[])
    assert Page(empty._repr_html_()).tables == []


def test_progress_is_a_table_of_iterations_and_classes():
    interval = Interval(low=0.4, high=0.6)
    cell_ = ClassPoint(precision=0.5, recall=0.5, f1=0.5, support=9, interval=interval)
    point = Point(
        iteration=1,
        images=20,
        boxes=140,
        class_counts={},
        balance=None,
        macro_f1=0.5,
        macro_interval=interval,
        mean_ap=None,
        per_class={"stain": cell_},
        eval_key=None,
    )
    curve = Curve(series="", strategy="diverse", label="Diverse", is_main=True, points=[point])
    progress = Progress(
        dataset="wafers",
        classes=["stain", "crack"],
        curves=[curve],
        rows=[],
        eval_keys=[],
        test_images=40,
        iou=0.5,
    )
    page = Page(progress._repr_html_())
    assert page.tables[0] == [
        ["Loop", "Iteration", "Images", "Boxes", "Mean F1 (95 %)", "AP", "F1 stain", "F1 crack"],
        ["Diverse", "1", "20", "140", "0.50 (0.40 to 0.60)", "-", "0.50", "-"],
    ]
    assert "40 test images at IoU 0.5." in repr(progress)
    assert "mean F1 0.50" in repr(curve)
    assert repr([interval, None]) == "[Interval: 0.40 to 0.60, None]"


def test_advice_begins_with_what_it_recommends():
    advice = Advice(recommendation="look at class", class_name="stain", sentence="It lags behind.")
    assert repr(advice) == "Advice: Look at class stain: It lags behind."


# --- cards -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (True, "yes"),
        (12345, "12,345"),
        (0.012345, "0.0123"),
        (1e-7, "1e-07"),
        (12345.6, "12,346"),
        ([], "-"),
        (["a", "b"], "a, b"),
        ({"a": 1, "b": None}, "a 1, b -"),
    ],
)
def test_values_are_written_for_people(value, text):
    assert cell(value) == text


def test_an_empty_table_is_no_table():
    assert table([]) == []
    assert Page(as_html(Card("Nothing."))).tables == []


def test_long_texts_are_cut_in_a_terminal_and_whole_in_a_notebook():
    card = Card("word " * 200, [f"line {i}" for i in range(30)], name="Long")
    assert as_text(card).split("\n")[-1].strip() == f"... {31 - MOST_LINES} more lines"
    assert "line 29" in Page(as_html(card)).text


def test_texts_are_escaped_wherever_they_stand():
    found = table([(HOSTILE, Link(HOSTILE, "http://x/?" + HOSTILE))], (HOSTILE, "b"), HOSTILE)
    page = Page(as_html(Card(HOSTILE, [HOSTILE], found)))
    assert "script" not in page.attributes
    assert page.tables[0][1] == [HOSTILE, HOSTILE]
    assert page.links == ["http://x/?" + HOSTILE]


# --- the notebook of the docs ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def example():
    return json.loads((ROOT / "docs/example.ipynb").read_text(encoding="utf-8"))


def script(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def maker():
    return script("notebook")


def test_the_notebook_has_the_cells_that_its_maker_writes(example, maker):
    cells = [(c["cell_type"], "".join(c["source"])) for c in example["cells"]]
    assert cells == [(kind, text.strip("\n")) for kind, text in maker.CELLS], "run `make notebook`"


def test_the_notebook_is_valid(example):
    # What the schema of version 4.5 asks for; the maker validates against the schema itself.
    assert (example["nbformat"], example["nbformat_minor"]) == (4, 5)
    assert example["metadata"]["kernelspec"]["language"] == "python"
    assert len({c["id"] for c in example["cells"]}) == len(example["cells"])
    for found in example["cells"]:
        assert found["cell_type"] in ("markdown", "code")
        if found["cell_type"] == "code":
            assert {"execution_count", "outputs", "metadata"} <= set(found)


def test_the_notebook_was_run_from_its_first_cell_to_the_last_without_an_error(example):
    code = [c for c in example["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    outputs = [o for c in code for o in c["outputs"]]
    assert {o["output_type"] for o in outputs} <= {"display_data", "execute_result"}
    pictures = [o for o in outputs if "image/png" in o["data"]]
    assert len(pictures) == sum(c["source"][-1].endswith(".show()") for c in code) + 1


def test_the_notebook_is_small_enough_to_be_shown(example):
    assert (ROOT / "docs/example.ipynb").stat().st_size < 1_000_000


def test_a_stored_figure_is_opaque_and_white_where_it_was_transparent(maker):
    pixels = np.zeros((4, 6, 4), dtype=np.uint8)
    pixels[1, 2] = (255, 109, 4, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    stored = maker.on_white(base64.b64encode(file.getvalue()).decode())
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(stored))).convert("RGBA"))
    assert (found[..., 3] == 255).all()
    assert tuple(found[1, 2, :3]) == (255, 109, 4)
    assert (found[0] == 255).all()


@pytest.mark.parametrize("private", ["/tmp/unseen-1/wafers/a.png", '"name": "stderr"'])
def test_a_notebook_with_a_path_or_a_warning_is_not_written(maker, private):
    maker.check("a clean text", ["/tmp/unseen-1"])
    with pytest.raises(SystemExit, match="nothing was written"):
        maker.check(f"a text with {private}", ["/tmp/unseen-1"])


# --- the pictures of the App -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def pictures():
    return script("app_pictures")


def test_the_pictures_of_the_app_are_small_and_used(pictures):
    pages = [(ROOT / page).read_text() for page in ("README.md", "docs/guide.md")]
    found = sorted((ROOT / "docs/pictures").glob("app_*.png"))
    assert found
    for path in found:
        assert path.stat().st_size < pictures.LARGEST
        assert any(f"pictures/{path.name})" in page for page in pages), f"{path.name} is not used"


def test_few_colours_keep_the_colour_of_a_small_mark_in_a_grey_picture(pictures, rng):
    pixels = np.repeat(rng.integers(60, 180, (64, 64, 1), dtype=np.uint8), 3, axis=2)
    pixels[10:14, 20:24] = (255, 0, 200)
    pixels[30:] = 26  # a surface of the App
    found = np.asarray(pictures.few_colours(Image.fromarray(pixels), 26).convert("RGB")).astype(int)
    assert (found[10:14, 20:24] == (255, 0, 200)).all()
    assert (found[30:] == 26).all()
    assert np.abs(found - pixels).max() <= 255 / 17


def test_empty_rows_at_the_bottom_are_cut_off_but_for_a_margin(pictures):
    pixels = np.full((200, 30, 3), 26, dtype=np.uint8)
    pixels[:50] = 240
    assert pictures.trimmed(Image.fromarray(pixels)).size == (30, 49 + pictures.MARGIN)
    assert pictures.trimmed(Image.fromarray(pixels[:50])).size == (30, 50)
