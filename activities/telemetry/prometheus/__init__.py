"""The `prometheus` backend: metrics from Prometheus and what speaks its HTTP API."""

from activities.telemetry.prometheus.kind import KIND

__all__ = ["KIND"]
