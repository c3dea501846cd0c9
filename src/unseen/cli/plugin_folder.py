"""Makes FiftyOne find the plugin: a link from its plugin folder to the checkout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Name of the plugin in fiftyone.yml.
PLUGIN = "@unseen/curation"
#: Name of the link in FiftyOne's plugin folder.
LINK = "unseen-curation"


@dataclass(frozen=True)
class InstallOutcome:
    """What `install_plugin` did.

    `state` is "linked" (new), "present" (was there), "disabled" (there, but switched off), "other"
    (another plugin of the same name is in the way), "no checkout" or "failed".
    """

    state: str
    message: str

    @property
    def is_usable(self) -> bool:
        """Whether FiftyOne now finds the plugin."""
        return self.state in ("linked", "present")


def find_checkout() -> Path | None:
    """The repository that this package is imported from (editable install), or None."""
    root = Path(__file__).resolve().parents[3]
    is_checkout = (root / "fiftyone.yml").is_file() and (root / "plugin/__init__.py").is_file()
    return root if is_checkout else None


def installed_plugin() -> tuple[Path, bool] | None:
    """Where FiftyOne finds the plugin and whether it is enabled, or None."""
    import fiftyone.plugins as fop

    enabled = {p.directory for p in fop.list_plugins(enabled=True) if p.name == PLUGIN}
    for plugin in fop.list_plugins(enabled="all"):
        if plugin.name == PLUGIN:
            return Path(plugin.directory), plugin.directory in enabled
    return None


def install_plugin(checkout: str | Path | None = None) -> InstallOutcome:
    """Link the checkout into FiftyOne's plugin folder; nothing that is there is ever replaced.

    Args:
        checkout: the repository. Default: the one this package is imported from.
    """
    root = Path(checkout).resolve() if checkout is not None else find_checkout()
    found = installed_plugin()
    if found is not None:
        return _already_there(*found, root)
    if root is None:
        return InstallOutcome(
            "no checkout",
            "This package was installed without its repository, so there is no plugin to link. "
            "Download it: fiftyone plugins download URL_OF_THE_REPOSITORY",
        )
    if not (root / "fiftyone.yml").is_file():
        return InstallOutcome("no checkout", f"{root} is no checkout: it has no fiftyone.yml.")
    return _link(root)


def main(argv: Sequence[str] | None = None) -> int:
    """Install the plugin and say what was done; 0 where FiftyOne finds it."""
    outcome = install_plugin(*(argv or ())[:1])
    print(outcome.message, file=sys.stdout if outcome.is_usable else sys.stderr)
    return 0 if outcome.is_usable else 1


def _already_there(place: Path, is_enabled: bool, root: Path | None) -> InstallOutcome:
    if root is not None and place.resolve() != root:
        return InstallOutcome(
            "other",
            f"FiftyOne already has a plugin {PLUGIN}, in {place}; it was left as it is. To use "
            f"{root} instead, remove that one first (fiftyone plugins delete {PLUGIN}; a link is "
            "removed by hand) and run this again",
        )
    if not is_enabled:
        return InstallOutcome(
            "disabled",
            f"Plugin {PLUGIN} is in {place}, but disabled; run: fiftyone plugins enable {PLUGIN}",
        )
    return InstallOutcome("present", f"Plugin {PLUGIN} is already there: {place}")


def _link(root: Path) -> InstallOutcome:
    folder = _plugins_dir()
    link = folder / LINK
    way_out = f"Or let FiftyOne read the checkout itself: export FIFTYONE_PLUGINS_DIR={root}"
    if link.is_symlink() and not link.exists():
        link.unlink()  # a link of ours to a checkout that has moved
    if link.is_symlink() or link.exists():
        return InstallOutcome(
            "other",
            f"{link} exists, but holds no plugin {PLUGIN}; move it away and run this again. "
            f"{way_out}",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(root, target_is_directory=True)
    except OSError as error:
        return InstallOutcome(
            "failed", f"{link} cannot be made ({error.strerror or error}). {way_out}"
        )
    return InstallOutcome(
        "linked", f"Plugin {PLUGIN} linked: {link} -> {root}. Restart the App if it is open."
    )


def _plugins_dir() -> Path:
    import fiftyone as fo

    folder: Any = fo.config.plugins_dir
    return Path(folder).expanduser().absolute()
