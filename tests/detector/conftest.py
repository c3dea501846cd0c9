"""Weights files from random numbers, and no network."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import detection

from unseen.ranking.features import weights as pretrained
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """torch's store is empty, and no server answers."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    return tmp_path / "hub"


def randomised(model):
    """With means and variances that are not 0 and 1, as after training."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="session")
def resnet50_fpn():
    """torchvision's own detector with its own 91 classes."""
    torch.manual_seed(0)
    model = randomised(detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as the weights that torchvision publishes were made
    return model


@pytest.fixture(scope="session")
def lite0():
    torch.manual_seed(0)
    return randomised(EfficientNetLite0())


@pytest.fixture(scope="session")
def weights_files(resnet50_fpn, lite0, tmp_path_factory):
    """A file of pretrained weights per architecture."""
    mobilenet = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    files = {}
    for name, model in (("resnet50", resnet50_fpn), ("mobilenet_v3", mobilenet), ("lite0", lite0)):
        files[name] = str(tmp_path_factory.mktemp("weights") / f"{name}.pth")
        torch.save(model.state_dict(), files[name])
    return files


@pytest.fixture(scope="session")
def scenes():
    """Two images (H, W, 3) with a box of either class: images, boxes, labels."""
    rng = np.random.default_rng(0)
    images = [rng.random((64, 96, 3), np.float32) for _ in range(2)]
    boxes = [np.asarray([[8, 8, 40, 40]], np.float32)] * 2
    return images, boxes, [np.asarray([0]), np.asarray([1])]
