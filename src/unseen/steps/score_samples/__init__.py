"""Score what the UNet has never seen: heatmap, metrics, regions."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult, left_out
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(StepConfig):
    """Parameters of `score_samples`."""

    checkpoint: str | None = setting(
        None, "UNet checkpoint. Default: the newest of this loop.", advanced=True, path="read"
    )
    alpha: float = setting(
        2.0,
        "Exponent of the alpha metric; a higher one favours high scores.",
        minimum=0.1,
        maximum=64,
    )
    adapt_alpha: bool = setting(
        False,
        "Raise the exponent with the imbalance of the labelled classes: alpha x (1 + imbalance); 0 = as many boxes of each class.",
        advanced=True,
    )
    threshold: float | None = setting(
        None,
        "Score above which a pixel counts. Default: a quantile of the pool.",
        minimum=0,
        maximum=1,
    )
    threshold_quantile: float = setting(
        0.97, "Quantile of the pool's scores that is the threshold.", minimum=0.5, maximum=0.99999
    )
    region_quantile: float = setting(
        0.97,
        "Quantile of the pool's scores above which pixels form regions.",
        minimum=0.5,
        maximum=0.99999,
        advanced=True,
    )
    max_regions: int = setting(
        5,
        "Unseen regions shown per image at most, the strongest first; fewer where the others are weak.",
        unit="regions",
        minimum=0,
        maximum=1000,
    )
    heatmap_size: int = setting(
        96,
        "Longest side of the heatmap; 0: none.",
        unit="px",
        minimum=0,
        maximum=1024,
        advanced=True,
    )
    batch_size: int = settings.batch_size(8)
    tile_size: int = setting(
        1536,
        "Images with a longer side are computed in overlapping tiles of this side (at working scale), so that memory stays bounded.",
        unit="px",
        minimum=256,
        advanced=True,
    )
    workers: int = settings.workers()
    rescore: bool = setting(False, "Score again what this model has scored already.", advanced=True)
    embeddings: bool = setting(
        True,
        "Also make FiftyOne Brain's similarity and visualization of the pretrained features, for the App's Embeddings panel and Sort by similarity; up to 50,000 images.",
        advanced=True,
    )
    device: str = settings.device()
    precision: str = settings.precision()
    seed: int = settings.seed("Seed of the sample of images behind the quantiles.", advanced=True)
    engine: str = settings.engine()
    address: str | None = settings.address()


@dataclass(frozen=True, kw_only=True)
class ScoreResult(StepResult):
    """Result of `score_samples`."""

    iteration: int
    scored: int
    already_scored: int
    thresholds: dict[str, float]  #: metric threshold, region threshold, heatmap full scale
    mean_score: float
    regions: int
    checkpoint: str
    skipped: list[Skipped] = field(default_factory=list)
    alpha: float | None = None  #: exponent of the alpha metric
    imbalance: float | None = None  #: of the labelled classes, where alpha goes by it
    repeated: int = 0  #: images that were computed again because a worker of the cluster died

    def summary(self) -> str:
        done = f" {self.already_scored} had been scored before." if self.already_scored else ""
        again = f" {self.repeated} were repeated, as their worker died." if self.repeated else ""
        return (
            f"{self.scored} images scored in {self.seconds:.0f} s; "
            f"{self.regions} unseen regions.{done}{left_out(self.skipped)}{again}{self._exponent()}"
        )

    def _exponent(self) -> str:
        if self.imbalance is None:
            return ""
        return f" Alpha {self.alpha:.2f}, by an imbalance of {self.imbalance:.2f}."


STEP = Step(
    order=60,
    label="Score the pool",
    config=ScoreConfig,
    continues=True,
    view_verb="Score",
    is_long=True,
)
