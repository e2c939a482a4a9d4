"""Puts the SDK beside the application's rooms in a built wheel; an editable install imports it from the tree."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SdkHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, dict[str, str]]) -> None:
        """Add the SDK unless the install is editable: a copy of it would hide the tree's."""
        if version == "standard":
            build_data["force_include"]["workers/sdk/inquest"] = "inquest"
