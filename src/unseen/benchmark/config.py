"""The parameters of a benchmark, and the strategies that it can compare."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.errors import ConfigError
from unseen.loop.curves import FULL
from unseen.parameters import setting
from unseen.ranking import METRICS
from unseen.steps import settings
from unseen.steps.simulate import PlayedLoop

PAPER_STRATEGIES = ("paper_mse", "paper_bce")
ENSEMBLE = "ensemble"
#: From the library scikit-activeml.
BORROWED_STRATEGIES = ("typiclust", "probcover", "badge", "dropquery")
#: From FiftyOne Brain.
BRAIN_STRATEGIES = ("uniqueness", "representativeness")
#: Peers that rank by one vector per image, and where the vectors come from.
EMBEDDING_STRATEGIES = (*BRAIN_STRATEGIES, "neighbours", "k_center", *BORROWED_STRATEGIES)
EMBEDDINGS = ("simple", "unet", "pretrained")
#: Single criteria of `mixed`, on pretrained features.
CRITERION_STRATEGIES = ("novelty", "coverage")
UNSCORED_STRATEGIES = ("random", "sequential")
#: Features for `mixed` and its criteria, instead of the best available.
FEATURES = ("efficientnet_lite0", "mobilenet_v2", "dinov2_s", "statistics")

#: Every strategy -> the options it takes; of embeddings, the first is the default.
OPTIONS: dict[str, tuple[str, ...]] = {
    "mixed": FEATURES,
    **dict.fromkeys(("diverse", "plain"), METRICS),
    **dict.fromkeys(("balanced", "entropy", "foreground"), ()),
    **dict.fromkeys((*PAPER_STRATEGIES, ENSEMBLE), ()),
    **dict.fromkeys(EMBEDDING_STRATEGIES, EMBEDDINGS),
    **dict.fromkeys(CRITERION_STRATEGIES, FEATURES),
    "margin": (),  # of a detector
    **dict.fromkeys((*UNSCORED_STRATEGIES, FULL), ()),
}
ALL_STRATEGIES = tuple(OPTIONS)
#: Parameters of steps that mean nothing here, because no dataset is written.
NOT_HERE = ("series", "prefix", "model_dir")


@dataclass(frozen=True)
class Strategy:
    """One competitor, written `name` or `name:option`."""

    name: str
    option: str = ""

    @classmethod
    def of(cls, text: str) -> Strategy:
        """Parse a strategy; raises `ConfigError` for an unknown name or option."""
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
        """The vectors that the strategy ranks by, if it does."""
        return self.option or EMBEDDINGS[0]

    @property
    def metric(self) -> str:
        """The metric of the UNet that the strategy ranks by, if it does."""
        if self.name in PAPER_STRATEGIES:
            return "alpha"
        own = self.name if self.name in ("entropy", "foreground") else METRICS[0]
        return self.option if self.option in METRICS else own


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(PlayedLoop):
    """Parameters of `unseen benchmark`."""

    strategies: tuple[str, ...] = setting(
        ("mixed", "diverse", "entropy", "uniqueness", "k_center", "random", "sequential"),
        "Strategies to compare; the first is measured against every other. "
        + ", ".join(ALL_STRATEGIES)
        + "; uniqueness:unet (also :pretrained) names other embeddings, plain:alpha another metric.",
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "One run per seed, which sets its pool, training and random choices.", minimum=0
    )
    pool: int | None = setting(
        None,
        "Images in the pool, the initial ones included: a stretch of the directory from a place drawn per seed. Default: all (synthetic: 200).",
        unit="images",
        minimum=2,
    )
    test: int | None = setting(
        None,
        "Images of the test split to evaluate the detector on. Default: all (synthetic: 60).",
        unit="images",
        minimum=1,
    )
    held_back: tuple[str, ...] = setting(
        (),
        "Classes to make rare, each in a comparison of its own: none in the initial images, few in the pool. Default: classes with at most a third of an even share of the boxes count as rare.",
    )
    rare_images: int = setting(
        12, "Images in the pool that show the held-back class.", unit="images", minimum=1
    )
    classes: tuple[str, ...] = setting(
        (),
        "Use only these classes; boxes of others count as background. Default: all.",
    )
    detector: str = setting(
        "last",
        "When to train and evaluate a detector: after the last batch, after each, or never.",
        choices=("last", "each", "never"),
    )
    schedule: str = setting(
        "epochs",
        "Detectors train for the same number of epochs, or of steps: by default as many as the epochs take at the end of a run.",
        choices=("epochs", "steps"),
    )
    members: int = setting(
        3, "UNets of the ensemble.", unit="models", minimum=2, maximum=32, advanced=True
    )
    output: str = setting(
        "benchmark", "Folder of the runs, the report and the JSON file.", path="write"
    )
    jobs: int = setting(
        1, "Runs at the same time, each in its own process with one thread.", minimum=1, maximum=256
    )
    engine: str = settings.engine()
    address: str | None = settings.address()

    def _check_together(self) -> None:
        super()._check_together()
        for text in self.strategies:
            Strategy.of(text)
        for name in ("strategies", "seeds"):
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
                "strategy 'full' trains a detector on every label, but detector='never'; leave it "
                "out, or pass detector='last'"
            )
        if self.pool is None:
            return
        common = self.pool - self.rare_images
        if self.held_back and common <= self.initial:
            raise ConfigError(
                f"pool={self.pool} with rare_images={self.rare_images} leaves {common} other images; "
                f"expected more than the {self.initial} initial ones. Enlarge the pool, or lower "
                "rare_images"
            )
        if self.pool < self.wanted_images:
            raise ConfigError(
                f"pool={self.pool} is less than initial + iterations x budget = "
                f"{self.wanted_images}; enlarge it or label less"
            )
