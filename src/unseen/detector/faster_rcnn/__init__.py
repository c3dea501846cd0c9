"""Faster R-CNN: Ren et al. 2015, with the feature pyramid of Lin et al. 2017."""

from unseen.detector import RESNET50, SMALL, Architecture, Detector

DETECTOR = Detector(
    name="faster_rcnn",
    label="Faster R-CNN",
    order=10,
    architectures={
        "lite0": SMALL,
        "small": SMALL,
        "mobilenet_v3": Architecture(
            shortest_side=320,
            longest_side=640,
            anchor_sizes=((32, 64, 128, 256, 512),) * 3,
            aspect_ratios=(0.5, 1.0, 2.0),
        ),
        "resnet50": RESNET50,
    },
    has_rectification=True,
)
