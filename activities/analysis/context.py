"""What ranking and reporting know of an incident beside its findings: alerts, topology and data gaps, no telemetry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from activities.analysis.evidence import TELEMETRY, Evidence
from activities.analysis.facts import FactStanding, facts_in
from activities.analysis.graph import Graph
from workflows.contracts.alert import Alert
from workflows.contracts.identifiers import EntityId
from workflows.contracts.model import ChangeOpinion, Opinion
from workflows.contracts.probe import Window, entity_of
from workflows.contracts.report import DataGap, RecalledPassage


@dataclass(frozen=True, kw_only=True)
class IncidentContext:
    """An incident as the ranking sees it."""

    alerts: tuple[Alert, ...]
    as_of: datetime
    graph: Graph
    window: Window
    """From the earliest metric, line or span to the moment of the query."""

    has_telemetry: bool
    """Whether any metric, line or span was answered at all."""

    measured: frozenset[EntityId] = frozenset()
    """Of which any metric, line or span was answered."""

    data_gaps: tuple[DataGap, ...] = ()
    probes_planned: int = 0
    hints: tuple[str, ...] = ()
    facts: tuple[FactStanding, ...] = ()
    """What people know, and whether it may be used."""

    recalled: tuple[str, ...] = ()
    """Sentences about past incidents, of investigations that began before 0.6."""

    passages: tuple[RecalledPassage, ...] = ()
    """Of documents that fit the alerts."""

    remedies: tuple[RecalledPassage, ...] = ()
    """Of documents that fit what was found."""

    opinions: tuple[Opinion, ...] = ()
    """What a language model thinks of suspects; the last word on each."""

    change_opinions: tuple[ChangeOpinion, ...] = ()
    """What it thinks of candidate changes."""

    stopped_by: str | None = None
    """`budget`, `person`, `cancel` or `outage` when collection ended early."""

    @property
    def alert_at(self) -> datetime:
        """When the first symptom fired; never after the moment of the query."""
        return min([alert.starts_at for alert in self.alerts] + [self.as_of])

    @property
    def alerting(self) -> frozenset[EntityId]:
        """What the alerts are about, when they say so."""
        return frozenset(alert.entity for alert in self.alerts if alert.entity is not None)

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        *,
        data_gaps: Sequence[DataGap] = (),
        probes_planned: int = 0,
        hints: Sequence[str] = (),
        stopped_by: str | None = None,
    ) -> "IncidentContext":
        """The context of decoded answers, for use without a ledger."""
        return cls(
            alerts=evidence.alerts,
            as_of=evidence.as_of,
            graph=evidence.graph,
            window=evidence.window,
            has_telemetry=any(item.probe.tool in TELEMETRY for item in evidence.answers),
            measured=frozenset(
                EntityId(entity)
                for item in evidence.answers
                if item.probe.tool in TELEMETRY and item.rows.height and (entity := entity_of(item.probe))
            ),
            data_gaps=tuple(data_gaps),
            probes_planned=probes_planned,
            hints=tuple(hints),
            facts=tuple(item for answer in evidence.of("facts") for item in facts_in(answer.rows, evidence.as_of)),
            stopped_by=stopped_by,
        )
