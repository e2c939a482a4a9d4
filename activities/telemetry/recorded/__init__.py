"""The `recorded` backend: answers from a bundle what a live backend would have answered then."""

from activities.telemetry.recorded.backend import RecordedBackend
from activities.telemetry.recorded.bundle import Bundle, BundleError, open_bundle

__all__ = ["Bundle", "BundleError", "RecordedBackend", "open_bundle"]
