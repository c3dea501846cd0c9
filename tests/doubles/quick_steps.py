"""The steps that need no annotation server, as quick as they can be, and what they can change."""

from __future__ import annotations

#: Settings of the steps, in an order in which each finds what it needs.
QUICK = {
    "prepare_dataset": {"initial": 3, "screen": False, "initial_order": "directory"},
    "screen_images": {},
    "split_dataset": {"initial": 3},
    "mark_structure": {"pitch": (16, 16), "origin": (0, 0), "margin": 1},
    "reveal_labels": {},
    "train_unet": {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)},
    "score_samples": {"heatmap_size": 16},
    "select_batch": {"budget": 2},
    "rank_regions": {"count": 3},
    "train_detector": {"architecture": "small", "steps": 1, "batch_size": 1, "image_size": 64},
    "apply_detector": {},
    "evaluate_detector": {},
    "auto_label": {},
    "compare_iterations": {"pictures": False},
    "simulate": {
        **{"series": "second", "label_field": "simulated", "hidden_field": "hidden_truth"},
        **{"strategies": ("sequential",), "iterations": 1, "budget": 2, "initial": 3},
        **{"detector_steps": 1, "architecture": "small", "image_size": 64},
    },
    "repair_labels": {},
    "rename_classes": {"rename": ("particle=dust",)},
    "clean_dataset": {},
}


def contents(dataset) -> tuple:
    """Everything of a dataset that a step could have changed."""
    dataset.reload()
    return (
        sorted(dataset.get_field_schema()),
        sorted(dataset.count_sample_tags().items()),
        dataset.list_runs(),
        dataset.list_saved_views(),
        dataset.list_evaluations(),
        dataset.list_workspaces(),
        dict(dataset.classes),
        dataset.persistent,
        dataset.count("ground_truth.detections"),
    )
