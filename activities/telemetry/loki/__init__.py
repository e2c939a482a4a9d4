"""The `loki` backend: logs from Grafana Loki."""

from activities.telemetry.loki.kind import KIND

__all__ = ["KIND"]
