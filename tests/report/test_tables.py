import math

import pytest
from report_facts import CLASSES, counted, full_set, metrics, point, scored

from unseen.loop.curves import ClassMetrics, IterationSummary
from unseen.report.table import Column, Spread, Table, cell_text, signed
from unseen.report.tables import build_tables

#: Table III of Ivanov et al. 2021: precision, recall, F1 per class for Init, Iter1, Iter2, Full.
TABLE_III = {
    "A": [(0.67, 0.34, 0.45), (0.67, 1.0, 0.8), (1.0, 1.0, 1.0), (0.4, 1.0, 0.58)],
    "B": [(0.4, 0.4, 0.4), (0.34, 0.4, 0.37), (1.0, 0.8, 0.89), (0.4, 0.8, 0.54)],
    "C": [(0.0, 0.0, 0.0), (0.67, 0.09, 0.15), (0.8, 0.67, 0.73), (0.95, 0.71, 0.81)],
}


def paper_iterations() -> list[IterationSummary]:
    iterations = []
    for i in range(4):
        per_class = {
            label: ClassMetrics(precision=p, recall=r, f1=f, support=20, ap=None)
            for label, (p, r, f) in ((c, rows[i]) for c, rows in TABLE_III.items())
        }
        strategy = "full" if i == 3 else "plain"
        one = point(strategy if i == 3 else "", strategy, i % 3, None, {}, images=10 * (i + 1))
        mean = sum(m.f1 for m in per_class.values()) / 3
        iterations.append(
            IterationSummary(**{**vars(one), "per_class": per_class, "macro_f1": mean})
        )
    return iterations


def text(iterations, classes=CLASSES) -> str:
    return "\n\n".join(table.text() for table in build_tables(iterations, classes))


def rows(*arguments) -> list[list[str]]:
    return [line.split() for line in text(*arguments).splitlines()]


# --- one table -----------------------------------------------------------------------------------
def test_a_table_without_rows_has_a_header_and_what_is_missing_is_a_dash():
    columns = [Column("A"), Column("Score", "score")]
    assert Table(title="t", columns=columns, rows=[]).text().splitlines()[2] == "A  Score"
    table = Table(title="t", columns=columns, rows=[["x", None], ["y", math.nan]])
    assert table.texts == [["x", "-"], ["y", "-"]]
    assert table.to_dict()["rows"][0] == ["x", None]


@pytest.mark.parametrize(
    ("cell", "form", "expected"),
    [
        (Spread(0.5, 0.1, 2), "percent", "50.0 +- 10.0 (n=2)"),
        (Spread(0.5, None, 4), "score", "0.50"),
        (12, "text", "12"),
        (12.34, "tenths", "12.3"),
    ],
)
def test_cells_are_written_in_the_form_of_their_column(cell, form, expected):
    assert cell_text(cell, form, seeds=4) == expected


def test_differences_are_signed_and_zero_has_no_sign():
    assert [signed(v, "percent") for v in (0.031, -0.031, -0.0001)] == ["+3.1", "-3.1", "0.0"]


def test_the_highest_number_of_a_column_is_the_best():
    columns = [Column("A"), Column("B", "score")]
    table = Table(title="t", columns=columns, rows=[["x", 0.5], ["y", 0.7]], has_best=True)
    assert table.best == {(1, 1)}


# --- the tables of a loop ------------------------------------------------------------------------
def test_without_iterations_there_is_no_table():
    assert build_tables([], CLASSES) == []


def test_table_three_of_the_paper_is_reproduced():
    shown = rows(paper_iterations(), list("ABC"))

    assert ["Class", "Metric", "Init", "Iter1", "Iter2", "Full"] in shown
    for label, columns in TABLE_III.items():
        precision, recall, f1 = ([f"{c[k]:.2f}" for c in columns] for k in range(3))
        start = shown.index([label, "Precision", *precision])
        assert shown[start + 1] == ["Recall", *recall]
        assert shown[start + 2] == ["F1", "score", *f1]


def test_baselines_stand_beside_the_loop_at_the_same_number_of_images(loop):
    shown = rows([*loop, full_set()])

    header = ["Class", "Metric", "Init", "Iter1", "Iter2", "Full", "Sequential", "Random"]
    assert header in shown
    assert ["F1", "score", "0.28", "0.49", "0.66", "0.63", "0.32", "0.38"] in shown
    assert ["All", "Mean", "F1", "0.30", "0.54", "0.68", "0.67", "0.34", "0.38"] in shown
    assert ["Images", "10", "20", "30", "200", "30", "30"] in shown
    assert ["Boxes", "62", "151", "230", "1260", "184", "193"] in shown


def test_one_class_gives_the_forms_of_tables_one_and_two():
    loop = [point("", "diverse", i, {"dent": 0.5 + i / 10}, {"dent": 9}) for i in range(3)]
    loop.append(point("sequential", "sequential", 2, {"dent": 0.6}, {"dent": 9}))

    first, second, counts = build_tables(loop, ["dent"])

    assert first.header == ["Metric", "Init", "Iter1", "Iter2"]
    assert ["F1 score", "0.50", "0.60", "0.70"] in first.texts
    assert second.header == ["Metric", "Diverse", "Sequential"]
    assert ["F1 score", "0.70", "0.60"] in second.texts
    assert ["dent", "9", "9", "9", "9"] in counts.texts


def test_without_a_detector_only_the_counts_are_shown():
    loop = [point("", "diverse", i, None, counted(5 + i, 2, 0)) for i in range(2)]

    (table,) = build_tables(loop, CLASSES)

    assert table.header == ["Class", "Init", "Iter1"]
    assert ["particle", "5", "6"] in table.texts


def test_what_the_figures_lack_stands_below(loop):
    loop = [*loop[:3], point("random", "random", 1, scored(0.4, 0.4, 0.4), counted(5, 5, 5))]
    shown = text(loop)

    assert "Random was not run with 30 images; its column shows 20." in shown


def test_a_class_without_test_boxes_is_undefined_and_said_so():
    one = point("", "diverse", 0, {"a": 0.5}, {"a": 3})
    per_class = {"a": metrics(0.5), "b": metrics(0.0, support=0)}
    one = IterationSummary(**{**vars(one), "per_class": per_class})

    assert ["b", "Precision", "-"] in rows([one], ["a", "b"])
    assert "No boxes in the test split, so undefined (-): b." in text([one], ["a", "b"])


def test_many_classes_and_iterations_stay_a_table_of_even_width():
    classes = [f"class {i}" for i in range(80)]
    loop = [point("", "plain", i, dict.fromkeys(classes, 0.5), {}) for i in range(100)]

    table = build_tables(loop, classes)[0]

    assert len(table.rows) == 80 * 3 + 4
    assert {len(row) for row in table.rows} == {len(table.header)} == {2 + 8}
    assert (table.header[2], table.header[-1]) == ("Init", "Iter99")
