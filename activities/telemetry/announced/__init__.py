"""The `announced` backend: changes that pipelines told the gateway of."""

from activities.telemetry.announced.backend import AnnouncedBackend

__all__ = ["AnnouncedBackend"]
