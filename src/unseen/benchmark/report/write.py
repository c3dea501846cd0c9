"""From the records of a benchmark to its report: one HTML file, Markdown, and every figure as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unseen.benchmark.files import whole_file
from unseen.benchmark.report.answer import Answer, answer
from unseen.benchmark.report.charts import difference_chart, finding_chart, quality_chart
from unseen.benchmark.report.detectors import (
    detector_tables,
    measured_schedules,
    paper_tables,
    quality,
)
from unseen.benchmark.report.differences import case_table, difference_table, differences
from unseen.benchmark.report.finding import (
    EQUAL,
    Findings,
    cost_table,
    finding_tables,
    rare_boxes,
    read_findings,
    separation_table,
)
from unseen.benchmark.report.measures import area_under_curve
from unseen.benchmark.report.runs import SCHEDULES, Benchmark, read_runs
from unseen.errors import UnseenError
from unseen.report.page import Page, Section
from unseen.report.table import Table

TITLE = "Does the ranking find rare classes sooner?"


def write_benchmark(
    records: Sequence[Mapping[str, Any]], folder: str | Path, *, first: str | None = None
) -> dict[str, str]:
    """Write or replace `benchmark.html`, `benchmark.md` and `benchmark.json`.

    Any subset of a benchmark's records, one per finished run, makes a report that lists what is missing.
    `first` is the strategy that is measured against all others, by default that of the first record.
    Returns the files "html", "md" and "json", and "text": the main table and the answer, to print.
    Raises `UnseenError` if there is no record, one cannot be read, runs cannot be compared, or a file
    cannot be written.
    """
    benchmark = read_runs(records, first)
    findings = read_findings(benchmark)
    said, sections = _sections(benchmark, findings)
    tables = [t for s in sections for t in (*s.tables, *s.details)]
    facts = _settings(benchmark)
    if benchmark.missing:
        missing = [f"{s} on {c}, seed {n}" for c, s, n in benchmark.missing]
        sections.append(Section(key="missing", title="Runs that are missing", items=missing))
    page = Page(
        title=TITLE,
        outcome=said.outcome,
        headline=said.headline,
        lead=said.compared,
        sentences=said.sentences,
        sections=[*sections, Section(key="facts", title="How this was made", terms=facts)],
    )
    data = {
        "title": TITLE,
        "outcome": said.outcome,
        "answer": [said.headline, *said.sentences],
        "compared": said.compared,
        "settings": facts,
        "missing": benchmark.missing,
        "runs": _run_figures(benchmark, findings),
        "tables": [t.to_dict() for t in tables],
    }
    contents = {
        "html": page.html(),
        "md": page.markdown(),
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
    schedules = measured_schedules(benchmark)
    rare = {name: rare_boxes(benchmark, findings[name]) for name in EQUAL}
    f1 = {s: quality(benchmark, s, "macro_f1") for s in schedules}
    gaps = {name: differences(benchmark, values) for name, values in rare.items()}
    f1_gaps = {s: differences(benchmark, values) for s, values in f1.items()}
    ap_gaps = {s: differences(benchmark, quality(benchmark, s, "mean_ap")) for s in schedules}
    detectors = {s: (f1[s], f1_gaps[s]) for s in schedules}
    said = answer(benchmark, rare["images"], gaps["images"], gaps["boxes"], detectors)
    works = {f"equal {name}": gaps[name] for name in EQUAL}
    f1_readings = {SCHEDULES[s]: f1_gaps[s] for s in schedules}
    readings = {f"F1, {name}": each for name, each in f1_readings.items()}
    readings |= {f"AP, {SCHEDULES[s]}": ap_gaps[s] for s in schedules}
    key, title = "rare_boxes_difference", "Rare boxes found"
    finding = Section(
        key="finding",
        title="Rare classes found",
        caption="Shares are of what could be found beyond the initial images, which are the same for "
        "all.",
        notes=[
            "Lines: mean over seeds; beside them the lowest to the highest seed. Differences right of "
            "0: ahead, with 95 % intervals; rings: single datasets."
        ],
        figures=[
            *finding_chart(benchmark),
            *difference_chart(works, benchmark.first, "points of rare boxes found", 100),
        ],
        tables=_some(
            *finding_tables(benchmark, findings),
            difference_table(key, title, benchmark, works, "percent"),
        ),
        details=_some(
            *(
                case_table(
                    f"{key}_equal_{name}", f"{title} for {work}", benchmark, gaps[name], "percent"
                )
                for name, work in EQUAL.items()
            )
        ),
    )
    detector = Section(
        key="detector",
        title="The detector afterwards",
        caption="Trained on what each strategy had labelled, measured on the same test split.",
        notes=["Lines: mean F1 over seeds, with the lowest to the highest seed."],
        figures=[
            *quality_chart(benchmark),
            *difference_chart(f1_readings, benchmark.first, "mean F1"),
        ],
        tables=_some(
            *detector_tables(benchmark),
            difference_table("detector_difference", "Mean F1 and AP", benchmark, readings, "score"),
        ),
        details=_some(
            *(
                case_table(
                    f"macro_f1_difference_{s}",
                    f"Mean F1 at {SCHEDULES[s]}",
                    benchmark,
                    f1_gaps[s],
                    "score",
                )
                for s in schedules
            )
        ),
    )
    others: dict[tuple[str, str], Sequence[Table | None]] = {
        ("paper", "In the form of the paper's tables"): paper_tables(benchmark),
        ("separation", "How well scores separate"): [separation_table(benchmark)],
        ("cost", "What it costs"): [cost_table(benchmark)],
    }
    sections = [finding, detector]
    sections += [Section(key=k, title=t, tables=_some(*each)) for (k, t), each in others.items()]
    seeds = len(benchmark.seeds)
    return said, [
        replace(
            s,
            tables=[replace(t, seeds=seeds) for t in s.tables],
            details=[replace(t, seeds=seeds) for t in s.details],
        )
        for s in sections
        if s.figures or s.tables
    ]


def _some(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _run_figures(benchmark: Benchmark, findings: Mapping[str, Findings]) -> list[dict[str, Any]]:
    """The figures of every run, for those who want to compute something else from them."""
    rows = []
    for run in benchmark.runs:
        names = ("case", "strategy", "seed", "mode", "seconds", "command")
        row = {name: getattr(run, name) for name in names}
        if not run.is_full:
            row |= {f"equal_{name}": vars(each[run.key]) for name, each in findings.items()}
            row["area_under_curve"] = area_under_curve(benchmark, run)
        rows.append(row)
    return rows


def _settings(benchmark: Benchmark) -> dict[str, object]:
    """How it was made; what is not known is left out."""
    runs, cases = benchmark.runs, benchmark.cases

    def distinct(values: Sequence[str | None]) -> list[str]:
        return list(dict.fromkeys(v for v in values if v))

    def per_case(of: Any, join: str) -> str:
        each = {
            c: join.join(distinct([v for r in runs if r.case == c for v in of(r)])) for c in cases
        }
        return "; ".join(f"{case}: {text or 'none'}" for case, text in each.items())

    modes = {r.strategy: r.mode for r in benchmark.choosing()}
    facts: dict[str, object] = {
        "Rare classes": per_case(lambda r: r.rare, ", "),
        "Images in the pool": per_case(lambda r: [str(r.pool["images"])], " or "),
        "Seeds": list(benchmark.seeds),
        "Mode of the UNet": modes if len(set(modes.values())) > 1 else "".join(set(modes.values())),
        "Machine": "; ".join(distinct([r.machine for r in runs])),
        "Hours of all runs": round(sum(r.seconds or 0.0 for r in runs) / 3600, 2),
        "Command": "; ".join(distinct([r.command for r in runs])),
    }
    return {key: value for key, value in facts.items() if value}
