"""Adds the plugin to the wheel, where `unseen install-plugin` links it from."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Plugin(BuildHookInterface):
    """Everything that FiftyOne reads, as one folder in the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install takes it from the checkout instead."""
        if version == "standard":
            for name in ("fiftyone.yml", "operators", "plugin", "skills"):
                build_data["force_include"][name] = f"unseen/_plugin/{name}"
