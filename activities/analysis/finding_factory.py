"""Makes findings: every one with its evidence, its chart, and a predicate that the answers already satisfy."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from activities.analysis.change_points import ChangePoint, chart, ended_of, micros
from activities.analysis.evidence import Evidence
from activities.analysis.parameters import Parameters
from activities.analysis.wording import quantity
from workflows.contracts.canonical import digest_of, rounded
from workflows.contracts.finding import Direction, EvidenceRef, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import Predicate, SeriesShift, probes_of


@dataclass(frozen=True, kw_only=True)
class Shift:
    """A column's mean over a count, before and after a change point."""

    rows: pl.DataFrame
    """Rows of one probe (column `probe`), already selected, sorted by ts."""

    select: dict[str, str]
    column: str
    per: str
    change_point: ChangePoint


class FindingFactory:
    """Makes findings out of one investigation's evidence."""

    def __init__(self, evidence: Evidence, parameters: Parameters) -> None:
        """Make findings out of `evidence`, dated by `parameters`."""
        self.parameters = parameters
        self._alert_at = evidence.alert_at
        self._refs = {item.probe.key: item.ref for item in evidence.answers}

    def shifted(
        self,
        shift: Shift,
        *,
        family: FindingFamily,
        mechanism: Mechanism,
        entity: EntityId,
        signal: str,
        what: str,
        strength: float,
        fault_kinds: dict[FaultKind, float],
        caller: EntityId | None,
    ) -> Finding | None:
        """A finding about a mean duration (microseconds) that rose; None when the plain means do not show it."""
        before, after = self._mean(shift, later=False), self._mean(shift, later=True)
        if before is None or after is None or after <= before:
            return None
        course = [(row[0], row[1] / row[2]) for row in self._points(shift.rows, shift.column, shift.per)]
        return self.stated(
            family=family,
            mechanism=mechanism,
            entity=entity,
            signal=signal,
            summary=f"{what}: {quantity(after, 'us')} per request, {quantity(before, 'us')} before",
            direction=Direction.UP,
            strength=strength,
            fault_kinds=fault_kinds,
            caller=caller,
            unit="ms",
            onset=_onset(course, before, after, shift.change_point, self.parameters),
            ended=_ended(course, shift.change_point.at, self.parameters),
            points=[(at, value / 1e3) for at, value in course],
            predicate=SeriesShift(
                probe_key=shift.rows["probe"][0],
                select=shift.select,
                column=shift.column,
                per=shift.per,
                before=shift.change_point.pre,
                after=shift.change_point.post,
                direction="up",
                threshold=rounded(after),
                reference=rounded(before),
            ),
        )

    def counted(
        self,
        rows: pl.DataFrame,
        *,
        family: FindingFamily,
        mechanism: Mechanism,
        entity: EntityId,
        signal: str,
        summary: str,
        direction: Direction,
        strength: float,
        fault_kinds: dict[FaultKind, float],
        predicate: Predicate,
        column: str,
        since: datetime,
        caller: EntityId | None = None,
        note: str = "",
    ) -> Finding:
        """A finding about how often something occurred.

        What appeared is dated from its first occurrence from `since` on, what vanished from its last one; when a count
        became larger or smaller cannot be read from single occurrences.
        """
        occurred = [(row["ts"], float(row[column])) for row in rows.sort("ts").iter_rows(named=True)]
        onset = None
        if direction is Direction.APPEARED:
            onset = next((ts for ts, value in occurred if value > 0 and ts >= since), None)
        elif direction is Direction.VANISHED:
            onset = max((ts for ts, value in occurred if value > 0), default=None)
        return self.stated(
            family=family,
            mechanism=mechanism,
            entity=entity,
            signal=signal,
            summary=summary,
            direction=direction,
            strength=strength,
            fault_kinds=fault_kinds,
            predicate=predicate,
            onset=onset,
            ended=_ended(occurred, since, self.parameters),
            points=occurred,
            caller=caller,
            note=note,
        )

    def stated(
        self,
        *,
        family: FindingFamily,
        mechanism: Mechanism,
        entity: EntityId,
        signal: str,
        summary: str,
        direction: Direction,
        strength: float,
        fault_kinds: dict[FaultKind, float],
        predicate: Predicate,
        onset: datetime | None = None,
        ended: datetime | None = None,
        points: list[tuple[datetime, float]] | None = None,
        unit: str = "",
        caller: EntityId | None = None,
        note: str = "",
        about: tuple[str, ...] = (),
    ) -> Finding:
        """A finding whose numbers the caller knows already."""
        seen_by = caller if family in (FindingFamily.LOG, FindingFamily.METRIC) else None
        parts = [mechanism.value, entity, signal, direction.value, *([seen_by] if seen_by else [])]
        identity = "\x1f".join(parts)
        refs: list[EvidenceRef] = [self._refs[key] for key in sorted(probes_of(predicate)) if key in self._refs]
        return Finding(
            key=f"{family.value}-{digest_of(identity.encode())[:12]}",
            family=family,
            mechanism=mechanism,
            entity=entity,
            signal=signal[:300],
            summary=summary[:500],
            note=note[:300],
            direction=direction,
            strength=rounded(min(1.0, max(0.0, strength))),
            onset=onset,
            ended=ended,
            fault_kinds={kind: rounded(weight) for kind, weight in fault_kinds.items()},
            caller=caller,
            about=about,
            evidence=tuple(refs),
            predicate=predicate,
            series=tuple((rounded(x), rounded(y)) for x, y in chart(points or [], self._alert_at)),
            unit=unit,
        )

    @staticmethod
    def _mean(shift: Shift, *, later: bool) -> float | None:
        window = shift.change_point.post if later else shift.change_point.pre
        rows = shift.rows.filter(pl.col("ts") >= window.start, pl.col("ts") < window.end)
        count = int(rows[shift.per].sum())
        return None if count == 0 else float(rows[shift.column].sum()) / count

    @staticmethod
    def _points(rows: pl.DataFrame, column: str, per: str) -> list[tuple[datetime, float, float]]:
        summed = rows.group_by("ts").agg(pl.col(column).sum(), pl.col(per).sum()).sort("ts")
        return [row for row in summed.iter_rows() if row[2] > 0]


def _ended(points: list[tuple[datetime, float]], since: datetime, parameters: Parameters) -> datetime | None:
    at = np.array([micros(moment) for moment, _ in points], dtype=np.int64)
    return ended_of(at, np.array([value for _, value in points]), since, parameters)


def _onset(
    points: list[tuple[datetime, float]],
    before: float,
    after: float,
    change_point: ChangePoint,
    parameters: Parameters,
) -> datetime | None:
    """The first moment from a little before the change point at which the series passes `onset_share` of the way up."""
    level = before + parameters.onset_share * (after - before)
    return next((ts for ts, value in points if ts >= change_point.at - timedelta(seconds=10) and value >= level), None)
