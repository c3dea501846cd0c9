"""A new detector is one folder: it is among the choices, trains, and its checkpoint loads."""

import subprocess
import sys

DECLARATION = """
from unseen.detector import SMALL, Detector

DETECTOR = Detector(name="toy", label="Toy", order=99, architectures={"one_cell": SMALL})
"""

NETWORK = """
import torch
from torch import nn


class Toy(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.score = nn.Linear(3, n_classes)

    def forward(self, images, targets=None):
        logits = self.score(torch.stack([image.mean((1, 2)) for image in images]))
        if self.training:
            return {"loss": logits.square().mean()}
        boxes, label = torch.tensor([[0.0, 0, 48, 64]]), torch.tensor([1])
        return [{"boxes": boxes, "labels": label, "scores": one[:1]} for one in logits]


def build(spec, start):
    return Toy(len(spec.classes))
"""

USE = """
import sys

import unseen.detector

unseen.detector.__path__.append(sys.argv[1])

from unseen.parameters import parameters
from unseen.steps.train_detector import TrainDetectorConfig, TrainDetectorResult

choices = {p.name: p.choices for p in parameters(TrainDetectorConfig)}
assert choices["detector"] == ("faster_rcnn", "centernet", "toy")
assert choices["architecture"][-1] == "one_cell"
assert "torch" not in sys.modules

import numpy as np
import torch

from unseen.detector.models import detector_spec, load_detector, resolve_architecture
from unseen.detector.training import detect, fit_detector

config = TrainDetectorConfig(detector="toy", steps=1, batch_size=2)
device = torch.device("cpu")
architecture, why = resolve_architecture(config.architecture, device, detector="toy")
spec = detector_spec(architecture, ("a", "b"), 64, detector="toy")
images = [np.random.rand(64, 48, 3).astype(np.float32) for _ in range(2)]
boxes = [np.asarray([[4, 4, 20, 20]], np.float32)] * 2
labels = [np.asarray([0]), np.asarray([1])]
trained = fit_detector(images, boxes, labels, spec=spec, config=config, device=device)
assert trained.message == "one_cell Toy, trained from scratch"
loaded = load_detector(spec, trained.model.state_dict())
(one, _), (other, _) = (detect(model, images, spec) for model in (trained.model, loaded))
assert one.xyxy.tolist() == [[0, 0, 48, 64]]
assert one.scores == other.scores
"""


def test_a_new_detector_is_one_folder(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text(DECLARATION)
    (tmp_path / "toy" / "network.py").write_text(NETWORK)
    finished = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
