"""Model files: safetensors with a JSON sidecar, never pickles.

`name.safetensors` holds the weights, `name.json` what is needed to use them and the SHA-256 of the
weights. A file that does not match its digest is refused.
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

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1


def save_checkpoint(
    folder: str | Path, stem: str, weights: Mapping[str, Tensor], description: Mapping[str, Any]
) -> tuple[Path, str]:
    """Write weights and sidecar under a new name, so that no earlier checkpoint is ever touched.

    The name carries the digest: whoever reads a record reads exactly the file it was made with,
    also after a later run was killed half-way.

    Args:
        folder: where to write; made if missing.
        stem: start of the file name; the digest and `.safetensors` are added.
        weights: the model's `state_dict`.
        description: JSON data; `kind` ("unet" or "detector") is required.

    Returns:
        The path of the weights file, and its SHA-256 as hexadecimal text.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
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


def read_description(path: str | Path) -> dict[str, Any]:
    """The sidecar of a checkpoint.

    Raises:
        CheckpointError: it is missing or not readable.
    """
    sidecar = Path(path).with_suffix(".json")
    try:
        description = json.loads(sidecar.read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{sidecar}: no such file; a checkpoint needs its JSON sidecar. Train again, or copy "
            "both files"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{sidecar}: cannot be read ({error}); train again") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(
            f"{sidecar}: expected checkpoint format {FORMAT}, found "
            f"{description.get('format') if isinstance(description, dict) else type(description)}; "
            "train again with this version"
        )
    return description


def load_checkpoint(
    path: str | Path, *, kind: str, digest: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and sidecar, and check that they belong together.

    Args:
        path: the `.safetensors` file.
        kind: "unet" or "detector"; anything else in the sidecar is an error.
        digest: the SHA-256 that a record expects, if there is one.

    Raises:
        CheckpointError: missing, truncated, tampered with, or of another kind.
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
    description = read_description(path)
    if description.get("kind") != kind:
        raise CheckpointError(
            f"{path}: is a checkpoint of kind {description.get('kind')!r}, expected {kind!r}"
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
