"""Write the report of a loop: one HTML file, its pictures, and the tables as text."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from unseen.errors import UnseenError
from unseen.loop.iteration import IterationSummary
from unseen.loop.verdict import judge
from unseen.report.charts import class_balance, learning_curve
from unseen.report.data import BatchPicture, ReportFiles
from unseen.report.figures import report_figures
from unseen.report.page import html_page
from unseen.report.pictures import ranked_batch
from unseen.report.tables import as_markdown, build_tables

#: A loop of a thousand iterations must still make a page that opens: first and last batches.
MAX_SHEETS = 12


def write_report(
    folder: str | Path,
    *,
    title: str,
    dataset: str,
    classes: Sequence[str],
    iterations: Sequence[IterationSummary],
    batches: Sequence[BatchPicture],
    facts: Mapping[str, object],
    table_text: str,
) -> ReportFiles:
    """Write a report into a new folder, all of it or nothing.

    Args:
        folder: a folder that does not exist yet, or is empty.
        title: heading of the page.
        dataset: name of the dataset.
        classes: the fixed class list.
        iterations: all iterations of all series.
        batches: the images of the batches to show, in any order.
        facts: free key/value pairs for the page. `iou`, `min_confidence`, `test_images`,
            `schedule` and `architecture` are also stated at the tables and in the verdict.
        table_text: the tables as the command line prints them.

    Returns:
        The files written.

    Raises:
        UnseenError: the folder holds files already, or cannot be written.
    """
    folder = Path(folder)
    _check_new(folder)
    staging = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        staging.mkdir(parents=True)
        names = _write_all(staging, title, dataset, classes, iterations, batches, facts, table_text)
        _check_new(folder)
        if folder.exists():
            folder.rmdir()  # empty; a rename onto it works on POSIX only
        staging.replace(folder)
    except OSError as error:
        raise UnseenError(
            f"{folder}: the report cannot be written ({error}); free some space or choose another "
            "folder"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    html, pictures, tables = names
    return ReportFiles(
        folder / html, [folder / name for name in pictures], [folder / name for name in tables]
    )


def _write_all(
    folder: Path,
    title: str,
    dataset: str,
    classes: Sequence[str],
    iterations: Sequence[IterationSummary],
    batches: Sequence[BatchPicture],
    facts: Mapping[str, object],
    table_text: str,
) -> tuple[str, list[str], list[str]]:
    sheets, notes = _sheets(folder, batches)
    charts = [
        learning_curve(iterations, folder / "learning_curve.png"),
        class_balance(iterations, classes, folder / "class_balance.png"),
    ]
    tables = build_tables(iterations, classes, facts)
    page = html_page(
        title=title,
        dataset=dataset,
        verdict=judge(iterations, classes, facts),
        figures=report_figures(iterations, classes),
        tables=tables,
        table_text=table_text,
        sheets=sheets,
        facts=facts,
        notes=notes,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    markdown = "\n\n".join(as_markdown(t) for t in tables)
    (folder / "tables.md").write_text(markdown + "\n", encoding="utf-8")
    (folder / "tables.txt").write_text(table_text + "\n", encoding="utf-8")
    pictures = [path.name for path in (*charts, *sheets.values()) if path is not None]
    return "report.html", pictures, ["tables.txt", "tables.md"]


def _sheets(folder: Path, batches: Sequence[BatchPicture]) -> tuple[dict[str, Path], list[str]]:
    """One contact sheet per batch, in the order of the iterations."""
    groups: dict[str, list[BatchPicture]] = {}
    for picture in sorted(batches, key=lambda p: (p.iteration, p.rank)):
        groups.setdefault(picture.batch, []).append(picture)
    names = list(groups)
    notes = []
    if len(names) > MAX_SHEETS:
        half = MAX_SHEETS // 2
        notes.append(f"The first and last {half} of {len(names)} batches are shown.")
        names = names[:half] + names[-half:]
    sheets = {}
    for i, name in enumerate(names):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".")[:80] or f"{i:02d}"
        path = folder / f"ranked_{plain}.png"
        if path.exists():  # two names that differ only in characters a file name cannot hold
            path = folder / f"ranked_{plain}_{i:02d}.png"
        sheets[name] = ranked_batch(groups[name], path)
    return sheets, notes


def _check_new(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise UnseenError(
            f"{folder} exists and holds files; reports are never overwritten, choose a new folder"
        )
