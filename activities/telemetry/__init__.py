"""Read-only queries to monitoring: one protocol a modality, one folder a backend."""

from activities.telemetry.backend import Answer, TelemetryBackend
from activities.telemetry.exceptions import BackendUnavailableError

__all__ = ["Answer", "BackendUnavailableError", "TelemetryBackend"]
