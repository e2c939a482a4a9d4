"""Read-only queries to monitoring: one protocol a modality, many backends."""

from activities.telemetry.backend import Answer, BackendUnavailableError, TelemetryBackend

__all__ = ["Answer", "BackendUnavailableError", "TelemetryBackend"]
