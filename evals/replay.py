"""The steps of an evaluation: one case through the product's own door, and its outcome into the store."""

import asyncio
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from activities.memory.evaluations import Evaluations
from activities.memory.ledger import Ledger
from activities.telemetry.recorded import Bundle, BundleError, open_bundle
from evals.baselines import ALERTED, METHODS, case_input, rank_all
from evals.bundles import Truth
from evals.meter import Cost, Meter
from evals.plan import Plan
from evals.readers import CorpusError
from evals.results import CaseResult, CaseTruth, CaseVerdict, MovedFinding, Ranked
from evals.suites import Suite, TruthsOnly
from workers.installation import Installation
from workers.replaying import replay
from workflows.contracts.evaluation import CaseInput, CaseOutcome, EvaluationId
from workflows.contracts.identifiers import EntityId, InvestigationId, workflow_id_of
from workflows.contracts.investigation import Purpose
from workflows.steps import CLOSE_EVALUATION, REPLAY_CASE

LOG = structlog.stdlib.get_logger(__name__)
ATTEMPTS = 12
"""Attempts after which a case is given up; a worker that is killed costs one."""

LOOK_EVERY_S = 0.25
DRILLED = 3
MOST_ENTITIES = 10_000
SCRATCH = "evaluations"


class NoReportError(Exception):
    """The investigation of a case ended without a report."""


class ReplayActivities:
    """Steps of the evaluation workflow, on its own queue."""

    def __init__(self, installation: Installation, client: Client, meter: Meter) -> None:
        self._installation = installation
        self._client = client
        self._meter = meter
        self._store = Evaluations(installation.engine, installation.tenant)
        self._plan_of: Callable[[EvaluationId], Plan] = cache(self._read_plan)
        self._suite_of: Callable[[EvaluationId], Suite] = cache(lambda given: self._plan_of(given).open())

    @activity.defn(name=REPLAY_CASE)
    async def replay(self, given: CaseInput) -> CaseOutcome:
        """Replay one case unless it is finished; what cannot be replayed is an outcome as well."""
        known = await asyncio.to_thread(
            self._store.finished, given.evaluation_id, number=given.number, repeat=given.repeat
        )
        if known:
            return CaseOutcome(failed=False, brief="finished before")
        beating = asyncio.create_task(_beat())
        try:
            result = await self._result(given)
            if result.failed is not None:
                result = await asyncio.to_thread(self._told_wrong, given, result)
        finally:
            beating.cancel()
        await asyncio.to_thread(
            self._store.finish,
            given.evaluation_id,
            number=given.number,
            repeat=given.repeat,
            failed=result.failed is not None,
            body=result.model_dump(mode="json"),
            at=datetime.now(UTC),
        )
        return CaseOutcome(failed=result.failed is not None, brief=(result.failed or "")[:200])

    @activity.defn(name=CLOSE_EVALUATION)
    async def close(self, given: CaseInput) -> None:
        """Every case has its outcome: drop what was made for them."""
        shutil.rmtree(self._scratch(given.evaluation_id), ignore_errors=True)

    async def _result(self, given: CaseInput) -> CaseResult:
        plan = await asyncio.to_thread(self._plan_of, given.evaluation_id)
        name = plan.cases[given.number]
        empty = CaseResult(id=f"unread-{given.number}", case=name, system=plan.suite, repeat=given.repeat)
        if activity.info().attempt > ATTEMPTS:
            return empty.model_copy(update={"failed": f"given up after {ATTEMPTS} attempts"})
        try:
            suite = await asyncio.to_thread(self._suite_of, given.evaluation_id)
            empty = empty.model_copy(update={"system": await asyncio.to_thread(suite.system, name)})
            bundle = await asyncio.to_thread(self._bundle, suite, name, given)
            empty = empty.model_copy(update={"id": bundle.manifest.bundle_id})
            return await self._investigated(given, plan, suite, bundle, empty)
        except (CorpusError, BundleError, NoReportError) as error:
            return empty.model_copy(update={"failed": str(error)})
        except (OperationalError, InterfaceError, RPCError):
            raise  # something is away for a while: tried again
        except Exception as error:
            LOG.exception("replay.failed", case=name, attempt=activity.info().attempt)
            if activity.info().attempt >= 3:
                return empty.model_copy(update={"failed": f"{type(error).__name__}: {error}"[:1_000]})
            raise

    def _told_wrong(self, given: CaseInput, result: CaseResult) -> CaseResult:
        """A case without a report keeps its truth: it counts as one that was not solved."""
        if self._plan_of(given.evaluation_id).blind:
            return result
        try:
            truth, problem = truth_of(self._suite_of(given.evaluation_id), result.case)
        except CorpusError as error:
            truth, problem = None, str(error)
        fields = with_truth(truth, ()) if truth is not None else {"truth_problem": problem}
        return result.model_copy(update=fields)

    def _bundle(self, suite: Suite, name: str, given: CaseInput) -> Bundle:
        """The case's bundle; one that an attempt before this one finished writing is used again."""
        scratch = self._scratch(given.evaluation_id) / f"{given.number}-{given.repeat}"
        written = next(scratch.glob("*/manifest.json"), None)  # the last file to be written
        if written is not None:
            return open_bundle(written.parent)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        return open_bundle(suite.bundle(name, scratch))

    def _scratch(self, evaluation_id: EvaluationId) -> Path:
        return self._installation.settings.data_dir / SCRATCH / evaluation_id

    async def _investigated(
        self, given: CaseInput, plan: Plan, suite: Suite, bundle: Bundle, empty: CaseResult
    ) -> CaseResult:
        scope = f"evaluation:{given.evaluation_id}:{given.number}:{given.repeat}"
        started = time.monotonic()
        with self._meter.metered() as cost:
            opened = await replay(
                self._installation,
                self._client,
                bundle,
                scope=scope,
                purpose=Purpose.EVALUATION,
                budget=plan.budget,
                model=plan.model,
            )
            await self._ended(opened.request.investigation_id)
        wall = time.monotonic() - started
        result = await self._collected(empty, opened.request.investigation_id, wall, cost)
        extra = await asyncio.to_thread(_beside, plan, suite, bundle, empty.case)
        shutil.rmtree(self._scratch(given.evaluation_id) / f"{given.number}-{given.repeat}", ignore_errors=True)
        return result.model_copy(update=extra)

    async def _ended(self, investigation_id: InvestigationId) -> None:
        handle = self._client.get_workflow_handle(workflow_id_of(investigation_id))
        try:
            await handle.result()
        except WorkflowFailureError as error:
            raise NoReportError(f"investigation {investigation_id} ended without a report: {error.cause}") from error

    async def _collected(
        self, empty: CaseResult, investigation_id: InvestigationId, wall: float, cost: Cost
    ) -> CaseResult:
        described = await self._client.get_workflow_handle(workflow_id_of(investigation_id)).describe()
        info = described.raw_description.workflow_execution_info
        ledger = self._installation.ledger(investigation_id)
        result = await asyncio.to_thread(_from_report, empty, ledger)
        return result.model_copy(
            update={
                "investigation_id": investigation_id,
                "wall_seconds": wall,
                "cpu_seconds": cost.cpu_seconds,
                "peak_memory_bytes": cost.peak_memory_bytes,
                "history_events": info.history_length,
                "history_bytes": info.history_size_bytes,
            }
        )

    def _read_plan(self, evaluation_id: EvaluationId) -> Plan:
        return Plan.model_validate(self._store.plan(evaluation_id))


