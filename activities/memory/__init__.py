"""Postgres: incidents, the ledger, past incidents. The single store."""

from activities.memory.incidents import Incidents, OpenedInvestigation
from activities.memory.ledger import Ledger, StoredAlert
from activities.memory.session import ledger_engine

__all__ = ["Incidents", "Ledger", "OpenedInvestigation", "StoredAlert", "ledger_engine"]
