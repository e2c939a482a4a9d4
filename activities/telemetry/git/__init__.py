"""The `git` backend: commits of any repository that is served over HTTP."""

from activities.telemetry.git.kind import KIND

__all__ = ["KIND"]
