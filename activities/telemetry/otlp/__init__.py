"""The `otlp` backend: traces in files that an OpenTelemetry Collector writes."""

from activities.telemetry.otlp.kind import KIND

__all__ = ["KIND"]
