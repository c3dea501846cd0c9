"""Run the whole loop from a fully labelled dataset, for several strategies."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unseen.dataset import reading, setup, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import BudgetError, ConfigError, DatasetError
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

#: Series of the detector that is trained on every label.
FULL_SERIES = "full"


@step(SimulateConfig)
def simulate(loop: Loop, config: SimulateConfig, progress: Progress) -> SimulateResult:
    """Label, rank and train as a team would, with the hidden labels as annotator.

    The first strategy is the main loop: its labels appear in the label field. Every other one runs
    as a series of its own, with its own tags and records, from the same initial images and with
    the same number of images; the initial detector is shared, because it is the same.

    A simulation that was interrupted goes on where it stopped when it is called again with the
    same parameters.
    """
    reading.check_label_field(loop.dataset, config.hidden_field, parameter="hidden_field")
    _check(loop, config)
    classes = _hidden_classes(loop.dataset, config)
    if not loop.batches():
        split_dataset(
            loop.view,
            initial=config.initial,
            initial_order=config.initial_order,
            seed=config.seed,
            test_share=0.2,
            progress=progress,
            **_shared(config),
        )
        _label_test_split(loop, config)
    _check_budget(loop, config)
    loop.write_entry(0, "simulate", {"parameters": config.to_dict()})

    clock = time.perf_counter()
    first_batch: list[float] = []
    for position, strategy in enumerate(config.strategies):
        run = _Simulation(
            loop.dataset,
            config,
            strategy,
            series=loop.names.series if position == 0 else _series(config, strategy),
            is_main=position == 0,
            classes=tuple(classes),
            progress=progress,
            on_batch=lambda: first_batch.append(time.perf_counter() - clock),
        )
        run.run()
    if config.full and config.detector:
        _train_full(loop.dataset, config, tuple(classes), progress)
    return SimulateResult(
        dataset=loop.dataset.name,
        iterations=summaries(loop),
        first_batch_seconds=round(first_batch[0], 1) if first_batch else None,
    )


@dataclass
class _Simulation:
    """One strategy from the initial images to its last batch."""

    dataset: Any
    config: SimulateConfig
    strategy: str
    series: str
    is_main: bool
    classes: tuple[str, ...]
    progress: Progress
    on_batch: Callable[[], None]

    def run(self) -> None:
        config = self.config
        names = self._names()
        if not self.is_main and self._is_complete(names):
            return
        if not self.is_main:
            text = f"Labels revealed to the strategy {self.strategy}"
            writing.declare_detections(Loop(self.dataset, names), names.label_field, text)
        self._reveal(0)
        for number in range(config.iterations + 1):
            # The batch comes first: it is what a person waits for.
            if number < config.iterations:
                self._select(names, number)
            if config.detector and (number or self.is_main):
                self._detect(names, number)
            if number < config.iterations:
                self._reveal(number + 1)
        if not self.is_main:
            self._tidy(names)

    def _names(self) -> Names:
        return setup.names_for(self.dataset, dataclasses.replace(self.config, **self._place()))

    def _place(self) -> dict[str, Any]:
        """Where this loop keeps its things."""
        shared = _shared(self.config)
        if not self.is_main:
            shared["series"] = self.series
            shared["label_field"] = f"{self.config.prefix}_{self.series}_labels"
        return shared

    def _said(self, number: int) -> Progress:
        where = f"{self.strategy} {number}/{self.config.iterations}: "

        def say(done: float, total: float, label: str = "") -> None:
            self.progress(done, total, where + label)

        return say

    def _is_complete(self, names: Names) -> bool:
        """Whether an earlier call finished this series."""
        records = Loop(self.dataset, names).records()
        last = records.get(self.config.iterations, {"steps": {}})["steps"]
        return ("evaluate_detector" if self.config.detector else "reveal_labels") in last

    def _reveal(self, number: int) -> None:
        reveal_labels(
            self.dataset,
            iteration=number,
            hidden_field=self.config.hidden_field,
            regions_only=self.config.regions_only,
            progress=self._said(number),
            **self._place(),
        )

    def _select(self, names: Names, number: int) -> None:
        if number + 1 in Loop(self.dataset, names).batches():
            return
        config, place, said = self.config, self._place(), self._said(number)
        if self.strategy in SCORED_STRATEGIES:
            train_unet(
                self.dataset,
                mode=config.mode,
                steps=config.unet_steps,
                device=config.device,
                seed=config.seed,
                progress=said,
                **place,
            )
            score_samples(self.dataset, device=config.device, progress=said, **place)
        select_batch(
            self.dataset,
            budget=config.budget,
            strategy=self.strategy,
            metric=config.metric,
            seed=config.seed + number,
            progress=said,
            **place,
        )
        self.on_batch()

    def _detect(self, names: Names, number: int) -> None:
        record = Loop(self.dataset, names).record(number) or {"steps": {}}
        if "evaluate_detector" not in record["steps"]:
            _measure(self.dataset, self.config, self.classes, self._said(number), self._place())

    def _tidy(self, names: Names) -> None:
        """A baseline leaves its records, batches and evaluations, but no fields for every sample."""
        fields = set(writing.own_fields(self.dataset, names.prefix))
        own = [f for f in fields if f.startswith(f"{names.prefix}_{self.series}_")]
        writing.delete_fields(self.dataset, own)
        writing.group_fields(Loop(self.dataset, names))


def _measure(
    dataset: Any,
    config: SimulateConfig,
    classes: tuple[str, ...],
    said: Progress,
    place: dict[str, Any],
) -> None:
    train_detector(
        dataset,
        detector=config.detector_kind,
        architecture=config.architecture,
        epochs=config.epochs,
        steps=config.detector_steps,
        image_size=config.image_size,
        device=config.device,
        seed=config.seed,
        classes=classes,
        progress=said,
        **place,
    )
    apply_detector(dataset, device=config.device, progress=said, **place)
    evaluate_detector(dataset, gt_field=config.hidden_field, progress=said, **place)


def _train_full(
    dataset: Any, config: SimulateConfig, classes: tuple[str, ...], progress: Progress
) -> None:
    """The detector that has seen every label: what the ranked batches are measured against."""
    place = _shared(config)
    place["series"] = _series(config, FULL_SERIES)
    place["label_field"] = config.hidden_field
    record = Loop(dataset, setup.names_for(dataset, dataclasses.replace(config, **place))).record(0)
    if record and "evaluate_detector" in record["steps"]:
        return

    def said(done: float, total: float, label: str = "") -> None:
        progress(done, total, f"full: {label}")

    _measure(dataset, config, classes, said, place)
    Loop(dataset, setup.names_for(dataset, dataclasses.replace(config, **place))).write_entry(
        0, "simulate", {"parameters": config.to_dict()}, strategy="full"
    )


def _series(config: SimulateConfig, strategy: str) -> str:
    return f"{config.series}_{strategy}" if config.series else strategy


def _shared(config: SimulateConfig) -> dict[str, Any]:
    names = ("label_field", "series", "prefix", "test_tag", "model_dir")
    return {name: getattr(config, name) for name in names}


def _hidden_classes(dataset: Any, config: SimulateConfig) -> list[str]:
    names = setup.names_for(dataset, dataclasses.replace(config, label_field=config.hidden_field))
    return Loop(dataset, names).classes()


def _label_test_split(loop: Loop, config: SimulateConfig) -> None:
    """The main loop's test split shows its labels from the start, as a labelled test split does."""
    test = loop.dataset.match_tags(loop.names.test_tag)
    if loop.dataset.get_field(loop.names.label_field) is not None:
        test = test.exists(loop.names.label_field, False)
    ids, truths = test.values(["id", config.hidden_field])
    labels = {i: t.copy() for i, t in zip(ids, truths, strict=True) if t is not None}
    writing.set_labels(loop.dataset, loop.names.label_field, labels)


