from dataclasses import replace

import pytest
from report_facts import point

from unseen.detector.calibration import ReliabilityBin
from unseen.loop.curves import ErrorKind
from unseen.loop.mistakes import read_mistakes
from unseen.loop.overview_data import Histogram, Interval, Ranking, Trust
from unseen.loop.progress_data import ClassPoint, Curve, Point, Progress
from unseen.report import plots
from unseen.report.figures import looks


def progress(*curves: Curve) -> Progress:
    return Progress(dataset="d", classes=["a", "b"], curves=list(curves), eval_keys=[])


def curve(label: str, *f1: float | None) -> Curve:
    points = [
        Point(
            series="",
            strategy="mixed",
            iteration=k,
            images=10 * (k + 1),
            boxes=100 * (k + 1),
            class_counts={"a": 3, "other": k},
            balance=None,
            macro_f1=value,
            macro_interval=Interval(low=value - 0.1, high=value + 0.2) if value else None,
            mean_ap=value,
            per_class={"a": ClassPoint(precision=1, recall=1, f1=value, support=9)}
            if value
            else {},
            eval_key=None,
        )
        for k, value in enumerate(f1)
    ]
    is_main = label == "Main"
    strategy = "mixed" if is_main else label.lower()
    return Curve(series="", strategy=strategy, label=label, is_main=is_main, points=points)


def test_an_empty_loop_draws_empty_figures():
    for draw in (plots.learning_curve, plots.class_curves, plots.class_balance):
        assert not any(trace.y for trace in draw(progress()).data)


def test_points_whose_hours_are_unknown_are_left_out_of_a_curve_of_hours():
    main, random = curve("Main", 0.2, 0.3, 0.5), curve("Random", 0.2)
    hours = [0.0, 1.5, None]
    points = [replace(p, hours=h) for p, h in zip(main.points, hours, strict=True)]
    given = progress(replace(main, points=points), random)
    for draw in (plots.learning_curve, plots.class_curves):
        figure = draw(given, against="hours")
        (line,) = [t for t in figure.data if t.name in ("Main", "a")]
        assert (list(line.x), list(line.y)) == ([0.0, 1.5], [0.2, 0.3])
        assert figure.layout.xaxis.title.text == "Hours of labelling"
        assert not [t for t in figure.data if t.name == "Random"]


@pytest.mark.parametrize(("against", "x"), [("images", [20, 30]), ("boxes", [200, 300])])
def test_a_learning_curve_has_what_was_measured_with_its_intervals(against, x):
    given = progress(curve("Main", None, 0.3, 0.5), curve("Random", 0.2))
    lines = {t.name: t for t in plots.learning_curve(given, against=against).data}
    main = lines["Main"]
    assert (list(main.x), list(main.y)) == (x, [0.3, 0.5])
    assert list(main.error_y.array) == pytest.approx([0.2, 0.2])
    assert list(main.error_y.arrayminus) == pytest.approx([0.1, 0.1])
    # As in the report.
    styles = [line.color for line in looks(["mixed", "random"])]
    assert [main.line.color, lines["Random"].line.color] == styles
    first = plots.learning_curve(given, metric="ap").data[0]
    assert first.error_y.array is None


def test_classes_are_drawn_for_the_main_loop_only():
    given = progress(curve("Main", 0.3, 0.5), curve("Random", 0.2))
    lines = {t.name: list(t.y) for t in plots.class_curves(given).data}
    assert lines == {"a": [0.3, 0.5], "b": []}
    bars = {t.name: list(t.y) for t in plots.class_balance(given).data}
    assert bars == {"a": [3, 3], "b": [0, 0], "other": [0, 1]}


def test_errors_and_calibration_show_what_was_counted():
    errors = {
        "missed": ErrorKind(cost=0.2, counts={"a": 3, "b": 1}),
        "class": ErrorKind(cost=0.1, counts={}),
    }
    reliability = [ReliabilityBin(0.25, 1, 4), ReliabilityBin(1.0, 2, 2)]
    measured = replace(
        point("", "mixed", 0, {"a": 0.5}, {"a": 1}), errors=errors, reliability=reliability
    )
    mistakes = read_mistakes(measured)
    (bars,) = plots.error_costs(mistakes).data
    assert [*zip(bars.y, bars.x, bars.customdata, strict=True)] == [
        ("wrong class", 0.1, "none"),
        ("missed", 0.2, "3 a, 1 b"),
    ]
    own = next(t for t in plots.calibration(mistakes).data if t.name == "Detector")
    assert (list(own.x), list(own.y)) == ([0.25, 1.0], [0.25, 1.0])
    assert max(own.error_y.array) > 0


def test_the_histogram_has_the_bounds_of_its_bins():
    shown = Histogram(edges=[0, 1, 2], pool=[5, 1], batch=[0, 2], maximum=9, is_open=True)
    trust = Trust(verdict="unknown", sentence="")
    known = {"dataset": "d", "metric": "excess", "field": "f", "batch": None, "rows": []}
    ranking = Ranking(scored=8, histogram=shown, trust=trust, **known)
    pool, batch = plots.ranking_histogram(ranking).data
    assert [list(b) for b in pool.customdata] == [[0, 1], [1, 9]]
    assert (list(pool.x), list(batch.y)) == ([0.5, 1.5], [0, 2])
