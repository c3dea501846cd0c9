import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report_facts import CLASSES, FACTS, counted, full_set, point, wafer_batches

from unseen.errors import UnseenError
from unseen.report.data import BatchPicture
from unseen.report.figures import MAX_CLASSES, report_figures
from unseen.report.tables import comparison_table
from unseen.report.write_report import write_report


class Tags(HTMLParser):
    """All tags with their attributes, scripts left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.texts.append(data)


def write(folder, loop, batches=(), classes=CLASSES, title="Wafers", facts=FACTS):
    return write_report(
        folder,
        title=title,
        dataset="wafers",
        classes=classes,
        iterations=loop,
        batches=batches,
        facts=facts,
        table_text=comparison_table(loop, classes, facts),
    )


def test_an_empty_loop_makes_a_page_that_says_so(tmp_path):
    files = write(tmp_path / "report", [])

    page = files.html.read_text(encoding="utf-8")
    assert "Nothing to report yet." in page
    assert "Plotly.newPlot" not in page
    assert files.pictures == []


def test_the_whole_report_opens_with_the_verdict_and_loads_nothing(tmp_path, loop):
    batches = wafer_batches(tmp_path, per_batch=4)

    files = write(tmp_path / "report", [*loop, full_set()], batches)

    assert [p.name for p in files.pictures] == [
        "learning_curve.png",
        "class_balance.png",
        "ranked_batch_01.png",
        "ranked_batch_02.png",
    ]
    assert all(p.is_file() for p in [files.html, *files.pictures, *files.tables])
    page = files.html.read_text(encoding="utf-8")
    parsed = Tags(page)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "data", "srcset", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
    assert not re.search(r"@import|url\(", page[page.index("<style>") : page.index("</style>")])
    assert sum(tag == "img" for tag, _ in parsed.tags) == 2
    assert page.count("Plotly.newPlot(") >= 5
    assert page.index("The ranking earned its keep.") < page.index("Plotly.newPlot(")


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
        sample_id="0",
        metric_name=evil,
        metric_value=1.0,
    )

    files = write(
        tmp_path / "report", loop, [batch], classes=[evil, "b"], title=evil, facts={evil: evil}
    )

    page = files.html.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "&lt;/script&gt;" in page
    assert all(p.parent == files.html.parent for p in files.pictures)


def test_an_earlier_report_is_never_overwritten(tmp_path, loop):
    files = write(tmp_path / "report", loop)
    before = files.html.read_bytes()

    with pytest.raises(UnseenError, match="choose a new folder"):
        write(tmp_path / "report", loop[:1])

    assert files.html.read_bytes() == before


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "report").mkdir()

    assert write(tmp_path / "report", []).html.is_file()


def test_a_failing_report_leaves_nothing_behind(tmp_path, loop, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unseen.report.write_report.class_balance", full_disk)

    with pytest.raises(UnseenError, match="No space left"):
        write(tmp_path / "report", loop)

    assert list(tmp_path.iterdir()) == []


def test_a_batch_with_an_unreadable_image_still_makes_a_report(tmp_path, loop):
    batch = BatchPicture(
        batch="batch_01",
        iteration=1,
        rank=1,
        filepath=str(tmp_path / "gone.png"),
        sample_id="0",
        metric_name="excess",
        metric_value=None,
        heatmap=np.zeros((4, 4), np.uint8),
    )

    assert write(tmp_path / "report", loop, [batch]).html.is_file()


def test_figures_hold_the_numbers_of_the_input(loop):
    figures = {f.key: f.figure for f in report_figures(loop, CLASSES)}

    mean = [t for t in figures["quality-images"].data if t.xaxis == "x"]
    main = next(t for t in mean if t.name == "Diverse")
    assert list(main.x) == [10, 20, 30]
    assert list(main.y) == [p.macro_f1 for p in loop[:3]]
    random = next(t for t in mean if t.name == "Random")
    assert list(random.x) == [10, 20, 30]  # from the shared initial images on
    boxes = next(t for t in figures["quality-boxes"].data if t.name == "Diverse")
    assert list(boxes.x) == [62, 151, 230]
    assert main.line.width > random.line.width


def test_without_a_detector_there_are_figures_of_the_labels_only():
    loop = [point("", "diverse", i, None, counted(5 + i, 2, 0)) for i in range(2)]

    assert [f.key for f in report_figures(loop, CLASSES)] == ["discovery", "balance", "time"]


def test_many_classes_are_limited_to_the_rarest():
    classes = [f"class {i}" for i in range(80)]
    counts = {c: i for i, c in enumerate(classes)}
    loop = [point("", "plain", i, dict.fromkeys(classes, 0.5), counts) for i in range(2)]

    discovery = next(f for f in report_figures(loop, classes) if f.key == "discovery")

    assert len(discovery.figure.data) == MAX_CLASSES
