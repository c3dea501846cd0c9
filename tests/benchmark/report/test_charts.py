"""Charts show the figures of the tables."""

import pytest

from unseen.benchmark.report.charts import difference_chart, finding_chart
from unseen.benchmark.report.differences import differences
from unseen.benchmark.report.runs import read_runs
from unseen.benchmark.report.tables import finding_tables, rare_boxes, read_findings

from .benchmark_records import record, simulated

POOL = [{"particle": 1}, {"stain": 2}, {"particle": 3}, {"stain": 1}]


@pytest.fixture(scope="module")
def benchmark():
    return read_runs(simulated(("bare", "lookalikes"), 3))


def test_without_figures_there_is_no_chart():
    nothing = read_runs([record("bare", "mixed", 0, POOL, [0, 1], rare=())])
    assert finding_chart(nothing) == difference_chart({"equal images": []}, "mixed", "points") == []


def test_lines_start_at_nothing_found_never_fall_and_end_at_the_figures_of_the_table(benchmark):
    table = finding_tables(benchmark, read_findings(benchmark))[0]
    (figure,) = finding_chart(benchmark)
    lines = [t for t in figure.data if t.mode == "lines"]
    ends = {(t.name, t.xaxis or "x"): t.y[0] for t in figure.data if t.mode == "markers"}
    assert len(lines) == len(ends) == 5 * 2
    for row in table.rows:
        for axis, cell in zip(("x", "x2"), row[1:3], strict=True):
            (line,) = [t for t in lines if (t.name, t.xaxis) == (row[0], axis)]
            assert line.y[0] == 0
            assert list(line.y) == sorted(line.y)
            assert line.y[-1] == pytest.approx(cell.mean)
            assert ends[row[0], axis] == pytest.approx(cell.mean)


def test_differences_and_their_intervals_are_those_of_the_table(benchmark):
    compared = differences(benchmark, rare_boxes(benchmark, read_findings(benchmark)["images"]))
    (figure,) = difference_chart({"equal images": compared}, "mixed", "points", 100)
    rings, marks = figure.data
    assert len(rings.x) == sum(len(d.cases) for d in compared)
    assert list(marks.y) == [d.peer for d in compared]
    for k, d in enumerate(compared):
        low, high = d.overall.interval
        assert marks.x[k] == pytest.approx(100 * d.overall.mean)
        assert marks.x[k] - marks.error_x.arrayminus[k] == pytest.approx(100 * low)
        assert marks.x[k] + marks.error_x.array[k] == pytest.approx(100 * high)


def test_names_in_charts_are_escaped():
    runs = [record("<b>&", s, 0, POOL, [0, 1]) for s in ("a<", "b>")]
    (figure,) = finding_chart(read_runs(runs))
    assert figure.layout.annotations[0].text == "<b>&lt;b&gt;&amp;</b>"
    assert {t.name for t in figure.data} == {"a&lt;", "b&gt;"}
