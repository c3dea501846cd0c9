"""Two processes that share every batch learn what one learns from all of it."""

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from unseen.detector.faster_rcnn import network
from unseen.detector.models import detector_spec
from unseen.detector.training import fit_detector
from unseen.steps.train_detector import TrainDetectorConfig

CPU = torch.device("cpu")


def train(detector, steps):
    """The losses, the gradients of the last step and the weights, from images that differ in size,
    number of boxes and labelled part.
    """
    rng = np.random.default_rng(0)
    sizes = [(96, 96), (64, 128), (160, 96), (96, 128)]
    images = [rng.random((*size, 3), np.float32) for size in sizes]
    some = [[8 + 4 * i, 8, 40 + 4 * i, 40 + 2 * i] for i in range(7)]
    boxes = [np.asarray(some[:n], np.float32).reshape(-1, 4) for n in (0, 1, 7, 0)]
    labels = [np.arange(len(b)) % 2 for b in boxes]
    scopes = [None, None, np.asarray([[0, 0, 60, 60]], np.float32), None]
    config = TrainDetectorConfig(precision="fp32", batch_size=5, steps=steps, detector=detector)
    spec = detector_spec("small", ("a", "b"), 160, detector=detector)
    with pytest.MonkeyPatch.context() as patch:
        # Which samples are drawn depends on the processes: here all, and none is shifted.
        patch.setattr(network, "SHIFT", 0.0)
        patch.setattr(BalancedPositiveNegativeSampler, "__call__", draw_all)
        # torch's is a thousand times less exact with channels last.
        normalise = nn.BatchNorm2d.forward
        patch.setattr(nn.BatchNorm2d, "forward", lambda self, x: normalise(self, x.contiguous()))
        fitted = fit_detector(
            images, boxes, labels, spec=spec, config=config, device=CPU, scopes=scopes
        )
    model = fitted.model
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return fitted.losses, gradients, model.state_dict()


def draw_all(self, labels):
    return [label >= 1 for label in labels], [label == 0 for label in labels]


def process(rank, folder, detector):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.save([train(detector, steps) for steps in (1, 3)], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("detector", ["centernet", "faster_rcnn"])
def test_gradients_and_weights_are_those_of_the_whole_batch(detector, tmp_path):
    multiprocessing.spawn(process, (str(tmp_path), detector), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    losses, gradients, weights = train(detector, 1)
    np.testing.assert_allclose(one[0][0], losses, rtol=1e-5)
    assert one[0][1].keys() == gradients.keys()
    whole = torch.cat([g.flatten() for g in gradients.values()])
    shared = torch.cat([one[0][1][name].flatten() for name in gradients])
    # Most agree to 1e-6, but a ReLU may fall on the other side of 0 when sums are rounded otherwise.
    assert (shared - whole).norm() < 5e-3 * whole.norm()
    assert ((shared - whole).abs() < 1e-3 * whole.abs().max()).float().mean() > 0.95
    for name in (name for name in weights if name.endswith(("running_mean", "running_var"))):
        torch.testing.assert_close(one[0][2][name], weights[name], rtol=1e-4, atol=1e-6)
    for mine, theirs in zip(one, other, strict=True):
        assert mine[0] == theirs[0]
        assert all(torch.equal(mine[2][name], theirs[2][name]) for name in mine[2])
