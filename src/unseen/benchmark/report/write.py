"""Write the report of a benchmark: one HTML file, and its figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unseen.benchmark.files import whole_file
from unseen.benchmark.report.answer import Answer, answer
from unseen.benchmark.report.charts import difference_chart, finding_chart
from unseen.benchmark.report.detectors import detector_tables, paper_tables, quality
from unseen.benchmark.report.differences import Difference, difference_table, differences
from unseen.benchmark.report.runs import Benchmark, read_runs
from unseen.benchmark.report.tables import (
    EQUAL,
    Findings,
    cost_table,
    finding_tables,
    rare_boxes,
    read_findings,
    separation_table,
)
from unseen.errors import UnseenError
from unseen.report.page import Page, Section
from unseen.report.table import Form, Table

TITLE = "Does the ranking find rare classes sooner?"


def write_benchmark(
    records: Sequence[Mapping[str, Any]], folder: str | Path, *, first: str | None = None
) -> dict[str, str]:
    """Write or replace `benchmark.html` and `benchmark.json`.

    Takes the records of the finished runs and lists the missing ones; `first` is the strategy that
    is measured against all others, by default that of the first record. Returns the paths "html" and
    "json", and "text": the main table and the answer, to print. Raises `UnseenError` without records,
    for runs that cannot be read or compared, or if a file cannot be written.
    """
    benchmark = read_runs(records, first)
    findings = read_findings(benchmark)
    said, sections = _sections(benchmark, findings)
    tables = [t for s in sections for t in (*s.tables, *s.details)]
    facts = _facts(benchmark)
    if benchmark.missing:
        missing = [f"{s} on {c}, seed {n}" for c, s, n in benchmark.missing]
        sections.append(Section(key="missing", title="Missing runs", notes=missing))
    page = Page(
        title=TITLE,
        outcome=said.outcome,
        headline=said.headline,
        lead=said.compared,
        sentences=said.sentences,
        sections=[*sections, Section(key="facts", title="How this was made", terms=facts)],
    )
    data = {
        **vars(said),
        "settings": facts,
        "missing": benchmark.missing,
        "runs": _run_figures(benchmark, findings),
        "tables": [t.to_dict() for t in tables],
    }
    contents = {
        "html": page.html(),
        "json": json.dumps(data, indent=1, allow_nan=False) + "\n",
    }
    written = {}
    for kind, content in contents.items():
        path = Path(folder) / f"benchmark.{kind}"
        try:
            with whole_file(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UnseenError(
                f"{path} cannot be written ({error}); free some space or choose another folder"
            ) from error
        written[kind] = str(path)
    lines = "\n".join((said.headline, *said.sentences, said.compared))
    return {**written, "text": "\n\n".join([*(t.text() for t in tables[:1]), lines])}


def _sections(
    benchmark: Benchmark, findings: Mapping[str, Findings]
) -> tuple[Answer, list[Section]]:
    """The answer, and the sections that have something to show."""
    first, several = benchmark.first, len(benchmark.cases) > 1
    rare = {f"equal {name}": rare_boxes(benchmark, findings[name]) for name in EQUAL}
    gaps = {name: differences(benchmark, values) for name, values in rare.items()}
    measured = {
        name: differences(benchmark, quality(benchmark, key))
        for name, key in (("Mean F1", "macro_f1"), ("Mean AP", "mean_ap"))
    }

    def compared(
        title: str, readings: Mapping[str, Sequence[Difference]], form: Form
    ) -> dict[str, list[Table]]:
        own = difference_table(title, benchmark, readings, form, by_case=True) if several else None
        whole = difference_table(title, benchmark, readings, form)
        return {"tables": _some(whole), "details": _some(own)}

    boxes = compared("Rare boxes found", gaps, "percent")
    scores = compared("Mean F1 and AP", measured, "score")
    sections = [
        Section(
            key="finding",
            title="Rare classes found",
            caption="Shares of what the pool holds beyond the initial images, which are the same for "
            "all strategies.",
            notes=[
                "Lines: mean over seeds; beside them the range over seeds. Differences right of 0: "
                "ahead, with 95 % intervals; rings: single datasets."
            ],
            figures=[
                *finding_chart(benchmark),
                *difference_chart(gaps, first, "points of rare boxes found", 100),
            ],
            tables=[*finding_tables(benchmark, findings), *boxes["tables"]],
            details=boxes["details"],
        ),
        Section(
            key="detector",
            title="The detector afterwards",
            caption="Trained on the images of each strategy, measured on the same test split.",
            figures=difference_chart(measured, first, "difference"),
            tables=[*detector_tables(benchmark), *scores["tables"]],
            details=scores["details"],
        ),
        Section(key="paper", title="The tables of the paper", tables=paper_tables(benchmark)),
        Section(
            key="separation",
            title="Separation by the score",
            tables=_some(separation_table(benchmark)),
        ),
        Section(key="cost", title="Cost", tables=_some(cost_table(benchmark))),
    ]
    said = answer(benchmark, rare["equal images"], gaps["equal images"])
    return said, [s for s in sections if s.figures or s.tables]


def _some(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _run_figures(benchmark: Benchmark, findings: Mapping[str, Findings]) -> list[dict[str, Any]]:
    """The figures of every run, to compute something else from them."""
    rows = []
    for run in benchmark.runs:
        names = ("case", "strategy", "seed", "seconds", "command")
        row = {name: getattr(run, name) for name in names}
        if not run.is_full:
            row |= {f"equal_{name}": vars(each[run.key]) for name, each in findings.items()}
        rows.append(row)
    return rows


def _facts(benchmark: Benchmark) -> dict[str, object]:
    """How the figures were made."""
    runs = benchmark.runs
    rare = {
        c: dict.fromkeys(n for r in runs if r.case == c for n in r.rare) for c in benchmark.cases
    }
    images = {run.case: run.pool["images"] for run in runs}
    return {
        "Rare classes": "; ".join(
            f"{c}: {', '.join(names) or 'none'}" for c, names in rare.items()
        ),
        "Images in the pool": images,
        "Seeds": list(benchmark.seeds),
        "Machine": "; ".join(dict.fromkeys(r.machine for r in runs)),
        "Hours of all runs": round(sum(r.seconds for r in runs) / 3600, 2),
        "Command": "; ".join(filter(None, dict.fromkeys(r.command for r in runs))),
    }
