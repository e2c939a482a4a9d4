"""The memory store of an installation: its database and its keys, from which every record is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Engine

from activities.memory.admissions import Admissions
from activities.memory.announced import AnnouncedChanges
from activities.memory.facts import FactRecord
from activities.memory.feedback import FeedbackRecord
from activities.memory.inbox import Inbox
from activities.memory.incidents import Incidents
from activities.memory.knowledge.embedding import Embedder, embedded
from activities.memory.knowledge.library import Library
from activities.memory.knowledge.search import Search
from activities.memory.ledger import Ledger
from activities.memory.model_service import ModelService
from activities.memory.recordings import Recordings
from activities.memory.session import of_tenant
from activities.safety.keys import Keys
from activities.safety.personal import AddressPolicy
from activities.safety.redaction import Redactor
from activities.topology.record import TopologyRecord
from workflows.contracts.canonical import canonical_json
from workflows.contracts.identifiers import InvestigationId, Tenant
from workflows.contracts.investigation import InvestigationRequest

REQUESTS = "requests"
"""What the key is for that signs requests."""


class ForgedRequestError(Exception):
    """A request that the door for alerts has not recorded: nothing is done for it."""


def signed(request: InvestigationRequest, keys: Keys) -> InvestigationRequest:
    """The request with its code."""
    return request.model_copy(update={"code": keys.sign(REQUESTS, _content(request))})


def _content(request: InvestigationRequest) -> bytes:
    """What is signed. A field that came after 0.5 is left out where it says nothing: earlier codes stay good."""
    content = request.model_dump(mode="json")
    content["code"] = ""
    for later in ("sources", "model"):
        if not getattr(request, later):
            del content[later]
    if not request.budget.rounds:
        del content["budget"]["rounds"]
    return canonical_json(content)


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """What every activity needs to read and write."""

    engine: Engine
    """Connected as the ledger's role; its transactions name no tenant."""

    keys: Keys
    addresses: AddressPolicy = AddressPolicy.PRIVATE
    """What redaction does with IP addresses."""

    endpoint: Embedder | None = None
    """An embedding model of the installation's own, beside the embedded ones."""

    @cache  # noqa: B019 - a store lives as long as its process
    def redactor(self, tenant: Tenant) -> Redactor:
        """The redactor of a tenant: within it the same thing has the same pseudonym, in alerts, hints and answers."""
        return Redactor(self.keys.derive("pseudonyms"), tenant, self.addresses)

    def ledger(self, tenant: Tenant, investigation_id: InvestigationId) -> Ledger:
        """The record of one investigation."""
        return Ledger(of_tenant(self.engine, tenant), tenant, investigation_id, self.redactor(tenant))

    def require_recorded(self, request: InvestigationRequest) -> None:
        """Only what the door for alerts has recorded is executed: whoever reaches Temporal could start anything else.

        Raises:
            ForgedRequestError: there is no such row, it says something else, or its code was not made with our key.
        """
        stored = self.incidents(request.tenant).request(request.investigation_id)
        if stored is None:
            raise ForgedRequestError(f"no alert has opened the investigation {request.investigation_id}")
        if stored != request:
            raise ForgedRequestError(f"the investigation {request.investigation_id} was opened with another request")
        if stored.code and not self.keys.verifies(REQUESTS, _content(stored), stored.code):
            raise ForgedRequestError(
                f"the request of {request.investigation_id} has another key's code: is keys_dir the same everywhere?"
            )

    def incidents(self, tenant: Tenant) -> Incidents:
        """The incidents of one tenant."""
        return Incidents(of_tenant(self.engine, tenant), tenant, self.redactor(tenant))

    def announced_changes(self, tenant: Tenant) -> AnnouncedChanges:
        """The changes that pipelines announced to one tenant."""
        return AnnouncedChanges(of_tenant(self.engine, tenant), tenant, self.redactor(tenant))

    def feedback(self, tenant: Tenant) -> FeedbackRecord:
        """What one tenant's people said of verdicts."""
        return FeedbackRecord(of_tenant(self.engine, tenant), tenant, self.redactor(tenant))

    def facts(self, tenant: Tenant) -> FactRecord:
        """What one tenant's people know."""
        return FactRecord(of_tenant(self.engine, tenant), tenant, self.redactor(tenant))

    def admissions(self, tenant: Tenant) -> Admissions:
        """The models that one tenant admitted."""
        return Admissions(of_tenant(self.engine, tenant), tenant)

    def model_service(self, tenant: Tenant) -> ModelService:
        """What endpoints of models did for one tenant."""
        return ModelService(of_tenant(self.engine, tenant), tenant)

    def recordings(self, tenant: Tenant) -> Recordings:
        """The recordings that one tenant's investigations were opened for."""
        return Recordings(of_tenant(self.engine, tenant), tenant)

    def inbox(self, tenant: Tenant) -> Inbox:
        """The alerts of one tenant that wait to be dispatched."""
        return Inbox(of_tenant(self.engine, tenant), tenant)

    def topology(self, tenant: Tenant) -> TopologyRecord:
        """How one tenant's environments hang together."""
        return TopologyRecord(of_tenant(self.engine, tenant), tenant, self.redactor(tenant))

    def library(self, tenant: Tenant, embedders: Sequence[Embedder] = ()) -> Library:
        """What one tenant has written down.

        Args:
            tenant: whose library.
            embedders: models that embed what is added; those that are slow follow with `Library.embed_missing`.
        """
        immediate = [embedder for embedder in embedders if embedder.immediate]
        return Library(of_tenant(self.engine, tenant), tenant, self.redactor(tenant), immediate)

    def embedders(self) -> tuple[Embedder, ...]:
        """Every model that vectors are computed with."""
        return embedded() if self.endpoint is None else (*embedded(), self.endpoint)

    def search(self, tenant: Tenant, embedders: Sequence[Embedder] = ()) -> Search:
        """Finds passages in one tenant's library, by words and by what `embedders` say of meaning."""
        return Search(of_tenant(self.engine, tenant), tenant, self.library(tenant), embedders)
