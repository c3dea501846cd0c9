"""Model files: safetensors with a JSON sidecar, never pickles.

`name.safetensors` holds the weights; `name.json` holds what is needed to use them and their
SHA-256. A file that does not match its digest is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseen.errors import CheckpointError
from unseen.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
KINDS = ("unet", "detector")


def save_checkpoint(
    folder: str | Path, stem: str, weights: Mapping[str, Tensor], description: Mapping[str, Any]
) -> tuple[Path, str]:
    """Write weights and sidecar; return the path of the weights and their SHA-256.

    The file is named `<stem>-<digest>.safetensors`, so no earlier checkpoint is ever overwritten
    and a record always finds the file it was made with. `description` is JSON data and needs a
    `kind` ("unet" or "detector"). Raises `CheckpointError` if the folder cannot be written.
    """
    from safetensors.torch import save

    data = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
    digest = hashlib.sha256(data).hexdigest()
    path = Path(folder) / f"{stem}-{digest[:12]}.safetensors"
    sidecar = {**description, "format": FORMAT, "digest": digest}
    text = json.dumps(sidecar, indent=1, sort_keys=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, data)
        _write_atomically(path.with_suffix(".json"), text.encode())
    except OSError as error:
        raise CheckpointError(
            f"{path}: could not write {len(data) / 1e6:.1f} MB ({error.strerror or error}); free "
            "some disk space or pass another model_dir. Earlier checkpoints are untouched"
        ) from error
    return path, digest


def load_checkpoint(
    path: str | Path, *, kind: str, digest: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and sidecar of a checkpoint of the given kind, "unet" or "detector".

    Raises `CheckpointError` if a file is missing, truncated or changed, or if the weights differ
    from the SHA-256 in the sidecar or from the `digest` that a record expects.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror or error}); train again, or name another "
            "checkpoint"
        ) from error
    description = _read_sidecar(path)
    if description.get("kind") != kind:
        other = [k for k in KINDS if k == description.get("kind")]
        raise CheckpointError(
            f"{path}: is a checkpoint of {'kind ' + repr(*other) if other else 'an unknown kind'}, "
            f"expected {kind!r}; name another one"
        )
    actual = hashlib.sha256(data).hexdigest()
    for source, expected in (("its sidecar", description["digest"]), ("the record", digest)):
        if expected is not None and actual != expected:
            raise CheckpointError(
                f"{path}: SHA-256 is {actual[:12]}…, {source} says {expected[:12]}…; the file was "
                "truncated or changed. Restore it, or train again"
            )
    try:
        return load(data), description
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}); train again") from error


def _read_sidecar(path: Path) -> dict[str, Any]:
    sidecar = path.with_suffix(".json")
    try:
        description = read_json(sidecar)
    except FileNotFoundError:
        raise CheckpointError(
            f"{sidecar}: no such file; a checkpoint needs its JSON sidecar. Train again, or copy "
            "both files"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{sidecar}: cannot be read ({error}); train again") from error
    is_ours = isinstance(description, dict) and description.get("format") == FORMAT
    if not is_ours or not isinstance(description.get("digest"), str):
        raise CheckpointError(
            f"{sidecar}: does not describe a checkpoint of format {FORMAT}; train again with this "
            "version"
        )
    return dict(description)


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
