"""The `recorded` backend: answers from a bundle what a live backend would have answered then."""

from activities.telemetry.exceptions import BundleError
from activities.telemetry.recorded.backend import RecordedBackend
from activities.telemetry.recorded.bundle import Bundle, open_bundle
from activities.telemetry.recorded.captured import ANSWERS, CapturedBackend

__all__ = ["ANSWERS", "Bundle", "BundleError", "CapturedBackend", "RecordedBackend", "open_bundle"]
