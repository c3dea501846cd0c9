"""What a benchmark's files say beside the tables: every run's figures, and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unseen.benchmark.report.figures import area_under_curve
from unseen.benchmark.report.finding import read_findings
from unseen.benchmark.report.runs import Benchmark


def run_figures(benchmark: Benchmark) -> list[dict[str, Any]]:
    """The figures of every run, for those who want to compute something else from them."""
    findings = read_findings(benchmark)
    rows = []
    for run in benchmark.runs:
        row: dict[str, Any] = {
            "case": run.case,
            "strategy": run.strategy,
            "seed": run.seed,
            "mode": run.mode,
            "seconds": run.seconds,
            "command": run.command,
        }
        if not run.is_full:
            row |= {f"equal_{name}": vars(found[run.key]) for name, found in findings.items()}
            row["area_under_curve"] = area_under_curve(benchmark, run)
        rows.append(row)
    return rows


def settings(benchmark: Benchmark) -> dict[str, object]:
    """Free key/value pairs for the page; what is not known is left out."""
    runs = benchmark.runs

    def distinct(values: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(v for v in values if v))

    rare = {
        case: ", ".join(dict.fromkeys(n for r in runs if r.case == case for n in r.rare)) or "none"
        for case in benchmark.cases
    }
    pools = {
        case: " or ".join(distinct([str(r.pool["images"]) for r in runs if r.case == case]))
        for case in benchmark.cases
    }
    modes = {r.strategy: r.mode for r in runs if not r.is_full}
    facts: dict[str, object] = {
        "Rare classes": "; ".join(f"{case}: {names}" for case, names in rare.items()),
        "Images in the pool": "; ".join(f"{case}: {n}" for case, n in pools.items()),
        "Seeds": list(benchmark.seeds),
        "Mode of the UNet": modes if len(set(modes.values())) > 1 else "".join(set(modes.values())),
        "Machine": "; ".join(distinct([r.machine for r in runs])),
        "Hours of all runs": round(sum(r.seconds or 0.0 for r in runs) / 3600, 2),
        "Command": "; ".join(distinct([r.command for r in runs])),
    }
    return {key: value for key, value in facts.items() if value}
