"""The memory store of an installation: its database and its keys, from which every record is opened."""

from dataclasses import dataclass
from functools import cache

from sqlalchemy import Engine

from activities.memory.incidents import Incidents
from activities.memory.ledger import Ledger
from activities.safety.keys import Keys
from activities.safety.personal import AddressPolicy
from activities.safety.redaction import Redactor
from workflows.contracts.identifiers import InvestigationId, Tenant


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """What every activity needs to read and write."""

    engine: Engine
    """Connected as the ledger's role."""

    keys: Keys
    addresses: AddressPolicy = AddressPolicy.PRIVATE
    """What redaction does with IP addresses."""

    @cache  # noqa: B019 - a store lives as long as its process
    def redactor(self, tenant: Tenant) -> Redactor:
        """The redactor of a tenant: within it the same thing has the same pseudonym, in alerts, hints and answers."""
        return Redactor(self.keys.derive("pseudonyms"), tenant, self.addresses)

    def ledger(self, tenant: Tenant, investigation_id: InvestigationId) -> Ledger:
        """The record of one investigation."""
        return Ledger(self.engine, tenant, investigation_id, self.redactor(tenant))

    def incidents(self, tenant: Tenant) -> Incidents:
        """The incidents of one tenant."""
        return Incidents(self.engine, tenant, self.redactor(tenant))
