"""The `jaeger` backend: traces from Jaeger's query service."""

from activities.telemetry.jaeger.kind import KIND

__all__ = ["KIND"]
