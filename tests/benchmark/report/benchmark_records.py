"""Records of benchmark runs: by hand, and a made-up benchmark of many of them."""

import itertools

import numpy as np

CLASSES = ["particle", "stain"]


def record(case, strategy, seed, images, order, *, initial=1, budget=2, f1=(), scores=(), **more):
    """A run over a pool given by the boxes of each image, labelled in that order.

    `f1`: of the detector after each batch; `scores`: of the model that chose the next batch.
    """
    classes, rare = more.pop("classes", CLASSES), more.pop("rare", ("stain",))
    sizes = [initial]
    while sizes[-1] < len(order):
        sizes.append(min(sizes[-1] + budget, len(order)))
    if strategy == "full":
        sizes = [len(order)]
    return {
        "case": case,
        "strategy": strategy,
        "seed": seed,
        "classes": classes,
        "rare": list(rare),
        "pool": {
            "images": len(images),
            "boxes": {c: sum(i.get(c, 0) for i in images) for c in classes},
            "rare_images": sum(any(i.get(c) for c in rare) for i in images),
        },
        "initial": initial,
        "budget": budget,
        "labelled": [[i, images[i]] for i in order],
        "iterations": [
            {
                "images": n,
                "batch": order[sizes[k - 1] : n] if k else [],
                "criteria": None,
                "seconds": {"train_unet": 24.0, "score": 9.0, "train_detector": 80.0},
                "score": dict(scores).get(k),
                "detector": detector(f1[k], classes) if f1 and f1[k] is not None else None,
            }
            for k, n in enumerate(sizes)
        ],
        "seconds": 210.0,
        "machine": "2 cores, no GPU",
        "command": "unseen benchmark synthetic:bare",
        **more,
    }


def detector(f1, classes):
    """A detector with that F1 in every class."""
    one = {"precision": f1, "recall": f1, "f1": f1, "ap": 0.9 * f1, "support": 20}
    return {
        "schedule": "100 epochs (750 steps)",
        "per_class": {name: dict(one) for name in classes},
        "macro_f1": f1,
        "mean_ap": 0.9 * f1,
    }


#: How likely each strategy is to take an image with a rare class, over one without, per case.
ODDS = {
    "bare": {"mixed": 40, "diverse": 25, "entropy": 6, "uniqueness": 5, "random": 1},
    "device": {"mixed": 25, "diverse": 20, "entropy": 12, "uniqueness": 4, "random": 1},
    "lookalikes": {"mixed": 2, "diverse": 2, "entropy": 5, "uniqueness": 1, "random": 1},
}


def simulated(cases=tuple(ODDS), seeds=4, *, detectors=True, full=True):
    """A whole benchmark whose strategies differ by how likely they are to take a rare image."""
    images = 200
    known = {"initial": 10, "budget": 10, "classes": ["particle", "scratch", "stain"]}
    records = []
    for (number, case), seed in itertools.product(enumerate(cases), range(seeds)):
        rng = np.random.default_rng([number, seed])
        pool = [
            {"particle": int(rng.integers(1, 9)), "scratch": int(rng.integers(0, 3))}
            for _ in range(images)
        ]
        for i in rng.choice(np.arange(10, images), 16, replace=False):
            pool[i]["stain"] = int(rng.integers(1, 4))
        for strategy, odds in ODDS[case].items():
            weights = np.array([odds if "stain" in p else 1 for p in pool[10:]], float)
            chosen = rng.choice(images - 10, 20, replace=False, p=weights / weights.sum()) + 10
            order = [*range(10), *(int(i) for i in chosen)]
            gain = 0.1 + 0.15 * sum("stain" in pool[i] for i in order) / 16
            f1 = [float(0.4 + gain * k + rng.normal(0, 0.02)) for k in range(3)]
            scores = {
                k: {"pixel_auroc": float(rng.uniform(0.9, 1))}
                for k in range(2 if strategy in ("mixed", "diverse", "entropy") else 0)
            }
            measured = {"f1": f1 if detectors else (), "scores": scores}
            records.append(record(case, strategy, seed, pool, order, **measured, **known))
        if full:
            f1 = [0.86] if detectors else ()
            records.append(record(case, "full", seed, pool, list(range(images)), f1=f1, **known))
    return records
