"""The files of a benchmark: whole, self-contained, and made from any subset of its runs."""

import json
import re
from pathlib import Path

import pytest

from unseen.benchmark.report.write import write_benchmark
from unseen.errors import UnseenError

from .benchmark_records import record, simulated

POOL = [{"particle": 1}, {"stain": 2}, {"particle": 3}, {"stain": 1}]


def small(name: str = "mixed", case: str = "bare"):
    return [record(case, name, 0, POOL, [0, 1]), record(case, "random", 0, POOL, [0, 2])]


def text_of(written, kind: str = "html") -> str:
    return Path(written[kind]).read_text()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_benchmark(simulated(seeds=3), tmp_path_factory.mktemp("benchmark") / "new")


def test_both_files_say_the_same(large):
    names = sorted(path.name for path in Path(large["html"]).parent.iterdir())
    assert names == ["benchmark.html", "benchmark.json"]
    page, data = text_of(large), json.loads(text_of(large, "json"))
    for text in (page, large["text"]):
        assert data["headline"] in text
    for table in data["tables"]:
        assert table["title"] in page
    assert len(data["runs"]) == 3 * 6 * 3
    assert 0 <= data["runs"][0]["equal_images"]["rare_boxes"] <= 1


def test_the_page_loads_nothing(large):
    page = text_of(large)
    tags = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href|url)\s*[=(]""", tags)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 6e6


def test_names_are_escaped(tmp_path):
    written = write_benchmark(small("<i>mixed</i>", "a|<b>"), tmp_path)
    page = text_of(written)
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "<i>mixed" not in text
    assert "a|<b>" not in text
    assert "&lt;i&gt;mixed&lt;/i&gt;" in page


def test_what_is_missing_is_named(tmp_path):
    written = write_benchmark([*small(), *small(case="device")[:1]], tmp_path)
    assert "random on device, seed 0" in text_of(written)
    assert json.loads(text_of(written, "json"))["missing"] == [["device", "random", 0]]


SUBSETS = {
    "no detectors and no full": simulated(("bare",), 1, detectors=False, full=False),
    "one seed": simulated(("bare", "device"), 1),
    "one run": simulated(("bare",), 3)[:1],
    "full only": [r for r in simulated(("bare",), 2) if r["strategy"] == "full"],
    "nothing rare": [{**r, "rare": []} for r in simulated(("bare",), 3)],
    "no batch": [record("x", s, 0, POOL, [0]) for s in ("mixed", "random")],
    "no boxes": [record("x", s, 0, [{}, {}], [0, 1]) for s in ("mixed", "random")],
}


@pytest.mark.parametrize("records", SUBSETS.values(), ids=SUBSETS)
def test_any_subset_makes_a_report(tmp_path, records):
    written = write_benchmark(records, tmp_path)
    assert json.loads(text_of(written, "json"))["headline"]
    page = re.sub(r"<(script|style).*?</\1>", "", text_of(written), flags=re.DOTALL)
    assert not re.search(r"\b(nan|None|inf)\b", page)


def test_the_order_of_the_records_changes_no_figure(tmp_path):
    records = simulated(("bare", "device"), 3)
    order = sorted(range(len(records)), key=lambda i: (-records[i]["seed"], i))
    forth = write_benchmark(records, tmp_path / "a", first="mixed")
    back = write_benchmark([records[i] for i in order], tmp_path / "b", first="mixed")
    a, b = (json.loads(text_of(w, "json")) for w in (forth, back))
    assert a["tables"] == b["tables"]
    assert a["headline"] == b["headline"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnseenError, match=r"benchmark\.html cannot be written"):
        write_benchmark(small(), tmp_path / "file")
