"""From the records of a benchmark to its report: one HTML file, Markdown, and every figure as JSON."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unseen.benchmark.report.answer import answer
from unseen.benchmark.report.charts import difference_chart, finding_chart, quality_chart
from unseen.benchmark.report.detectors import (
    detector_tables,
    measured_schedules,
    paper_tables,
    quality,
)
from unseen.benchmark.report.differences import (
    Difference,
    case_table,
    difference_table,
    differences,
)
from unseen.benchmark.report.facts import run_figures, settings
from unseen.benchmark.report.finding import (
    EQUAL,
    cost_table,
    finding_tables,
    rare_boxes,
    read_findings,
    separation_table,
)
from unseen.benchmark.report.page import Report, Section, as_markdown_page, as_page
from unseen.benchmark.report.runs import SCHEDULES, Benchmark, read_runs
from unseen.benchmark.report.table import DataTable
from unseen.errors import UnseenError
from unseen.report.tables import as_text

TITLE = "Does the ranking find rare classes sooner?"


def write_benchmark(
    records: Sequence[Mapping[str, Any]],
    folder: str | Path,
    *,
    first: str | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Write `benchmark.html`, `benchmark.md` and `benchmark.json`, each all or nothing.

    Any subset of a benchmark's runs makes a report; what is missing is listed in it.

    Args:
        records: one per finished run.
        folder: where the files go; made if need be. Those of an earlier call are replaced.
        first: the strategy that is measured against all others; default: that of the first record.
        title: heading of the page.

    Returns:
        "html", "markdown" and "json": the files; "text": the answer and the main table, to print;
        "outcome" and "answer"; "missing": runs that are missing, in words.

    Raises:
        UnseenError: there is no record, one cannot be read, runs cannot be compared, or the files
            cannot be written.
    """
    benchmark = read_runs(records, first)
    report = _report(benchmark, title or TITLE)
    tables = [t for s in report.sections for t in (*s.tables, *s.details)]
    data = {
        "title": report.title,
        "outcome": report.answer.outcome,
        "answer": [report.answer.headline, *report.answer.sentences],
        "compared": report.answer.compared,
        "settings": dict(report.facts),
        "missing": [list(key) for key in benchmark.missing],
        "runs": run_figures(benchmark),
        "tables": [t.to_dict() for t in tables],
    }
    contents = {
        "html": ("benchmark.html", as_page(report)),
        "markdown": ("benchmark.md", as_markdown_page(report)),
        "json": ("benchmark.json", json.dumps(data, indent=1, allow_nan=False) + "\n"),
    }
    folder = Path(folder)
    files: dict[str, Any] = {}
    for kind, (name, text) in contents.items():
        files[kind] = str(_write(folder / name, text))
    main = "\n\n".join(as_text(t.printed(report.seeds)) for t in tables[:1])
    return {
        **files,
        "text": "\n\n".join(part for part in (main, report.answer.text()) if part),
        "outcome": report.answer.outcome,
        "answer": report.answer.headline,
        "missing": list(report.missing),
    }


def _report(benchmark: Benchmark, title: str) -> Report:
    findings = read_findings(benchmark)
    rare = {name: rare_boxes(benchmark, findings[name]) for name in EQUAL}
    found = {name: differences(benchmark, values) for name, values in rare.items()}
    f1 = {s: quality(benchmark, s, "macro_f1") for s in measured_schedules(benchmark)}
    gaps = {s: differences(benchmark, values) for s, values in f1.items()}
    said = answer(
        benchmark,
        rare["images"],
        found["images"],
        found["boxes"],
        {s: (f1[s], gaps[s]) for s in f1},
    )
    sections = [
        _finding_section(benchmark, findings, found),
        _detector_section(benchmark, gaps),
        Section(
            "paper", "In the form of the paper's tables", tables=tuple(paper_tables(benchmark))
        ),
        Section(
            "separation", "How well scores separate", tables=_some(separation_table(benchmark))
        ),
        Section("cost", "What it costs", tables=_some(cost_table(benchmark))),
    ]
    return Report(
        title=title,
        answer=said,
        sections=[s for s in sections if not s.is_empty],
        facts=settings(benchmark),
        seeds=len(benchmark.seeds),
        missing=[f"{s} on {c}, seed {n}" for c, s, n in benchmark.missing],
    )


def _finding_section(
    benchmark: Benchmark, findings: Any, found: Mapping[str, Sequence[Difference]]
) -> Section:
    readings = {f"equal {name}": found[name] for name in EQUAL}
    overall = difference_table(
        "rare_boxes_difference",
        f"Rare boxes found: {benchmark.first} against every other",
        benchmark,
        readings,
        "percent",
    )
    details = [
        case_table(
            f"rare_boxes_difference_equal_{name}",
            f"Rare boxes found for {EQUAL[name]}, each dataset by itself",
            benchmark,
            found[name],
            "percent",
        )
        for name in EQUAL
    ]
    return Section(
        "finding",
        "Rare classes found",
        "Shares are of what could be found beyond the initial images, which are the same for all.",
        charts=(
            finding_chart(benchmark),
            difference_chart(readings, benchmark.first, "points of rare boxes found", 100),
        ),
        tables=(*finding_tables(benchmark, findings), *_some(overall)),
        details=tuple(t for t in details if t is not None),
    )


def _detector_section(benchmark: Benchmark, gaps: Mapping[str, Sequence[Difference]]) -> Section:
    readings = {f"F1, {SCHEDULES[s]}": found for s, found in gaps.items()}
    for s in gaps:
        ap = quality(benchmark, s, "mean_ap")
        readings[f"AP, {SCHEDULES[s]}"] = differences(benchmark, ap)
    overall = difference_table(
        "detector_difference",
        f"Mean F1 and AP: {benchmark.first} against every other",
        benchmark,
        readings,
        "score",
    )
    details = [
        case_table(
            f"macro_f1_difference_{s}",
            f"Mean F1 at {SCHEDULES[s]}, each dataset by itself",
            benchmark,
            found,
            "score",
        )
        for s, found in gaps.items()
    ]
    return Section(
        "detector",
        "The detector afterwards",
        "Trained on what each strategy had labelled, measured on the same test split.",
        charts=(
            quality_chart(benchmark),
            difference_chart(
                {SCHEDULES[s]: found for s, found in gaps.items()}, benchmark.first, "mean F1"
            ),
        ),
        tables=(*detector_tables(benchmark), *_some(overall)),
        details=tuple(t for t in details if t is not None),
    )


def _some(table: DataTable | None) -> tuple[DataTable, ...]:
    return () if table is None else (table,)


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UnseenError(
            f"{path} cannot be written ({error}); free some space or choose another folder"
        ) from error
    return path
