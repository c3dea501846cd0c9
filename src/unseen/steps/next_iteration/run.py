"""One turn of the loop, as far as it can go now."""

from __future__ import annotations

from typing import Any

from unseen.annotation import sendings, truth
from unseen.annotation.sendings import Sending
from unseen.dataset import reading
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.parameters import StepConfig, parameters
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

    Can be run at any moment, by hand or from cron: it does what is due, says what it did, and says
    what it waits for. What is done for these labels already is not done again.
    """
    turn = _Turn(Loop(loop.dataset, loop.names), config, progress)
    turn.load()
    waits_for = turn.waits_for()
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
        shared = {p.name for p in parameters(StepConfig)}
        self.place = {name: getattr(config, name) for name in shared}

    def run(self, step: Any, **settings: Any) -> Any:
        """Run a step, and remember what it said."""
        result: StepResult = step(
            self.dataset, progress=self.progress, **{**self.place, **settings}
        )
        self.steps[step.__name__] = result.to_dict()
        self.done.append(f"{step.__name__}: {result.summary()}")
        return result

    # --- what has come back ----------------------------------------------------------------------
    def load(self) -> None:
        """Load every batch that is out."""
        if any(not s.closed for s in sendings.read_sendings(self.loop)):
            self.run(load_annotations, jobs=self.config.jobs, stage=self.config.stage)

    def waits_for(self) -> str | None:
        """What is missing before the next batch can be chosen, or None."""
        number = max(self.loop.batches(), default=0)
        tag = self.names.batch(number) if number else self.names.initial_tag
        images = truth.awaited(self.loop, tag)
        total = len(images)
        has_labels = self.dataset.get_field(self.names.label_field) is not None
        labelled = len(images.exists(self.names.label_field)) if has_labels else 0
        if not total and number:
            self.done.append(f"Every image of {tag} was removed or excluded; it is chosen anew.")
            self.replace = True
            return None
        if not total and has_labels and len(self.loop.whole.labelled):
            return None  # labels that came without this package's split
        if not total:
            return "labels to begin with: split the dataset and label its initial images"
        # Rounded up, and not because a product like 0.07 * 100 is a little more than 7.
        if labelled and labelled >= self.config.min_loaded * total - 1e-6:
            self._check_labels(tag, labelled, total)
            return None
        self.batch = tag
        sending = self._sending_of(number)
        if sending is not None and sending.complete:
            return f"{total - labelled} of {total} images of {tag} are still with the annotators"
        if self.config.send:
            self._send(number)
            return f"the labels of {tag}: {total} images were just sent"
        begun = "only partly sent" if sending is not None else "not sent yet"
        return (
            f"the labels of {tag}: {labelled} of {total} images have some, and it is {begun}. Send "
            "it with request_annotations (or send=True), or label it another way"
        )

    def _check_labels(self, tag: str, labelled: int, total: int) -> None:
        found = reading.read_labels(
            self.dataset.match_tags(tag).exists(self.names.label_field), self.names.label_field
        )
        problems = "".join(f", {n} boxes {what}" for what, n in found.box_problems.items())
        counts = ", ".join(f"{k} {v}" for k, v in found.class_counts.items()) or "no box at all"
        self.done.append(
            f"checked {tag}: {labelled} of {total} images labelled, {counts}{problems}."
        )

    # --- the next batch --------------------------------------------------------------------------
    def go_on(self) -> None:
        """Train, score, select, send."""
        number = self.loop.iteration()
        labels = truth.fingerprint(self.loop.whole.labelled, self.names)
        before = self._before(number)
        fresh = set(before.get("finished", [])) if before.get("labels") == labels else set()
        last = self._last_sending()
        needs_predictions = bool(last and self.config.send and last.parameters.get("predictions"))
        try:
            left = len(self.loop.whole.pool)
            if left and "score_samples" not in fresh:
                self.run(train_unet, seed=self.config.seed)
                self.run(score_samples)
                fresh.add("score_samples")
            if needs_predictions:
                self._detect(number, fresh)
            if left:
                # The batch comes first: people wait for it.
                chosen = self.run(
                    select_batch,
                    budget=min(self.config.budget, left),
                    strategy=self.config.strategy,
                    seed=self.config.seed + number,
                    replace=self.replace,
                )
                self.batch = chosen.batch
                problem = self._try_to_send(chosen.iteration) if self.config.send else None
            else:
                problem = None
                self.done.append("The pool is empty: every image is labelled, test or excluded.")
            self._detect(number, fresh)
            if problem is not None:
                raise problem
        finally:
            # Also after a failure: what is done for these labels is not done again.
            self._remember(number, labels, fresh)

    def catch_up(self) -> None:
        """While people label: finish the detector where an earlier turn was cut short."""
        number = self.loop.iteration()
        before = self._before(number)
        fresh = set(before.get("finished", []))
        if not self.config.detector or "score_samples" not in fresh or "evaluate_detector" in fresh:
            return
        labels = truth.fingerprint(self.loop.whole.labelled, self.names)
        if before["labels"] == labels and self._can_detect():
            self._detect(number, fresh)
            self._remember(number, labels, fresh)

    def _before(self, number: int) -> dict[str, Any]:
        """What the last turn of this iteration recorded."""
        record = self.loop.record(number) or {"steps": {}}
        found: dict[str, Any] = record["steps"].get("next_iteration", {})
        return found

    def _remember(self, number: int, labels: str, fresh: set[str]) -> None:
        entry = {
            "parameters": self.config.to_dict(),
            "labels": labels,
            "finished": sorted(fresh),
        }
        self.loop.write_entry(number, "next_iteration", entry)

    def _try_to_send(self, number: int) -> AnnotationError | None:
        """Send; where the server fails, the detector need not wait for it."""
        try:
            self._send(number)
        except AnnotationError as error:
            return error
        return None

    def _detect(self, number: int, fresh: set[str]) -> None:
        """Train and measure the detector of this iteration, where that can be done."""
        if not self.config.detector or "evaluate_detector" in fresh:
            return
        if not self._can_detect():
            self.done.append("No detector: there is no labelled test split to measure it on.")
            return
        self.run(train_detector, iteration=number, seed=self.config.seed)
        self.run(apply_detector, iteration=number)
        self.run(evaluate_detector, iteration=number)
        fresh.add("evaluate_detector")

    def _can_detect(self) -> bool:
        test = self.dataset.match_tags(self.names.test_tag)
        return len(test) > 0 and len(test.exists(self.names.label_field)) > 0

    def _send(self, number: int) -> None:
        last = self._last_sending()
        settings: dict[str, Any] = {}
        if last is not None:
            fixed = {"images", "iteration", "dry_run", *self.place}
            known = {p.name for p in parameters(RequestConfig)} - fixed
            settings = {k: v for k, v in last.parameters.items() if k in known}
            settings["classes"] = self._classes(settings.get("classes") or [])
        if settings.get("predictions"):
            images = self.dataset.match_tags(self.names.batch(number))
            self._predict(images)
        images_of = "batch" if number else "initial"
        result = self.run(request_annotations, images=images_of, **settings)
        self.sent = result.complete

    def _predict(self, images: Any) -> None:
        result = apply_detector(images, progress=self.progress, target="view", **self.place)
        self.done.append(f"apply_detector: {result.summary()}")

    def _classes(self, given: list[str]) -> list[str]:
        """The classes of the last request, and those that came to light since."""
        if not given:
            return []
        seen = self.dataset.distinct(f"{self.names.label_field}.detections.label")
        return list(dict.fromkeys([*given, *sorted(seen)]))

    def _last_sending(self) -> Sending | None:
        """The newest sending of a batch; else that of the initial images, else of the test split."""
        order = ("test", "initial", "batch")
        found = sendings.read_sendings(self.loop)
        newest = {s.images: s for s in found}
        return next((newest[part] for part in reversed(order) if part in newest), None)

    def _sending_of(self, number: int) -> Sending | None:
        key = self.names.anno_key(number) if number else self.names.own_anno_key("initial")
        return sendings.read_sending(self.loop, key)
