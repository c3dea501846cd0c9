"""Run the whole loop on a fully labelled dataset, for several strategies."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unseen.dataset import reading, setup, writing
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, ConfigError, DatasetError
from unseen.loop.curves import FULL
from unseen.parameters import StepConfig, part
from unseen.progress import Progress
from unseen.ranking import SCORED_STRATEGIES
from unseen.steps.apply_detector.run import apply_detector
from unseen.steps.compare_iterations.run import summaries
from unseen.steps.evaluate_detector.run import evaluate_detector
from unseen.steps.reveal_labels.run import reveal_labels
from unseen.steps.score_samples.run import score_samples
from unseen.steps.select_batch.run import select_batch
from unseen.steps.simulate import SimulateConfig, SimulateResult
from unseen.steps.split_dataset.run import split_dataset
from unseen.steps.step import step
from unseen.steps.train_detector.run import train_detector
from unseen.steps.train_unet.run import train_unet


@step(SimulateConfig)
def simulate(loop: Loop, config: SimulateConfig, progress: Progress) -> SimulateResult:
    """Label, rank and train as a team would, with the hidden labels as annotator.

    The first strategy is the main loop and fills the label field. Each of the others is a series with
    its own tags and records, with the same initial images, budget and initial detector. A repeated
    call with the same parameters resumes an interrupted simulation.
    """
    reading.check_label_field(loop.dataset, config.hidden_field, parameter="hidden_field")
    _check(loop, config)
    hidden = dataclasses.replace(loop.names, label_field=config.hidden_field)
    classes = tuple(Loop(loop.dataset, hidden).classes())
    place = part(config, StepConfig)
    if not loop.batches():
        split_dataset(
            loop.view,
            initial=config.initial,
            initial_order=config.initial_order,
            seed=config.seed,
            test_share=0.2,
            progress=progress,
            **place,
        )
        _label_test_split(loop, config.hidden_field)
    _check_budget(loop.whole, config)
    entry = {"parameters": config.to_dict()}
    loop.write_entry(0, "simulate", entry)

    def series(strategy: str, label_field: str | None = None) -> _Series:
        name = f"{config.series}_{strategy}" if config.series else strategy
        field = label_field or f"{config.prefix}_{name}_labels"
        own = {**place, "series": name, "label_field": field}
        return _Series(loop.dataset, config, strategy, own, classes, progress)

    started = time.perf_counter()
    main = _Series(loop.dataset, config, config.strategies[0], place, classes, progress)
    selected = [main.run(), *(series(s).run() for s in config.strategies if s != main.strategy)]
    if config.full and config.detector:
        full = series(FULL, config.hidden_field)
        if not full.loop.entry(0, "evaluate_detector"):
            full.detect(0)
            full.loop.write_entry(0, "simulate", entry, strategy=FULL)
    first = next((moment for moment in selected if moment is not None), None)
    return SimulateResult(
        dataset=loop.dataset.name,
        iterations=summaries(loop),
        first_batch_seconds=None if first is None else round(first - started, 1),
    )


@dataclass
class _Series:
    """One strategy from the initial images to its last batch."""

    dataset: Any
    config: SimulateConfig
    strategy: str
    place: dict[str, Any]  #: parameters of every step: where this series is stored
    classes: tuple[str, ...]
    progress: Progress

    def run(self) -> float | None:
        """Do what is left; returns when this call selected its first batch."""
        config, loop = self.config, self.loop
        is_main = self.strategy == config.strategies[0]
        first_batch: float | None = None
        if not is_main:
            last = "evaluate_detector" if config.detector else "reveal_labels"
            if loop.entry(config.iterations, last):
                return None
            text = f"Labels revealed to the strategy {self.strategy}"
            writing.declare_detections(loop, loop.names.label_field, text)
        self._reveal(0)
        for number in range(config.iterations + 1):
            # The batch comes first, because people wait for it.
            if number < config.iterations and number + 1 not in loop.batches():
                self._select(number)
                first_batch = first_batch or time.perf_counter()
            measured = loop.entry(number, "evaluate_detector")
            if config.detector and (number or is_main) and not measured:
                self.detect(number)
            if number < config.iterations:
                self._reveal(number + 1)
        if not is_main:
            # A baseline leaves its records, batches and evaluations, but no field of its own.
            own = f"{loop.names.prefix}_{loop.names.series}_"
            series = (one.names.series for one in loop.all_series())  # "random_2" beside "random"
            others = tuple(
                o for s in series if (o := f"{loop.names.prefix}_{s}_") != own and o.startswith(own)
            )
            fields = [f for f in writing.own_fields(loop) if f.startswith(own)]
            writing.delete_fields(self.dataset, [f for f in fields if not f.startswith(others)])
            writing.group_fields(loop)
        return first_batch

    def detect(self, number: int) -> None:
        """Train, apply and evaluate a detector on what is labelled."""
        config, common = self.config, self._common(number)
        train_detector(
            self.dataset,
            detector=config.detector_kind,
            architecture=config.architecture,
            epochs=config.epochs,
            steps=config.detector_steps,
            image_size=config.image_size,
            device=config.device,
            seed=config.seed,
            classes=self.classes,
            **common,
        )
        apply_detector(self.dataset, device=config.device, **common)
        evaluate_detector(self.dataset, gt_field=config.hidden_field, **common)

    @cached_property
    def loop(self) -> Loop:
        """This series on the whole dataset."""
        config = dataclasses.replace(self.config, **self.place)
        return Loop(self.dataset, setup.names_for(self.dataset, config))

    def _reveal(self, number: int) -> None:
        reveal_labels(
            self.dataset,
            iteration=number,
            hidden_field=self.config.hidden_field,
            regions_only=self.config.regions_only,
            **self._common(number),
        )

    def _select(self, number: int) -> None:
        config, common = self.config, self._common(number)
        if self.strategy in SCORED_STRATEGIES:
            train_unet(
                self.dataset,
                mode=config.mode,
                steps=config.unet_steps,
                device=config.device,
                seed=config.seed,
                **common,
            )
            score_samples(self.dataset, device=config.device, **common)
        select_batch(
            self.dataset,
            budget=config.budget,
            strategy=self.strategy,
            metric=config.metric,
            seed=config.seed + number,
            **common,
        )

    def _common(self, number: int) -> dict[str, Any]:
        """The place, and a progress that names the strategy and the iteration."""
        where = f"{self.strategy}: "
        if self.strategy != FULL:
            where = f"{self.strategy} {number}/{self.config.iterations}: "

        def progress(done: int, total: int, label: str = "") -> None:
            self.progress(done, total, where + label)

        return {**self.place, "progress": progress}


def _label_test_split(loop: Loop, hidden_field: str) -> None:
    """Show the labels of the test split from the start."""
    test = loop.without_labels(loop.whole.test)
    ids, truths = test.values(["id", hidden_field])
    labels = {i: t.copy() for i, t in zip(ids, truths, strict=True) if t is not None}
    writing.set_labels(loop.dataset, loop.names.label_field, labels)


def _check(loop: Loop, config: SimulateConfig) -> None:
    name, field = loop.dataset.name, loop.names.label_field
    if not config.strategies:
        raise ConfigError("strategies is empty; expected at least one, such as mixed")
    if config.hidden_field == field:
        raise ConfigError(
            f"hidden_field and label_field are both {field!r}; the simulated annotator copies from "
            "one into the other. Pass another label_field, for example simulated"
        )
    earlier = loop.entry(0, "simulate")
    if earlier:
        before, now = earlier["parameters"], config.to_dict()
        different = sorted(k for k in now if before[k] != now[k])
        if different:
            raise ConfigError(
                f"dataset {name!r} holds a simulation with other parameters "
                f"({', '.join(f'{k}: {before[k]!r}' for k in different)}); use the same ones to go "
                f"on, pass another series=, or run `unseen clean {name}` first"
            )
        return
    reading.check_label_field(loop.dataset, field, must_exist=False)
    labelled = len(loop.whole.labelled) if loop.has_labels else 0
    if labelled:
        raise DatasetError(
            f"label field {field!r} of dataset {name!r} holds labels of {labelled} images outside "
            f"the test split; a simulation starts unlabelled. Pass hidden_field={field!r} and a new "
            "label_field"
        )


def _check_budget(loop: Loop, config: SimulateConfig) -> None:
    usable = len(loop.usable)
    if config.wanted_images > usable:
        raise BudgetError(
            f"initial={config.initial} and {config.iterations} batches of {config.budget} are "
            f"{config.wanted_images} images, but dataset {loop.dataset.name!r} has {usable} outside its test "
            "split; lower the budget or the number of iterations"
        )
