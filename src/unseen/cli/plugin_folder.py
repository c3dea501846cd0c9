"""Makes FiftyOne find the plugin: a link from its plugin folder to what came with the package."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import unseen

#: Name of the plugin in fiftyone.yml.
PLUGIN = "@unseen/curation"
#: Name of the link in FiftyOne's plugin folder.
LINK = "unseen-curation"


def find_source() -> Path | None:
    """The plugin that came with this package, or None.

    A checkout or a downloaded plugin has it around `src`, an installed wheel in the package.
    """
    package = Path(unseen.__file__).resolve().parent
    for root in (package.parents[1], package / "_plugin"):
        if (root / "fiftyone.yml").is_file() and (root / "plugin/__init__.py").is_file():
            return root
    return None


def installed_plugin() -> tuple[Path, bool] | None:
    """Where FiftyOne finds the plugin and whether it is enabled, or None."""
    import fiftyone.plugins as fop

    enabled = {plugin.directory for plugin in fop.list_plugins(enabled=True)}
    for plugin in fop.list_plugins(enabled="all"):
        if plugin.name == PLUGIN:
            return Path(plugin.directory), plugin.directory in enabled
    return None


def other_version() -> tuple[str, str] | None:
    """What there is if FiftyOne's plugin has another version than the package, and the way out."""
    import fiftyone.plugins as fop

    for plugin in fop.list_plugins():
        if plugin.name == PLUGIN and plugin.version != unseen.__version__:
            place = plugin.directory
            return (
                f"{place} has version {plugin.version}, the package {unseen.__version__}",
                f"take the package's plugin: fiftyone plugins delete {PLUGIN} (a link: remove it), "
                "then unseen install-plugin\nor the plugin's package: "
                f"{sys.executable} -m pip install {place}",
            )
    return None


def install_plugin() -> tuple[str, str]:
    """Link the plugin into FiftyOne's plugin folder; nothing that exists is ever replaced.

    Returns a state and a message. States: "linked" (new), "copied" (new, where links are not
    allowed), "present" (already there), "disabled" (there, but switched off), "other" (another
    plugin is in the way), "no plugin" (this package came without it), "failed".
    """
    source = find_source()
    installed = installed_plugin()
    if installed is not None:
        return _already_there(*installed, source)
    if source is None:
        return (
            "no plugin",
            "This package was installed without its plugin. Download it: fiftyone plugins download "
            "URL_OF_THE_ARCHIVE",
        )
    return _link(source)


def _already_there(place: Path, is_enabled: bool, source: Path | None) -> tuple[str, str]:
    if source is not None and place.resolve() != source:
        return (
            "other",
            f"FiftyOne already has a plugin {PLUGIN} in {place}; it was left as it is. To use "
            f"{source} instead, remove that one first (fiftyone plugins delete {PLUGIN}; remove a "
            "link by hand) and run this again",
        )
    if not is_enabled:
        return (
            "disabled",
            f"Plugin {PLUGIN} is in {place}, but disabled; run: fiftyone plugins enable {PLUGIN}",
        )
    return "present", f"Plugin {PLUGIN} is already there: {place}"


def _link(source: Path) -> tuple[str, str]:
    import fiftyone as fo

    link = Path(fo.config.plugins_dir).expanduser().absolute() / LINK
    way_out = f"Or let FiftyOne read the plugin itself: export FIFTYONE_PLUGINS_DIR={source}"
    if link.is_symlink() and not link.exists():
        link.unlink()  # our link to a checkout that has moved
    if link.exists():
        return (
            "other",
            f"{link} exists, but holds no plugin {PLUGIN}; move it away and run this again. "
            f"{way_out}",
        )
    state = "linked"
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(source, target_is_directory=True)
        except OSError:  # Windows lets administrators and developers make links
            if source.name != "_plugin":  # a checkout holds much more
                raise
            shutil.copytree(source, link)
            state = "copied"
    except OSError as error:
        return "failed", f"{link} cannot be made ({error.strerror or error}). {way_out}"
    return state, f"Plugin {PLUGIN} {state}: {link} -> {source}. Restart the App if it is open."
