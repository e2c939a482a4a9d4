"""The `kubernetes` backend: the state of a cluster's objects, their rollouts, and what runs where."""

from activities.telemetry.kubernetes.kind import KIND

__all__ = ["KIND"]
