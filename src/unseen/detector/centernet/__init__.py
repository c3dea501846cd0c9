"""CenterNet, for which an object is the point at its centre: Zhou, Wang & Kraehenbuehl 2019."""

from unseen.detector import RESNET50, SMALL, Detector

DETECTOR = Detector(
    name="centernet",
    label="CenterNet",
    order=20,
    architectures={"lite0": SMALL, "small": SMALL, "resnet50": RESNET50},
)
