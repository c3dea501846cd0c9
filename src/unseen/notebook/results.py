"""What is shown of the result of each step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

from unseen import results as r
from unseen.notebook.card import Card, Link, Table, as_html, as_text, cell, table

#: What every result has, or what has a table of its own.
_ELSEWHERE = ("dataset", "seconds", "skipped", "dry_run")
#: Values that say nothing; a number of 0 does.
_NOTHING: tuple[Any, ...] = (None, "", [], {})


def result_text(result: r.StepResult) -> str:
    """A few lines for a terminal."""
    heading, *lines = _sentences(result)
    return as_text(Card(heading, lines, name=type(result).__name__))


def result_html(result: r.StepResult) -> str:
    """Sentence and tables for a notebook; everything is escaped."""
    heading, *lines = _SENTENCES.get(type(result), _sentences)(result)
    make = _TABLES.get(type(result), _plain)
    return as_html(Card(heading, lines, [*make(result), *_skipped(getattr(result, "skipped", []))]))


def _sentences(result: r.StepResult) -> list[str]:
    if isinstance(result, r.CompareResult):  # its summary is the table as text
        found = [f"{len(result.iterations)} iterations of all loops compared."]
        return [*found, f"Report: {_short_path(result.report)}"] if result.report else found
    lines = [line.strip() for line in result.summary().split("\n") if line.strip()]
    return lines or [f"Done on {result.dataset}."]


def facts(thing: Any, *names: str) -> list[Table]:
    """Fields of a dataclass as a table name, value."""
    return table([(_words(name), cell(getattr(thing, name))) for name in names], text_columns=2)


def counted(counts: Mapping[str, Any], what: str, each: str = "Class") -> list[Table]:
    """Numbers by class."""
    return table(counts.items(), (each, what))


# --- one function per result that has more to show than its fields ----------------------------------
def _screen(result: r.ScreenResult) -> list[Table]:
    return counted({k: v for k, v in result.excluded.items() if v}, "Images", "Excluded")


def _train_unet(result: r.TrainUnetResult) -> list[Table]:
    shown = facts(result, "mode", "working_scale", "steps", "final_loss", "device")
    return [*counted(result.class_counts, "Boxes"), *shown, *_file(result.checkpoint)]


def _train_detector(result: r.TrainDetectorResult) -> list[Table]:
    shown = facts(result, "schedule", "image_size", "final_loss", "device")
    return [*counted(result.class_counts, "Boxes"), *shown, *_file(result.checkpoint)]


def _score(result: r.ScoreResult) -> list[Table]:
    return [
        *facts(result, "mean_score"),
        *table(result.thresholds.items(), ("Threshold", "Unseen score")),
    ]


def _select(result: r.SelectResult) -> list[Table]:
    return table(enumerate(result.sample_ids, start=1), ("Rank", "Sample"), text_columns=2)


def _rank_regions(result: r.RankRegionsResult | r.MoreLikeThisResult) -> list[Table]:
    rows = zip(result.sample_ids, (f"{s:.3f}" for s in result.scores), strict=True)
    numbered = ((rank, *row) for rank, row in enumerate(rows, start=1))
    return table(numbered, ("Rank", "Sample", "Score"), text_columns=2)


def _request(result: r.RequestResult) -> list[Table]:
    rows = ((Link(t["name"], t.get("url")), t.get("images")) for t in result.tasks)
    return table(rows, ("Task", "Images"))


def _list_annotations(result: r.ListAnnotationsResult) -> list[Table]:
    batches = (
        (
            Link(b.anno_key, b.url),
            b.backend,
            "closed" if b.closed else "can be loaded" if b.waiting else "out",
            b.images,
            b.images_finished,
            b.images_loaded,
        )
        for b in result.batches
    )
    jobs = (
        (
            Link(f"{task.name}, job {job.job_id}", job.url),
            job.assignee,
            f"{job.stage} {job.state}",
            job.images,
        )
        for b in result.batches
        for task in b.tasks
        for job in task.jobs
    )
    return [
        *table(batches, ("Batch", "With", "State", "Images", "Done", "Loaded"), text_columns=3),
        *table(jobs, ("Job", "Person", "State", "Images"), text_columns=3),
    ]


def _load(result: r.LoadResult) -> list[Table]:
    columns = (
        ("Added", result.added),
        ("Changed", result.changed),
        ("Deleted", result.deleted),
        ("From suggestions", result.suggestions_accepted),
    )
    classes = dict.fromkeys(label for _, counts in columns for label in counts)
    rows = ((label, *(counts.get(label, 0) for _, counts in columns)) for label in classes)
    return table(rows, ("Class", *(name for name, _ in columns)))


def _evaluate(result: r.EvaluateResult) -> list[Table]:
    rows: list[tuple[Any, ...]] = [
        (k, m.support, _two(m.precision), _two(m.recall), _two(m.f1), _two(m.ap))
        for k, m in result.per_class.items()
    ]
    rows.append(("mean", None, None, None, _two(result.macro_f1), _two(result.mean_ap)))
    header = ("Class", "Test boxes", "Precision", "Recall", "F1", "AP")
    return [
        *table(rows, header, most=len(rows)),
        *facts(result, "iou", "min_confidence", "eval_key"),
    ]


def _iterations(result: r.CompareResult | r.SimulateResult) -> list[Table]:
    classes = list(dict.fromkeys(k for i in result.iterations for k in i.per_class or {}))
    rows = [
        (
            i.strategy,
            i.iteration,
            i.images,
            i.boxes,
            *(
                _two(i.per_class[k].f1) if i.per_class and k in i.per_class else None
                for k in classes
            ),
            _two(i.macro_f1),
            _two(i.mean_ap),
        )
        for i in result.iterations
    ]
    header = ("Chosen by", "Iteration", "Images", "Boxes", *(f"F1 {k}" for k in classes))
    return table(rows, (*header, "Mean F1", "AP"), most=40)


def _next(result: r.NextResult) -> list[Table]:
    return []  # the summary has a line per step


def _plain(result: r.StepResult) -> list[Table]:
    """Every field that says something, for results without a function of their own."""
    names = (f.name for f in fields(result) if f.name not in _ELSEWHERE)
    return facts(result, *(n for n in names if getattr(result, n) not in _NOTHING))


_TABLES: dict[type[r.StepResult], Callable[[Any], list[Table]]] = {
    r.ScreenResult: _screen,
    r.TrainUnetResult: _train_unet,
    r.TrainDetectorResult: _train_detector,
    r.ScoreResult: _score,
    r.SelectResult: _select,
    r.RankRegionsResult: _rank_regions,
    r.MoreLikeThisResult: _rank_regions,
    r.RequestResult: _request,
    r.ListAnnotationsResult: _list_annotations,
    r.LoadResult: _load,
    r.RevealResult: lambda result: counted(result.class_counts, "Boxes"),
    r.EvaluateResult: _evaluate,
    r.CompareResult: _iterations,
    r.SimulateResult: _iterations,
    r.NextResult: _next,
}


def _skipped(skipped: Iterable[r.Skipped]) -> list[Table]:
    rows = ((PurePath(s.filepath).name, s.reason) for s in skipped)
    return table(rows, ("Left out", "Why"), text_columns=2)


def _mean(result: r.EvaluateResult) -> list[str]:
    return [result.summary().split(". ")[0] + "."]


def _sent(result: r.RequestResult) -> list[str]:
    return [_sentences(result)[0], *result.notes]


def _out(result: r.ListAnnotationsResult) -> list[str]:
    if not result.batches:
        return _sentences(result)
    still = sum(not b.closed for b in result.batches)
    found = [f"{still} of {len(result.batches)} batches are still out."]
    found += [
        f"{b.anno_key} was not sent completely; run request_annotations again."
        for b in result.batches
        if not b.complete
    ]
    return found + [f"{b.anno_key}: {b.problem}" for b in result.batches if b.problem]


#: Summaries that say in lines what the table beside them says too.
_SENTENCES: dict[type[r.StepResult], Callable[[Any], list[str]]] = {
    r.EvaluateResult: _mean,
    r.RequestResult: _sent,
    r.ListAnnotationsResult: _out,
}


def _file(path: str) -> list[Table]:
    return table([("Checkpoint", PurePath(path).name)], text_columns=2)


def _short_path(path: str) -> str:
    """Relative where it lies below the folder one works in."""
    here = Path.cwd()
    return os.path.relpath(path, here) if PurePath(path).is_relative_to(here) else path


def _words(name: str) -> str:
    return {"iou": "IoU", "anno_key": "Annotation run", "eval_key": "Evaluation"}.get(
        name, name.replace("_", " ").capitalize()
    )


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