def _check(loop: Loop, config: SimulateConfig) -> None:
    if not config.strategies:
        raise ConfigError("strategies is empty; expected at least one, such as mixed")
    if config.hidden_field == loop.names.label_field:
        raise ConfigError(
            f"hidden_field and label_field are both {loop.names.label_field!r}; the simulated annotator "
            "copies from one into the other. Pass another label_field, for example "
            "label_field='simulated'"
        )
    record = loop.record(0)
    earlier = (record or {"steps": {}})["steps"].get("simulate")
    if earlier:
        before, now = earlier["parameters"], config.to_dict()
        # A parameter that came later had its default's effect.
        before = {**type(config)().to_dict(), **before}
        different = sorted(k for k in now if before[k] != now[k])
        if different:
            raise ConfigError(
                f"dataset {loop.dataset.name!r} holds a simulation with other parameters "
                f"({', '.join(f'{k}: {before.get(k)!r}' for k in different)}); use the same ones to "
                f"go on, pass another series=, or run `unseen clean {loop.dataset.name}` first"
            )
        return
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    if loop.dataset.get_field(loop.names.label_field) is not None:
        in_use = len(loop.whole.labelled)
        if in_use:
            raise DatasetError(
                f"label field {loop.names.label_field!r} of dataset {loop.dataset.name!r} holds labels of "
                f"{in_use} images outside the test split; a simulation starts unlabelled. Pass "
                f"hidden_field={loop.names.label_field!r} and a new label_field"
            )


def _check_budget(loop: Loop, config: SimulateConfig) -> None:
    usable = loop.dataset.match_tags([loop.names.test_tag, loop.names.excluded_tag], bool=False)
    wanted = config.initial + config.iterations * config.budget
    if wanted > len(usable):
        raise BudgetError(
            f"initial={config.initial} and {config.iterations} batches of {config.budget} are "
            f"{wanted} images, but dataset {loop.dataset.name!r} has {len(usable)} outside its test "
            "split; lower the budget or the number of iterations"
        )