def _from_report(empty: CaseResult, ledger: Ledger) -> CaseResult:
    """What the published report says, and nothing else: what is measured is what people read."""
    report = ledger.report()
    if report is None:
        raise NoReportError("the investigation ended without a report")
    findings = report.findings
    hypotheses = findings.hypotheses
    suspects = [item for item in hypotheses if item.entity is not None]
    return empty.model_copy(
        update={
            "verdict": CaseVerdict(**{name: getattr(findings.verdict, name) for name in CaseVerdict.model_fields}),
            "ranking": tuple(
                Ranked(
                    entity=item.entity,
                    fault_kind=item.fault_kind,
                    fault_kind_probability=item.fault_kind_probability,
                    probability=item.probability,
                )
                for item in suspects
                if item.entity is not None
            ),
            "none_probability": sum(item.probability for item in hypotheses if item.entity is None),
            "contributions": tuple(
                MovedFinding(
                    entity=item.entity,
                    finding_key=part.finding_key,
                    log_odds=part.log_odds,
                    reason=part.reason[:200],
                )
                for item in suspects[:DRILLED]
                if item.entity is not None
                for part in (*item.supporting, *item.contradicting)
            ),
            "claims": findings.claim_counts,
            "probes": report.run.probes_answered,
            "probes_by_status": report.run.probes_by_status,
            "tokens": report.run.tokens,
            "findings_sha256": report.findings_sha256,
        }
    )


def _beside(plan: Plan, suite: Suite, bundle: Bundle, name: str) -> dict[str, object]:
    """What is known beside the investigation: the candidates, the truth unless blind, the baselines."""
    truth, problem = (None, None) if plan.blind else truth_of(suite, name)
    given = case_input(bundle.folder, truth.injected_at if truth is not None else None)
    methods = METHODS if plan.baselines else {ALERTED: METHODS[ALERTED]}
    found: dict[str, object] = {
        "entities": given.entities[:MOST_ENTITIES],
        "baselines": rank_all(given, methods),
    }
    if truth is not None:
        found |= with_truth(truth, given.entities)
    if problem is not None:
        found["truth_problem"] = problem
    return found


def truth_of(suite: Suite | TruthsOnly, name: str) -> tuple[Truth | None, str | None]:
    """A case's truth, or why there is none."""
    try:
        return suite.truth(name), None
    except CorpusError as error:
        return None, str(error)
    except Exception as error:
        LOG.exception("truth.failed", case=name)
        return None, f"{type(error).__name__}: {error}"[:1_000]


def with_truth(truth: Truth, entities: tuple[EntityId, ...]) -> dict[str, object]:
    """The fields of a result that its truth fills; a truth of no entity of the case is reported, never scored."""
    shown = CaseTruth(**{name: getattr(truth, name) for name in CaseTruth.model_fields})
    known = set(entities)
    strangers = [root.entity for root in truth.roots if known and not known & {root.entity, *root.aliases}]
    problem = f"names {', '.join(strangers)}, which is no entity of the case" if strangers else None
    return {"truth": shown, "truth_problem": problem}


async def _beat() -> None:
    timeout = activity.info().heartbeat_timeout
    while timeout is not None:
        activity.heartbeat()
        await asyncio.sleep(timeout.total_seconds() / 5)
