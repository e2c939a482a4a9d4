"""The `neo4j` backend: a topology that somebody keeps on a graph server."""

from activities.telemetry.neo4j.kind import KIND

__all__ = ["KIND"]
