"""The `github` backend: commits and deployments of a repository on GitHub."""

from activities.telemetry.github.kind import KIND

__all__ = ["KIND"]
