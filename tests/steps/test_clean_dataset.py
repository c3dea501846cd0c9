"""Only what is ours by its own mark is removed, wherever a record points."""

from __future__ import annotations

import json
from pathlib import Path

import fiftyone as fo
import pytest

import unseen
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def trained(wafers):
    """A dataset with a UNet, and the UNet's file."""
    quick = {"steps": 1, "crop_size": 32, "channels": (4, 8)}
    return wafers, Path(unseen.train_unet(wafers, **quick).checkpoint)


@pytest.fixture
def clone(trained, copy_of):
    return copy_of(trained[0])


def test_a_clone_and_its_original_leave_each_others_files(trained, clone):
    original, file = trained
    assert unseen.clean_dataset(clone, dry_run=True).checkpoints == 0
    assert unseen.clean_dataset(original, dry_run=True).checkpoints == 0  # the clone needs it
    unseen.clean_dataset(clone)
    assert file.is_file()
    assert unseen.score_samples(original).scored
    assert unseen.clean_dataset(original).checkpoints == 1
    assert not list(file.parent.glob("*"))


def test_overlays_of_datasets_that_share_a_folder_stay_apart(trained, clone, tmp_path):
    from unseen.dataset.overlays import overlay_folder

    one, two = (overlay_folder(Loop(d), str(tmp_path)) for d in (trained[0], clone))
    for folder in (one, two):
        folder.mkdir(parents=True)
        (folder / f"000-{clone.first().id}.unseen_overlay.png").touch()
    unseen.clean_dataset(clone, model_dir=str(tmp_path))
    assert list(one.iterdir())
    assert not two.exists()


@pytest.mark.parametrize(
    ("sidecar", "is_ours"),
    [
        (None, False),  # a file without one
        ("[]", False),
        ("{", False),
        ({"dataset": "another"}, False),
        ({"dataset_id": "another"}, False),
        ({"dataset": "own"}, True),  # by an earlier version, in the dataset's own folder
        ({"dataset_id": "own"}, True),
    ],
)
def test_a_file_is_ours_by_its_sidecar(wafers, sidecar, is_ours, tmp_path):
    loop = Loop(wafers)
    own = {"dataset": wafers.name, "dataset_id": str(wafers._doc.id)}
    elsewhere = tmp_path / "thesis.safetensors"
    files = [loop.folder(None) / "a.safetensors", elsewhere]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        if isinstance(sidecar, dict):
            sidecar = {k: own[k] if v == "own" else v for k, v in sidecar.items()}
            sidecar = json.dumps(sidecar)
        if sidecar is not None:
            file.with_suffix(".json").write_text(sidecar)
    entry = {"checkpoints": [*map(str, files), str(tmp_path), "/etc/hostname"]}
    loop.write_entry(0, "train_unet", entry)
    unseen.clean_dataset(wafers)
    assert files[0].exists() is not is_ours
    # An id is nobody else's; a name may be, outside of the folder that has the id in its name.
    assert elsewhere.exists() is not (is_ours and "dataset_id" in sidecar)
    assert Path("/etc/hostname").exists()


def test_a_dataset_from_an_export_never_owns_the_files_that_it_names(trained, tmp_path):
    original, file = trained
    original.export(str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset)
    imported = fo.Dataset.from_dir(str(tmp_path / "export"), dataset_type=fo.types.FiftyOneDataset)
    try:
        assert Loop(imported).records()
        unseen.clean_dataset(imported)
    finally:
        imported.delete()
    assert file.is_file()
