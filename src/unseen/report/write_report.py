"""Write the report of a loop: one HTML file, and its pictures."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unseen.annotation import Agreement
from unseen.errors import UnseenError
from unseen.loop.curves import IterationSummary
from unseen.loop.verdict import judge
from unseen.report.loop_figures import loop_figures
from unseen.report.page import Page, Section
from unseen.report.pictures import BatchPicture, ranked_batch
from unseen.report.tables import agreement_tables, build_tables

#: The first and last batches of a long loop; the page must still open.
MAX_SHEETS = 12


@dataclass(frozen=True)
class ReportFiles:
    """What `write_report` wrote, and the tables as text."""

    html: Path
    pictures: list[Path]
    text: str


def write_report(
    folder: str | Path,
    *,
    title: str,
    classes: Sequence[str],
    iterations: Sequence[IterationSummary],
    batches: Sequence[BatchPicture],
    facts: Mapping[str, object],
    agreement: Sequence[Agreement] = (),
) -> ReportFiles:
    """Write `report.html` and a picture per batch, all or nothing.

    Iterations and batches may come in any order; `facts` are key/value pairs. Raises `UnseenError`
    if the folder holds files already or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UnseenError(f"{folder} already holds files; choose a new folder for the report")
    staging = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    tables = [*build_tables(iterations, classes), *agreement_tables(agreement)]
    text = "\n\n".join(t.text() for t in tables)
    verdict = judge(iterations, classes, facts)
    try:
        staging.mkdir(parents=True)
        sheets, notes = _sheets(staging, batches)
        sections = loop_figures(iterations, classes)
        if tables:
            sections.append(Section(key="tables", title="Tables", tables=tables))
        if sheets:
            what = "What was labelled next"
            sections.append(Section(key="batches", title=what, pictures=sheets, notes=notes))
        if facts:
            terms = {_words(key): value for key, value in facts.items()}
            sections.append(Section(key="facts", title="How this was made", terms=terms))
        page = Page(
            title=title,
            outcome=verdict.outcome,
            headline=verdict.headline,
            lead=verdict.sentence,
            bars=verdict.bars,
            sentences=verdict.details,
            sections=sections,
        )
        (staging / "report.html").write_text(page.html(), encoding="utf-8")
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
    pictures = [folder / path.name for path in sheets.values()]
    return ReportFiles(folder / "report.html", pictures, text)


def _sheets(folder: Path, batches: Sequence[BatchPicture]) -> tuple[dict[str, Path], list[str]]:
    """One contact sheet per batch in the order of the iterations, and what was left out."""
    groups: dict[str, list[BatchPicture]] = {}
    for picture in sorted(batches, key=lambda p: (p.iteration, p.rank)):
        groups.setdefault(picture.batch, []).append(picture)
    names, notes = list(groups), []
    if len(names) > MAX_SHEETS:
        half = MAX_SHEETS // 2
        notes.append(f"The first and last {half} of {len(names)} batches are shown.")
        names = names[:half] + names[-half:]
    sheets = {}
    for i, name in enumerate(names):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".")[:80]
        path = folder / f"ranked_{plain}.jpg"
        if path.exists():  # two names that differ only in characters a file name cannot hold
            path = folder / f"ranked_{plain}_{i:02d}.jpg"
        sheets[name] = ranked_batch(groups[name], path)
    return sheets, notes


def _words(key: str) -> str:
    """A key as people write it: "min_confidence" -> "Min confidence"."""
    text = key.replace("_", " ")
    return "IoU" if text.lower() == "iou" else text[:1].upper() + text[1:]
