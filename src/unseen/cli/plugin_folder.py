"""Makes FiftyOne find the plugin: a link from its plugin folder to the checkout."""

from __future__ import annotations

from pathlib import Path

#: Name of the plugin in fiftyone.yml.
PLUGIN = "@unseen/curation"
#: Name of the link in FiftyOne's plugin folder.
LINK = "unseen-curation"


def find_checkout() -> Path | None:
    """The repository that this package is imported from (editable install), or None."""
    root = Path(__file__).resolve().parents[3]
    is_checkout = (root / "fiftyone.yml").is_file() and (root / "plugin/__init__.py").is_file()
    return root if is_checkout else None


def installed_plugin() -> tuple[Path, bool] | None:
    """Where FiftyOne finds the plugin and whether it is enabled, or None."""
    import fiftyone.plugins as fop

    enabled = {plugin.directory for plugin in fop.list_plugins(enabled=True)}
    for plugin in fop.list_plugins(enabled="all"):
        if plugin.name == PLUGIN:
            return Path(plugin.directory), plugin.directory in enabled
    return None


def install_plugin() -> tuple[str, str]:
    """Link the checkout into FiftyOne's plugin folder; nothing that exists is ever replaced.

    Returns a state and a message. States: "linked" (new), "present" (already there), "disabled"
    (there, but switched off), "other" (another plugin is in the way), "no checkout", "failed".
    """
    root = find_checkout()
    installed = installed_plugin()
    if installed is not None:
        return _already_there(*installed, root)
    if root is None:
        return (
            "no checkout",
            "This package was installed without its repository, so there is no plugin to link. "
            "Download it: fiftyone plugins download URL_OF_THE_REPOSITORY",
        )
    return _link(root)


def _already_there(place: Path, is_enabled: bool, root: Path | None) -> tuple[str, str]:
    if root is not None and place.resolve() != root:
        return (
            "other",
            f"FiftyOne already has a plugin {PLUGIN} in {place}; it was left as it is. To use "
            f"{root} instead, remove that one first (fiftyone plugins delete {PLUGIN}; remove a "
            "link by hand) and run this again",
        )
    if not is_enabled:
        return (
            "disabled",
            f"Plugin {PLUGIN} is in {place}, but disabled; run: fiftyone plugins enable {PLUGIN}",
        )
    return "present", f"Plugin {PLUGIN} is already there: {place}"


def _link(root: Path) -> tuple[str, str]:
    import fiftyone as fo

    link = Path(fo.config.plugins_dir).expanduser().absolute() / LINK
    way_out = f"Or let FiftyOne read the checkout itself: export FIFTYONE_PLUGINS_DIR={root}"
    if link.is_symlink() and not link.exists():
        link.unlink()  # our link to a checkout that has moved
    if link.exists():
        return (
            "other",
            f"{link} exists, but holds no plugin {PLUGIN}; move it away and run this again. "
            f"{way_out}",
        )
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(root, target_is_directory=True)
    except OSError as error:
        return "failed", f"{link} cannot be made ({error.strerror or error}). {way_out}"
    return "linked", f"Plugin {PLUGIN} linked: {link} -> {root}. Restart the App if it is open."
