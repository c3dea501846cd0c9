"""Charts show the figures of the tables, each strategy in a look of its own."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from unseen.benchmark.report.charts import difference_chart, finding_chart, quality_chart
from unseen.benchmark.report.differences import differences
from unseen.benchmark.report.finding import finding_tables, rare_boxes, read_findings
from unseen.benchmark.report.runs import read_runs
from unseen.benchmark.report.svg import INK, Axes, looks, nice_ticks
from unseen.report.style import look

from .benchmark_records import record, simulated

POOL = [{"particle": 1}, {"stain": 2}, {"particle": 3}, {"stain": 1}]


def charts(text: str) -> list[ET.Element]:
    """The charts of a block, without the legend's swatches."""
    return [ET.fromstring(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", text)]


def tips(chart: ET.Element) -> list[str]:
    return [e.text or "" for e in chart.iter() if e.tag.endswith("title")]


def test_the_ends_of_the_lines_are_the_figures_of_the_table():
    benchmark = read_runs(simulated(seeds=3))
    table = finding_tables(benchmark, read_findings(benchmark))[0].printed()
    panels = charts(finding_chart(benchmark))
    assert len(panels) == 3
    for column, panel in enumerate(panels, 1):
        shown = dict(tip.removesuffix(" %").split(": ") for tip in tips(panel))
        assert shown == {row[0]: row[column].split(" +-")[0] for row in table.rows}


def test_a_line_never_falls_and_starts_at_nothing_found():
    benchmark = read_runs(simulated(("bare",), 3))
    (panel,) = charts(finding_chart(benchmark))
    lines = [e.attrib["points"] for e in panel.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 5
    for line in lines:
        heights = [float(point.split(",")[1]) for point in line.split()]
        assert heights[0] == 270 - 42  # the axis; px count downwards
        assert heights == sorted(heights, reverse=True)


def test_a_difference_lies_right_of_zero_where_it_is_positive():
    benchmark = read_runs(simulated(("bare", "lookalikes"), 4))
    found = differences(benchmark, rare_boxes(benchmark, read_findings(benchmark)["images"]))
    (panel,) = charts(difference_chart({"equal images": found}, "mixed", "points", 100))
    zero = next(float(e.attrib["x1"]) for e in panel.iter() if e.attrib.get("stroke") == INK)
    marks = {
        tip: e for e in panel.iter() for t in e for tip in [t.text] if e.tag.endswith("circle")
    }
    assert len(marks) == 4 + sum(len(item.cases) for item in found)
    for tip, mark in marks.items():
        value = float(tip.split(": ")[1])
        assert (float(mark.attrib["cx"]) - zero) * value >= -0.1


def test_quality_is_drawn_over_at_least_two_iterations():
    benchmark = read_runs(simulated(("bare",), 2))
    panels = charts(quality_chart(benchmark))
    assert len(panels) == 2  # equal epochs, equal steps
    assert sum(e.tag.endswith("polyline") for e in panels[0].iter()) == 5
    once = [record("bare", s, 0, POOL, [0, 1, 2], f1={"epochs": [None, 0.5]}) for s in "ab"]
    assert quality_chart(read_runs(once)) == ""


def test_without_figures_there_is_no_chart():
    nothing = read_runs([record("bare", "mixed", 0, POOL, [0, 1], rare=())])
    assert finding_chart(nothing) == ""
    assert difference_chart({"equal images": []}, "mixed", "points") == ""


def test_names_in_charts_are_escaped():
    runs = [record("<b>&", s, 0, POOL, [0, 1]) for s in ("a<", "b>")]
    (panel,) = charts(finding_chart(read_runs(runs)))
    assert panel.attrib["aria-label"] == "<b>&"


def test_no_two_strategies_look_the_same_and_known_ones_look_as_always():
    names = ["own", "diverse", "entropy", "random", *(f"peer{k}" for k in range(16))]
    found = looks(names)
    assert len({(style.color, style.dash) for style in found.values()}) == len(names)
    assert found["diverse"] == look("diverse")
    assert found["own"].color == INK
    assert "#000000" not in {style.color for style in looks(["mixed", *names]).values()}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (-0.03, 0.11, [0, 0.05, 0.1]),
        (10, 30, [10, 15, 20, 25, 30]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low, high, expected):
    assert nice_ticks(low, high) == expected


def test_a_range_without_width_has_one_tick():
    assert nice_ticks(3, 3) == [3]
    assert "nan" not in Axes("t", (1, 1), (2, 2), [1], [2]).svg()
