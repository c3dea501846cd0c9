"""The parameters of a benchmark, and the names of everything that can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.detector import architecture_choices, check_architecture, detectors
from unseen.errors import ConfigError
from unseen.loop.curves import FULL
from unseen.parameters import StepConfig, setting
from unseen.ranking import METRICS

#: The paper's ranking, in both readings of "the final softmax is removed".
PAPER_STRATEGIES = ("paper_mse", "paper_bce")
#: Disagreement of several UNets.
ENSEMBLE = "ensemble"
#: Published strategies from the library scikit-activeml.
BORROWED_STRATEGIES = ("typiclust", "probcover", "badge", "dropquery")
#: Those that FiftyOne Brain computes.
BRAIN_STRATEGIES = ("uniqueness", "representativeness")
#: Peers that rank by one vector per image, and which vectors.
EMBEDDING_STRATEGIES = (
    "uniqueness",
    "neighbours",
    "representativeness",
    "k_center",
    *BORROWED_STRATEGIES,
)
EMBEDDINGS = ("simple", "unet", "pretrained")
#: Criteria of `mixed` by themselves, on pretrained features.
CRITERION_STRATEGIES = ("novelty", "coverage")
#: Strategies that look at nothing.
UNSCORED_STRATEGIES = ("random", "sequential")
#: Features that `mixed` and its criteria can use instead of the best available.
FEATURES = ("efficientnet_lite0", "mobilenet_v2", "dinov2_s", "statistics")

#: Every strategy -> the options it takes; the default comes first for those that rank by vectors.
OPTIONS: dict[str, tuple[str, ...]] = {
    "mixed": FEATURES,
    **dict.fromkeys(("diverse", "plain"), METRICS),
    **dict.fromkeys(("balanced", "entropy", "foreground"), ()),
    **dict.fromkeys(PAPER_STRATEGIES, ()),
    ENSEMBLE: (),
    **dict.fromkeys(EMBEDDING_STRATEGIES, EMBEDDINGS),
    **dict.fromkeys(CRITERION_STRATEGIES, FEATURES),
    "margin": (),  # the uncertainty of a detector
    **dict.fromkeys(UNSCORED_STRATEGIES, ()),
    FULL: (),
}
ALL_STRATEGIES = tuple(OPTIONS)
#: Parameters of steps without a meaning here: nothing is written into a dataset.
NOT_HERE = ("series", "prefix", "model_dir")


@dataclass(frozen=True)
class Strategy:
    """One competitor: `name` or `name:option`."""

    name: str
    option: str = ""

    @classmethod
    def of(cls, text: str) -> Strategy:
        """Read and check the text of a strategy.

        Raises:
            ConfigError: there is no such strategy, or it has no such option.
        """
        name, _, option = text.partition(":")
        if name not in OPTIONS:
            raise ConfigError(
                f"strategy {text!r}; expected one of {', '.join(ALL_STRATEGIES)}, some with an "
                "option, such as plain:alpha or uniqueness:unet"
            )
        known = OPTIONS[name]
        if option and option not in known:
            expected = f"expected {name}:" + f" or {name}:".join(known) if known else "it has none"
            raise ConfigError(f"strategy {text!r} has no option {option!r}; {expected}")
        return cls(name, option)

    @property
    def embeddings(self) -> str:
        """The vectors it ranks by, if it does."""
        return self.option or EMBEDDINGS[0]

    @property
    def metric(self) -> str:
        """The metric of the UNet that it ranks by, if it does."""
        if self.name in PAPER_STRATEGIES:
            return "alpha"
        own = self.name if self.name in ("entropy", "foreground") else METRICS[0]
        return self.option if self.option in METRICS else own


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(StepConfig):
    """Parameters of `unseen benchmark`."""

    strategies: tuple[str, ...] = setting(
        ("mixed", "diverse", "entropy", "uniqueness", "k_center", "random", "sequential"),
        "What is compared; the first one is measured against every other. "
        + ", ".join(ALL_STRATEGIES)
        + "; uniqueness:unet (also :pretrained) names other embeddings, plain:alpha another metric.",
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "One run per seed: its start set, its training, its random choices.", minimum=0
    )
    iterations: int = setting(
        2, "Batches after the initial images.", unit="batches", minimum=1, maximum=1000
    )
    budget: int = setting(10, "Images in a batch.", unit="images", minimum=1)
    initial: int = setting(10, "Initial images.", unit="images", minimum=1)
    initial_order: str = setting(
        "directory",
        "Initial images: the first of the pool in directory order, or drawn at random per seed.",
        choices=("directory", "random"),
    )
    pool: int | None = setting(
        None,
        "Images in the pool, the initial ones included: a stretch of the directory from a place drawn per seed. Default: all (synthetic: 200).",
        unit="images",
        minimum=2,
    )
    test: int | None = setting(
        None,
        "Images of the test split that the detector is measured on. Default: all (synthetic: 60).",
        unit="images",
        minimum=1,
    )
    held_back: tuple[str, ...] = setting(
        (),
        "Classes to make rare, each in a comparison of its own: none in the initial images, and few in the pool.",
    )
    rare_images: int = setting(
        12, "Images in the pool that hold the class that is held back.", unit="images", minimum=1
    )
    classes: tuple[str, ...] = setting(
        (),
        "Only these classes: boxes of others count as background. Default: all of the dataset.",
    )
    rare: tuple[str, ...] = setting(
        (),
        "Classes that count as rare where none is held back. Default: those with at most a third of an even share of the pool's boxes, or none among the initial images.",
    )
    tiles: int = setting(
        1, "Cut every image into tiles x tiles pieces first.", minimum=1, maximum=16
    )
    detector: str = setting(
        "last",
        "When a detector is trained and measured: after the last batch, after each, or never.",
        choices=("last", "each", "never"),
    )
    schedules: tuple[str, ...] = setting(
        ("epochs",),
        "How long detectors train: the same number of epochs, the same number of steps, or both, side by side.",
        choices=("epochs", "steps"),
    )
    epochs: int = setting(100, "Epochs of the detector.", unit="epochs", minimum=1)
    detector_steps: int | None = setting(
        None,
        "Steps of the schedule `steps`. Default: what the epochs come to for the last iteration.",
        unit="steps",
        minimum=1,
    )
    detector_kind: str = setting(
        "faster_rcnn", "Which detector is trained.", choices=tuple(detectors())
    )
    architecture: str = setting(
        "auto", "Backbone of the detector.", choices=architecture_choices(), advanced=True
    )
    image_size: int | None = setting(
        None,
        "Longest side of the images inside the detector. Default: by architecture and image size.",
        unit="px",
        minimum=64,
        maximum=4096,
        advanced=True,
    )
    unet_steps: int | None = setting(
        None, "Optimiser steps of the UNet. Default: the mode's.", unit="steps", minimum=1
    )
    members: int = setting(
        3, "UNets of the ensemble.", unit="models", minimum=2, maximum=32, advanced=True
    )
    output: str = setting("benchmark", "Folder of the runs, the report and the JSON file.")
    jobs: int = setting(
        1, "Runs at the same time, each in a process of its own.", minimum=1, maximum=256
    )
    threads: int = setting(
        1, "Threads of PyTorch in each process.", minimum=1, maximum=256, advanced=True
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)

    def _check_together(self) -> None:
        super()._check_together()
        check_architecture(self.detector_kind, self.architecture)
        for text in self.strategies:
            Strategy.of(text)
        for name in ("strategies", "seeds", "schedules"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; expected at least one")
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds={list(self.seeds)!r} names a seed twice")
        if self.strategies == (FULL,):
            raise ConfigError(
                "strategies=full alone compares nothing; name at least one that chooses images"
            )
        if self.detector == "never" and FULL in self.strategies:
            raise ConfigError(
                "strategy 'full' is a detector that has seen every label, and detector='never'; "
                "leave it out, or measure a detector"
            )
        common = None if self.pool is None else self.pool - self.rare_images
        if self.held_back and common is not None and common <= self.initial:
            raise ConfigError(
                f"pool={self.pool} with rare_images={self.rare_images} leaves {common} other images; "
                f"expected more than the {self.initial} initial ones. Enlarge the pool, or lower "
                "rare_images"
            )
        if self.pool is not None and self.pool < self.initial + self.iterations * self.budget:
            raise ConfigError(
                f"pool={self.pool} is less than initial + iterations x budget = "
                f"{self.initial + self.iterations * self.budget}; enlarge it or label less"
            )

    @property
    def wanted_images(self) -> int:
        """Labelled images at the end of a run."""
        return self.initial + self.iterations * self.budget
