import math

import pytest
from report_facts import CLASSES, FACTS, counted, full_set, metrics, point, scored

from unseen.loop.iteration import ClassMetrics, IterationSummary
from unseen.report.tables import as_html, as_markdown, build_tables, comparison_table

#: Table III of Ivanov et al. 2021: precision, recall, F1 per class for Init, Iter1, Iter2, Full.
TABLE_III = {
    "A": [(0.67, 0.34, 0.45), (0.67, 1.0, 0.8), (1.0, 1.0, 1.0), (0.4, 1.0, 0.58)],
    "B": [(0.4, 0.4, 0.4), (0.34, 0.4, 0.37), (1.0, 0.8, 0.89), (0.4, 0.8, 0.54)],
    "C": [(0.0, 0.0, 0.0), (0.67, 0.09, 0.15), (0.8, 0.67, 0.73), (0.95, 0.71, 0.81)],
}


def paper_iterations() -> list[IterationSummary]:
    found = []
    for i, images in enumerate((10, 20, 30, 194)):
        per_class = {
            label: ClassMetrics(precision=p, recall=r, f1=f, support=20, ap=None)
            for label, (p, r, f) in ((c, rows[i]) for c, rows in TABLE_III.items())
        }
        found.append(
            IterationSummary(
                series="full" if i == 3 else "",
                strategy="full" if i == 3 else "plain",
                iteration=i % 3,
                images=images,
                boxes=images * 5,
                class_counts={},
                per_class=per_class,
                macro_f1=sum(m.f1 for m in per_class.values()) / 3,
            )
        )
    return found


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_no_iterations_are_said_in_words():
    assert comparison_table([], CLASSES) == "No iteration has been recorded yet."


def test_table_three_of_the_paper_is_reproduced():
    rows = cells(comparison_table(paper_iterations(), list("ABC")))

    assert ["Class", "Metric", "Init", "Iter1", "Iter2", "Full"] in rows
    for label, columns in TABLE_III.items():
        precision, recall, f1 = ([f"{c[k]:.2f}" for c in columns] for k in range(3))
        start = rows.index([label, "Precision", *precision])
        assert rows[start + 1] == ["Recall", *recall]
        assert rows[start + 2] == ["F1", "score", *f1]


def test_baselines_stand_beside_the_loop_at_the_same_number_of_images(loop):
    rows = cells(comparison_table([*loop, full_set()], CLASSES))

    header = ["Class", "Metric", "Init", "Iter1", "Iter2", "Full", "Sequential", "Random"]
    assert header in rows
    assert ["F1", "score", "0.28", "0.49", "0.66", "0.63", "0.32", "0.38"] in rows
    assert ["All", "Mean", "F1", "0.30", "0.54", "0.68", "0.67", "0.34", "0.38"] in rows
    assert ["Images", "10", "20", "30", "200", "30", "30"] in rows
    assert ["Boxes", "62", "151", "230", "1260", "184", "193"] in rows


def test_one_class_gives_the_forms_of_tables_one_and_two():
    loop = [point("", "diverse", i, {"dent": 0.5 + i / 10}, {"dent": 9}) for i in range(3)]
    loop.append(point("sequential", "sequential", 2, {"dent": 0.6}, {"dent": 9}))

    first, second, counts = build_tables(loop, ["dent"])

    assert first.header == ("", "Init", "Iter1", "Iter2")
    assert ("F1 score", "0.50", "0.60", "0.70") in first.rows
    assert second.header == ("", "Diverse", "Sequential")
    assert ("F1 score", "0.70", "0.60") in second.rows
    assert ("dent", "9", "9", "9", "9") in counts.rows


def test_without_a_detector_only_the_counts_are_shown():
    loop = [point("", "diverse", i, None, counted(5 + i, 2, 0)) for i in range(2)]

    (table,) = build_tables(loop, CLASSES)

    assert table.header == ("Class", "Init", "Iter1")
    assert ("particle", "5", "6") in table.rows


def test_only_the_initial_images_make_a_table():
    text = comparison_table(
        [point("", "diverse", 0, scored(0.5, 0.4, 0), counted(5, 2, 0))], CLASSES
    )

    assert ["Class", "Metric", "Init"] in cells(text)


def test_a_baseline_with_fewer_images_is_named_below():
    loop = [point("", "diverse", i, scored(0.5, 0.5, 0.5), counted(5, 5, 5)) for i in range(3)]
    loop.append(point("random", "random", 1, scored(0.4, 0.4, 0.4), counted(5, 5, 5)))

    assert "Random was not run with 30 images; its column shows 20." in comparison_table(
        loop, CLASSES
    )


def test_a_class_without_test_boxes_is_undefined_and_said_so():
    per_class = {"a": metrics(0.5), "b": metrics(0.0, support=0)}
    one = point("", "diverse", 0, {"a": 0.5}, {"a": 3})
    one = IterationSummary(**{**vars(one), "per_class": per_class})

    text = comparison_table([one], ["a", "b"])

    assert ["b", "Precision", "-"] in cells(text)
    assert "No boxes in the test split, so undefined (-): b." in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_dashes(value):
    loop = [point("", "diverse", 0, dict.fromkeys(CLASSES, value), counted(1, 1, 1))]

    text = comparison_table(loop, CLASSES).lower()

    assert "nan" not in text
    assert "inf" not in text


def test_the_conditions_stand_below(loop):
    text = comparison_table(loop, CLASSES, FACTS)

    assert "IoU 0.5, predictions from confidence 0.5 on (AP: all), 60 test images" in text
    assert "Faster R-CNN (small), from scratch, schedule: 600 steps" in text


def test_many_classes_and_iterations_stay_a_table_of_even_width():
    classes = [f"class {i}" for i in range(80)]
    loop = [point("", "plain", i, dict.fromkeys(classes, 0.5), {}) for i in range(100)]

    table = build_tables(loop, classes)[0]

    assert len(table.rows) == 80 * 3 + 4
    assert {len(row) for row in table.rows} == {len(table.header)} == {2 + 8}
    assert table.header[2] == "Init"
    assert table.header[-1] == "Iter99"


def test_markdown_and_html_hold_the_same_cells_and_escape_them(loop):
    (table, _) = build_tables(loop, CLASSES)

    assert as_markdown(table).count("0.76") == as_html(table).count("0.76") == 1
    odd = [point("", "plain", 0, {"<b>|": 0.5, "x": 0.5}, {})]
    table = build_tables(odd, ["<b>|", "x"])[0]
    assert "<b>" not in as_html(table)
    assert "&lt;b&gt;\\|" in as_markdown(table)
