"""Lines and spans reduced to what is counted of them, by the same SQL for every backend."""

from activities.telemetry.reduction import queries
from activities.telemetry.reduction.database import DEFAULT_QUERY_S, Parameters, ReductionDatabase, Row
from activities.telemetry.reduction.reduction import Reduction, bounded, microseconds

__all__ = [
    "DEFAULT_QUERY_S",
    "Parameters",
    "Reduction",
    "ReductionDatabase",
    "Row",
    "bounded",
    "microseconds",
    "queries",
]
