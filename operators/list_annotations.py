"""Operator of `unseen.list_annotations`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator


class ListAnnotations(StepOperator):
    """Shows tables with links to the jobs."""

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return []

    def resolve_output(self, ctx: Any) -> types.Property:
        outputs = types.Object()
        outputs.md(as_tables(ctx.results or {}), name="shown")
        return types.Property(outputs, view=types.View(label=self.step.label))


def as_tables(result: dict[str, Any]) -> str:
    """A table of jobs for every batch that was sent, as Markdown."""
    parts = []
    for batch in result.get("batches", []):
        waiting = "waiting to be loaded" if batch["waiting"] else "out"
        parts.append(
            f"**{batch['anno_key']}** ({batch['backend']}): "
            f"{'closed' if batch['closed'] else waiting}. "
            f"{batch['images_finished']} of {batch['images']} images done, "
            f"{batch['images_loaded']} loaded, sent {batch['age_days']:.1f} days ago."
        )
        if not batch["complete"]:
            parts.append("Not every image was sent: run *Request annotations* again.")
        if batch["problem"]:
            parts.append(f"The server could not be asked: {batch['problem']}")
        rows = [
            f"| [{task['name']}]({task['url']}) | [{job['job_id']}]({job['url']}) "
            f"| {job['assignee'] or 'nobody'} | {job['stage']} | {job['state']} | {job['images']} "
            f"| {'yes' if job['waiting'] else 'no'} |"
            for task in batch["tasks"]
            for job in task["jobs"]
        ]
        if rows:
            head = "| Task | Job | Assignee | Stage | State | Images | To load |"
            parts.append("\n".join([head, "|---|---|---|---|---|---|---|", *rows]))
        if gone := [task["name"] for task in batch["tasks"] if task["gone"]]:
            parts.append("Deleted on the server: " + ", ".join(gone))
    return "\n\n".join(parts) or "Nothing was sent to annotators yet."
