"""One turn of the loop, as far as it can go now."""

from __future__ import annotations

from typing import Any

from unseen.annotation import sendings, truth
from unseen.annotation.sendings import Sending
from unseen.dataset import reading
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.loop import rules
from unseen.loop.facts import read_facts, read_records
from unseen.loop.overview_data import Batch
from unseen.parameters import StepConfig, parameters, part
from unseen.progress import Progress
from unseen.results import StepResult
from unseen.steps.apply_detector.run import apply_detector
from unseen.steps.evaluate_detector.run import evaluate_detector
from unseen.steps.load_annotations.run import load_annotations
from unseen.steps.next_iteration import NextConfig, NextResult
from unseen.steps.request_annotations import RequestConfig
from unseen.steps.request_annotations.run import request_annotations
from unseen.steps.score_samples.run import score_samples
from unseen.steps.select_batch.run import select_batch
from unseen.steps.step import step
from unseen.steps.train_detector.run import train_detector
from unseen.steps.train_unet.run import train_unet


@step(NextConfig)
def next_iteration(loop: Loop, config: NextConfig, progress: Progress) -> NextResult:
    """Load what is finished; once the batch is labelled, train, score, select and send.

    Can be run at any time, by hand or from cron: it does what is due, says what it did, and says
    what it waits for. What is done for these labels already is not done again.
    """
    turn = _Turn(loop.whole, config, progress)
    turn.load()
    waits_for = turn.wait()
    if waits_for is None:
        turn.go_on()
    else:
        turn.catch_up()
    return NextResult(
        dataset=turn.dataset.name,
        iteration=turn.loop.iteration(),
        done=turn.done,
        waits_for=waits_for,
        batch=turn.batch,
        sent=turn.sent,
        steps=turn.steps,
    )


