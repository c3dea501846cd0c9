import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from report_facts import CLASSES, FACTS, counted, full_set, point, ranked_batches

from unseen.annotation import Agreement
from unseen.errors import UnseenError
from unseen.report.figures import looks
from unseen.report.loop_figures import MAX_CLASSES, loop_figures
from unseen.report.pictures import BatchPicture
from unseen.report.write_report import write_report


class Tags(HTMLParser):
    """All tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def write(folder, loop, batches=(), classes=CLASSES, title="Wafers", facts=FACTS):
    return write_report(
        folder,
        title=title,
        classes=classes,
        iterations=loop,
        batches=batches,
        facts=facts,
    )


def test_an_empty_loop_fills_an_empty_folder_with_a_page_that_says_so(tmp_path):
    (tmp_path / "report").mkdir()

    files = write(tmp_path / "report", [])

    page = files.html.read_text(encoding="utf-8")
    assert "Nothing to report yet." in page
    assert "Plotly.newPlot" not in page
    assert (files.pictures, files.text) == ([], "")


def test_people_are_compared_where_something_was_shown_for_that(tmp_path):
    counts = {"images": 3, "agreed": 3, "missed": 1, "extra": 1}
    rows = [
        Agreement(annotator="ann", compared_with=kind, label="pit", **counts)
        for kind in ("golden", "second")
    ]
    files = write_report(
        tmp_path / "report",
        title="Wafers",
        classes=CLASSES,
        iterations=[],
        batches=[],
        facts=FACTS,
        agreement=rows,
    )
    lines = files.text.splitlines()
    assert "How well people label" in lines[0]
    found = [line.split() for line in lines if line.startswith("ann")]
    assert [line[-5:] for line in found] == [["3", "3", "1", "1", "75.0"]] * 2
    assert "labelled test images" in files.html.read_text(encoding="utf-8")


def test_the_whole_report_opens_with_the_verdict_and_loads_nothing(tmp_path, loop):
    batches = ranked_batches(tmp_path, per_batch=4)

    files = write(tmp_path / "report", [*loop, full_set()], batches)

    assert [p.name for p in files.pictures] == ["ranked_batch_01.jpg", "ranked_batch_02.jpg"]
    assert all(p.is_file() for p in [files.html, *files.pictures])
    assert files.html.stat().st_size < 6e6
    page = files.html.read_text(encoding="utf-8")
    tags = Tags(page).tags
    for tag, attributes in tags:
        for name in ("src", "href", "data", "srcset", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert not re.search(r"@import|url\(", page[page.index("<style>") : page.index("</style>")])
    assert sum(tag == "img" for tag, _ in tags) == 2
    assert page.count('class="plotly-graph-div"') == 4
    assert page.index("The ranking earned its keep.") < page.index("plotly-graph-div")
    assert "<td>F1 score</td><td class=n>0.28</td>" in page
    assert "0.28" in files.text


def test_text_of_users_is_escaped_everywhere(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x>"
    loop = [point("", "diverse", i, {evil: 0.5, "b": 0.4}, {evil: 3, "b": 2}) for i in range(2)]
    loop.append(point("x", evil, 1, {evil: 0.5, "b": 0.4}, {evil: 3, "b": 2}))
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    batch = BatchPicture(
        batch=evil,
        iteration=1,
        rank=1,
        filepath=str(tmp_path / "a.png"),
        metric_name=evil,
        metric_value=None,
    )

    files = write(tmp_path / "report", loop, [batch], [evil, "b"], evil, {evil: evil})

    page = files.html.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "&lt;/script&gt;" in page
    assert all(p.parent == files.html.parent for p in files.pictures)


def test_an_earlier_report_is_never_overwritten(tmp_path, loop):
    files = write(tmp_path / "report", [])
    before = files.html.read_bytes()

    with pytest.raises(UnseenError, match="choose a new folder"):
        write(tmp_path / "report", loop)

    assert files.html.read_bytes() == before


def test_a_failing_report_leaves_nothing_behind(tmp_path, loop, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unseen.report.write_report.loop_figures", full_disk)

    with pytest.raises(UnseenError, match="No space left"):
        write(tmp_path / "report", loop)

    assert list(tmp_path.iterdir()) == []


def test_figures_hold_the_numbers_of_the_input(loop):
    figures = {f.key: f.figures[0] for f in loop_figures(loop, CLASSES)}

    mean = {t.name: t for t in figures["quality-images"].data if t.xaxis == "x"}
    assert list(mean["Diverse"].x) == [10, 20, 30]
    assert list(mean["Diverse"].y) == [p.macro_f1 for p in loop[:3]]
    assert list(mean["Random"].x) == [10, 20, 30]  # from the shared initial images on
    boxes = next(t for t in figures["quality-boxes"].data if t.name == "Diverse")
    assert list(boxes.x) == [62, 151, 230]
    assert mean["Diverse"].line.width > mean["Random"].line.width
    assert mean["Diverse"].line.color != mean["Random"].line.color


def test_where_the_hours_of_work_are_known_there_is_a_curve_of_them(loop):
    hours = [replace(p, hours=[0.5, 1.5, None][p.iteration]) if not p.series else p for p in loop]
    figures = {f.key: f.figures[0] for f in loop_figures(hours, CLASSES)}
    lines = {t.name: t for t in figures["quality-hours"].data if t.xaxis == "x"}
    assert list(lines["Diverse"].x) == [0.5, 1.5]
    assert list(lines["Diverse"].y) == [p.macro_f1 for p in loop[:2]]
    assert list(lines["Random"].x) == [0.5]  # the shared initial images; the rest is unknown
    assert "quality-hours" not in {f.key for f in loop_figures(loop, CLASSES)}


def test_without_a_detector_there_are_figures_of_the_labels_only():
    loop = [point("", "diverse", i, None, counted(5 + i, 2, 0)) for i in range(2)]

    assert [f.key for f in loop_figures(loop, CLASSES)] == ["discovery", "time"]


def test_many_classes_are_limited_to_the_rarest():
    classes = [f"class {i}" for i in range(80)]
    counts = {c: i for i, c in enumerate(classes)}
    loop = [point("", "plain", i, dict.fromkeys(classes, 0.5), counts) for i in range(2)]

    discovery = next(f for f in loop_figures(loop, classes) if f.key == "discovery")

    assert len(discovery.figures[0].data) == 1 + MAX_CLASSES  # balance, and a panel per class


def test_no_two_strategies_look_the_same_and_known_ones_look_as_always():
    names = ["own", "diverse", "entropy", "random", "random", *(f"peer{k}" for k in range(15))]
    styles = looks(names)
    assert len({(style.color, style.dash) for style in styles}) == len(names)
    assert styles[1:2] == looks(["diverse"])
    assert looks([]) == []
