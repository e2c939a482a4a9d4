"""The `gitlab` backend: commits and deployments of a project on GitLab."""

from activities.telemetry.gitlab.kind import KIND

__all__ = ["KIND"]
