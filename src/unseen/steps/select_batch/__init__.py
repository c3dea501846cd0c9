"""Choose the batch to label next and save it as a view."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.ranking import METRICS, STRATEGIES
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step

#: The ids of a batch are in one record, and a document of MongoDB ends at 16 MB.
MOST_IN_BATCH = 100_000


@dataclass(frozen=True, kw_only=True)
class SelectConfig(StepConfig):
    """Parameters of `select_batch`."""

    budget: int = setting(
        10, "Images in the batch.", unit="images", minimum=1, maximum=MOST_IN_BATCH
    )
    strategy: str = setting("mixed", "How the batch is chosen.", choices=STRATEGIES)
    metric: str = setting(
        "excess", "Image metric that ranks (strategies diverse, mixed and plain).", choices=METRICS
    )
    random_share: float = setting(
        0.0, "Share of the batch drawn at random instead.", minimum=0, maximum=1
    )
    replace: bool = setting(False, "Replace the last batch if no one has labelled any of it yet.")
    features: str = setting(
        "auto",
        "Pretrained features: auto takes the best at hand; efficientnet_lite0, mobilenet_v2, dinov2_s, statistics (no network), or a weights file.",
        advanced=True,
        only_with={"strategy": ("mixed",)},
        path="read",
        not_paths=("auto", "efficientnet_lite0", "mobilenet_v2", "dinov2_s", "statistics", "none"),
    )
    seed: int = settings.seed()
    engine: str = settings.engine(
        "What computes the pretrained features", only_with={"strategy": ("mixed",)}
    )
    address: str | None = settings.address()


@dataclass(frozen=True, kw_only=True)
class SelectResult(StepResult):
    """Result of `select_batch`."""

    iteration: int  #: the iteration that this batch makes once it is labelled
    batch: str  #: tag and saved view
    strategy: str
    sample_ids: list[str]
    pool: int
    unscored: int = 0
    candidates: int = 0  #: of `balanced` and `mixed` in a large pool: images that they chose among
    # Only of the strategy mixed:
    criteria: dict[str, int] = field(default_factory=dict)  #: images per criterion
    trust: str = ""  #: what was rehearsed, and how the batch is divided
    features: str = ""  #: where the pretrained features come from

    def summary(self) -> str:
        missing = f" {self.unscored} pool images have no score yet." if self.unscored else ""
        if self.candidates:
            missing += (
                f" Chosen among {self.candidates} of the scored images; docs/scale.md says which."
            )
        from unseen.ranking.mixed import CRITERIA  # forms import this module without numpy

        parts = ", ".join(f"{n} for {CRITERIA[c].seeks}" for c, n in self.criteria.items())
        return (
            f"{len(self.sample_ids)} of {self.pool} pool images selected ({self.strategy}) as "
            f"{self.batch}{': ' + parts if parts else ''}.{missing}"
            + "".join(f" {sentence}" for sentence in (self.trust, self.features) if sentence)
        )


STEP = Step(
    order=70,
    label="Next batch",
    config=SelectConfig,
)