class _Turn:
    """What one run has done so far."""

    def __init__(self, loop: Loop, config: NextConfig, progress: Progress) -> None:
        self.loop, self.config, self.progress = loop, config, progress
        self.dataset, self.names = loop.dataset, loop.names
        self.done: list[str] = []
        self.steps: dict[str, Any] = {}
        self.batch: str | None = None
        self.sent = False
        self.replace = False
        self.cluster = {"engine": config.engine, "address": config.address}
        self.shared = part(config, StepConfig)

    def run(self, step: Any, **settings: Any) -> Any:
        """Run a step, and remember what it said."""
        settings = {**self.shared, **settings}
        result: StepResult = step(self.dataset, progress=self.progress, **settings)
        self.steps[step.__name__] = result.to_dict()
        self.done.append(f"{step.__name__}: {result.summary()}")
        return result

    # --- what has come back ----------------------------------------------------------------------
    def load(self) -> None:
        """Load every batch that is out, and look at where the loop stands then."""
        if any(not s.closed for s in sendings.read_sendings(self.loop)):
            self.run(load_annotations, jobs=self.config.jobs, stage=self.config.stage)
        self.facts = read_facts(self.loop, read_records(self.loop))

    def wait(self) -> str | None:
        """What the next batch waits for, or None."""
        batch = self.facts.batch
        waits_for = rules.waits_for(self.facts, self.config.min_loaded)
        if batch is None or not batch.expected:
            if batch is not None and batch.number:
                text = f"Every image of {batch.name} was removed or excluded; it is chosen anew."
                self.done.append(text)
                self.replace = True
        elif waits_for is None:
            self._check_labels(batch)
        else:
            self.batch = batch.name
            if self.config.send and not batch.complete:
                self._send(batch.number)
                return f"the labels of {batch.name}: {batch.expected} images were just sent"
        return waits_for

    def _check_labels(self, batch: Batch) -> None:
        images = self.loop.with_labels(self.loop.tagged(batch.name))
        labels = reading.read_labels(images, self.names.label_field)
        problems = "".join(f", {n} boxes {what}" for what, n in labels.box_problems.items())
        counts = ", ".join(f"{k} {v}" for k, v in labels.class_counts.items()) or "no box at all"
        self.done.append(
            f"checked {batch.name}: {batch.labelled} of {batch.expected} images labelled, {counts}"
            f"{problems}."
        )

    # --- the next batch --------------------------------------------------------------------------
    def go_on(self) -> None:
        """Train, score, select, send."""
        number, pool = self.facts.iteration, self.facts.counts.pool
        labels = truth.fingerprint(self.loop.labelled, self.names)
        finished = self._finished(labels)
        problem: AnnotationError | None = None
        try:
            if pool and "score_samples" not in finished:
                self.run(train_unet, seed=self.config.seed)
                self.run(score_samples, **self.cluster)
                finished.add("score_samples")
            if self.config.send and self._last_parameters().get("predictions"):
                self._detect(finished)
            if pool:
                # The batch comes first: people wait for it.
                chosen = self.run(
                    select_batch,
                    budget=min(self.config.budget, pool),
                    strategy=self.config.strategy,
                    seed=self.config.seed + number,
                    replace=self.replace,
                    **self.cluster,
                )
                self.batch = chosen.batch
                if self.config.send:
                    try:
                        self._send(chosen.iteration)
                    except AnnotationError as error:  # the detector need not wait for the server
                        problem = error
            else:
                self.done.append("The pool is empty: every image is labelled, test or excluded.")
            self._detect(finished)
            if problem is not None:
                raise problem
        finally:
            # Also after a failure: what is done for these labels is not done again.
            self._remember(labels, finished)

    def catch_up(self) -> None:
        """While people label: finish the detector if an earlier turn was cut short."""
        if not self.config.detector or not self.facts.is_measurable:
            return
        labels = truth.fingerprint(self.loop.labelled, self.names)
        finished = self._finished(labels)
        if finished == {"score_samples"}:
            self._detect(finished)
            self._remember(labels, finished)

    def _finished(self, labels: str) -> set[str]:
        """The steps that earlier turns finished for these labels."""
        entry = self.loop.entry(self.facts.iteration, "next_iteration")
        return set(entry["finished"]) if entry.get("labels") == labels else set()

    def _remember(self, labels: str, finished: set[str]) -> None:
        entry = {"parameters": self.config.to_dict(), "labels": labels}
        entry["finished"] = sorted(finished)
        self.loop.write_entry(self.facts.iteration, "next_iteration", entry)

    def _detect(self, finished: set[str]) -> None:
        """Train and measure the detector of this iteration, where that can be done."""
        if not self.config.detector or "evaluate_detector" in finished:
            return
        if not self.facts.is_measurable:
            self.done.append("No detector: there is no labelled test split to measure it on.")
            return
        number = self.facts.iteration
        self.run(train_detector, iteration=number, seed=self.config.seed)
        self.run(apply_detector, iteration=number)
        self.run(evaluate_detector, iteration=number)
        finished.add("evaluate_detector")

    # --- sending ---------------------------------------------------------------------------------
    def _send(self, number: int) -> None:
        """Send a batch (0 = the initial images) the way the last one was."""
        fixed = {"images", "iteration", "dry_run", *self.shared}
        known = {p.name for p in parameters(RequestConfig)} - fixed
        settings = {k: v for k, v in self._last_parameters().items() if k in known}
        if settings.get("classes"):  # and those that came to light since
            seen = sorted(self.loop.label_counts())
            settings["classes"] = list(dict.fromkeys([*settings["classes"], *seen]))
        if settings.get("predictions"):
            images = self.loop.tagged(self.names.batch(number))
            result = apply_detector(images, progress=self.progress, target="view", **self.shared)
            self.done.append(f"apply_detector: {result.summary()}")
        images_of = "batch" if number else "initial"
        self.sent = self.run(request_annotations, images=images_of, **settings).complete

    def _last_parameters(self) -> dict[str, Any]:
        """How the newest batch was sent; else the initial images, else the test split."""
        newest: dict[str, Sending] = {s.images: s for s in sendings.read_sendings(self.loop)}
        order = ("batch", "initial", "test")
        return next((newest[part].parameters for part in order if part in newest), {})
