"""The `tempo` backend: traces of Grafana Tempo."""

from activities.telemetry.tempo.kind import KIND

__all__ = ["KIND"]
