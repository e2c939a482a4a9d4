"""Rows that one step adds to the ledger, stored in one transaction together with its output."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Table

from activities.memory.model_service import request_rows
from activities.memory.tables import CLAIM, CONCLUSION, FINDING, HYPOTHESIS, MENU, MODEL_REQUEST, PAST, PROBE, TURN
from workflows.contracts.canonical import canonical_json
from workflows.contracts.claim import Claim
from workflows.contracts.contract import Contract
from workflows.contracts.deliberation import Turn
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.past_incident import Sign
from workflows.contracts.probe import Probe
from workflows.contracts.report import ReportFindings


class LedgerBatch:
    """Rows that one step adds in one round, stored together with its output."""

    def __init__(self, *, in_round: int = 0) -> None:
        self._round = in_round
        self.rows: list[tuple[Table, list[dict[str, object]]]] = []

    def probes(self, probes: Iterable[Probe], *, first: int = 0) -> "LedgerBatch":
        """The plan, in order, its first query numbered `first`."""
        rows: list[dict[str, object]] = [
            {
                "probe_key": probe.key,
                "round": self._round,
                "ordinal": number,
                "backend": probe.backend,
                "body": _json(probe),
            }
            for number, probe in enumerate(probes, start=first)
        ]
        return self._with(PROBE, rows)

    def menu(self, probes: Iterable[Probe]) -> "LedgerBatch":
        """What a later look may choose from, in the order of the plan."""
        rows: list[dict[str, object]] = [
            {"probe_key": probe.key, "ordinal": number, "body": _json(probe)} for number, probe in enumerate(probes)
        ]
        return self._with(MENU, rows)

    def turn(self, turn: Turn, *, engine_version: str, at: datetime) -> "LedgerBatch":
        """What was decided after a ranking, and what models were asked for it."""
        row: dict[str, object] = {"round": turn.round, "body": _json(turn), "engine_version": engine_version}
        return self._with(TURN, [row])._with(MODEL_REQUEST, request_rows(turn.calls, at=at))

    def findings(self, findings: Iterable[Finding], *, engine_version: str) -> "LedgerBatch":
        """Findings, in canonical order."""
        rows: list[dict[str, object]] = [
            {
                "round": self._round,
                "finding_key": item.key,
                "ordinal": number,
                "body": _json(item),
                "engine_version": engine_version,
            }
            for number, item in enumerate(findings)
        ]
        return self._with(FINDING, rows)

    def hypotheses(self, hypotheses: Iterable[Hypothesis], *, engine_version: str) -> "LedgerBatch":
        """Hypotheses, best first."""
        rows: list[dict[str, object]] = [
            {
                "round": self._round,
                "ordinal": item.rank,
                "body": _json(item),
                "engine_version": engine_version,
            }
            for item in hypotheses
        ]
        return self._with(HYPOTHESIS, rows)

    def claims(self, claims: Iterable[Claim]) -> "LedgerBatch":
        """Claims of every state."""
        rows: list[dict[str, object]] = [
            {
                "round": self._round,
                "claim_key": item.key,
                "ordinal": number,
                "state": item.state.value,
                "body": _json(item),
            }
            for number, item in enumerate(claims)
        ]
        return self._with(CLAIM, rows)

    def conclusion(self, body: ReportFindings) -> "LedgerBatch":
        """The report's body, as it will be published."""
        row: dict[str, object] = {
            "round": self._round,
            "body": canonical_json(body).decode(),
            "engine_version": body.engine_version,
        }
        return self._with(CONCLUSION, [row])

    def past(
        self,
        *,
        scope: str,
        known_from: datetime,
        title: str,
        entity: EntityId | None,
        fault_kind: str,
        probability: float,
        sentence: str,
        alerting: Iterable[EntityId] = (),
        signs: Iterable[Sign] = (),
    ) -> "LedgerBatch":
        """What later investigations may recall."""
        row: dict[str, object] = {
            "scope": scope,
            "known_from": known_from,
            "title": title,
            "entity": entity,
            "fault_kind": fault_kind,
            "probability": probability,
            "sentence": sentence,
            "alerting": sorted(alerting),
            "signs": [_json(item) for item in signs],
        }
        return self._with(PAST, [row])

    def _with(self, table: Table, rows: list[dict[str, object]]) -> "LedgerBatch":
        self.rows.append((table, rows))
        return self


def _json(value: Contract) -> dict[str, JsonValue]:
    return value.model_dump(mode="json")
