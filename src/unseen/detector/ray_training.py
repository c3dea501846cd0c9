"""Train one detector in several processes of a Ray cluster, with Ray Train."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from unseen.detector.data_parallel import rank_and_size
from unseen.detector.models import load_detector
from unseen.detector.training import TrainedDetector
from unseen.errors import ConfigError, TrainingError, UnseenError
from unseen.progress import Progress, silent
from unseen.ranking.cluster import MOST_DEATHS, PATIENCE, Cluster, import_ray, last_line

if TYPE_CHECKING:
    from unseen.detector.models import DetectorSpec

#: Seconds between two looks at how far the workers are, and between two of their snapshots.
LOOK, SNAPSHOT = 0.5, 120.0
#: Seconds that the workers may take to start; Ray Train starts some ten processes, at a low priority.
START = 600.0


def fit_on_cluster(
    fit: Callable[..., TrainedDetector],
    spec: DetectorSpec,
    *,
    cluster: Cluster,
    workers: int,
    device: torch.device,
    progress: Progress = silent,
) -> TrainedDetector:
    """`fit(device=..., progress=..., snapshots=...)` in so many processes that train together.

    `fit` is `fit_detector` with all its other arguments. Each process has a core, and on a CUDA
    `device` a GPU. When one dies, all start again at the last snapshot. The trained model is on the
    CPU. Raises what `fit` does; `ConfigError` if the cluster has no room for the processes, and
    `TrainingError` if they die again and again.
    """
    ray = import_ray()
    gpus = int(device.type == "cuda")
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    actor = ray.remote(num_cpus=0, max_concurrency=8, scheduling_strategy=here)(_Training)
    if cluster.room(gpus) < workers:
        raise _no_room(cluster, workers, gpus)
    with tempfile.TemporaryDirectory() as folder:
        training = actor.remote()
        try:
            # In a list, so that Ray hands over the reference and not what it refers to.
            shared = [ray.put(fit)], workers, gpus, SNAPSHOT, folder
            running = training.run.remote(*shared)
            all_there = time.monotonic()
            while not ray.wait([running], timeout=LOOK)[0]:
                news = ray.get(training.news.remote())
                progress(*(news or (0, 1, "waiting for the cluster")))
                has_room = cluster.room(gpus) >= workers
                if news and has_room:
                    all_there = time.monotonic()
                elif time.monotonic() - all_there > (START if has_room else PATIENCE):
                    raise _no_room(cluster, workers, gpus)
            state, trained = ray.get(running)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UnseenError):
                raise error.cause from error
            raise TrainingError(
                f"training in {workers} processes of the Ray cluster ended {MOST_DEATHS} times "
                f"before it was done, at last with: {last_line(error)}; nothing was saved. Look at "
                "the memory of the machines, or use engine='local'"
            ) from error
        finally:
            ray.kill(training)  # and with it all that it has started
    weights = {name: torch.tensor(value) for name, value in state.items()}
    one: TrainedDetector = replace(trained, model=load_detector(spec, weights))
    return one


def _no_room(cluster: Cluster, workers: int, gpus: int) -> ConfigError:
    return ConfigError(
        f"workers={workers} do not start: the Ray cluster has room for {cluster.room(gpus)}, each "
        f"with a core{' and a GPU' if gpus else ''}, less what other programs hold; take fewer "
        "workers, add a machine with `ray start --address=...`, or use engine='local'"
    )


class _Training:
    """Runs Ray Train, and knows how far it is; an actor, whose end is that of its workers."""

    def __init__(self) -> None:
        self._news: tuple[float, float, str] | None = None
        self._snapshot: bytes | None = None
        self._error: UnseenError | None = None

    def run(self, fit: list[Any], workers: int, gpus: int, every: float, folder: str) -> Any:
        """The weights, and the `TrainedDetector` without its model."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        this = import_ray().get_runtime_context().current_actor
        failures = FailureConfig(max_failures=MOST_DEATHS - 1)
        trainer = TorchTrainer(
            _work,
            train_loop_config={"fit": fit, "training": this, "gpus": gpus, "every": every},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=bool(gpus),
                resources_per_worker={"CPU": 1, **({"GPU": 1} if gpus else {})},
            ),
            run_config=RunConfig(storage_path=folder, failure_config=failures),
        )
        try:
            result: Any = trainer.fit()  # typed as that of Ray Train's first version
            return result.return_value
        except Exception:
            if self._error:
                raise self._error from None
            raise

    def tell(self, *news: Any) -> None:
        self._news = news

    def news(self) -> tuple[float, float, str] | None:
        if self._error:
            raise self._error
        return self._news

    def fail(self, error: UnseenError) -> None:
        self._error = error

    def keep(self, snapshot: bytes) -> None:
        self._snapshot = snapshot

    def kept(self) -> bytes | None:
        return self._snapshot


class _Snapshots:
    """Kept by the actor, since the machines need not share a folder."""

    def __init__(self, training: Any, every: float) -> None:
        self._training, self._every, self._saved = training, every, time.monotonic()

    def load(self) -> bytes | None:
        kept: bytes | None = import_ray().get(self._training.kept.remote())
        return kept

    def save(self, make: Callable[[], bytes]) -> None:
        if time.monotonic() - self._saved >= self._every:
            self._training.keep.remote(make())
            self._saved = time.monotonic()


def _work(config: dict[str, Any]) -> Any:
    """In a worker; what the first one returns is the result."""
    from ray.train.torch import get_device

    training = config["training"]
    is_first = rank_and_size()[0] == 0
    try:
        trained = import_ray().get(config["fit"][0])(
            device=get_device() if config["gpus"] else torch.device("cpu"),
            progress=training.tell.remote if is_first else silent,
            snapshots=_Snapshots(training, config["every"]),
        )
    except UnseenError as error:  # it would end so each time
        import_ray().get(training.fail.remote(error))
        raise
    # Ray Train passes no tensors on.
    state = {name: value.cpu().numpy() for name, value in trained.model.state_dict().items()}
    return (state, replace(trained, model=None)) if is_first else None
