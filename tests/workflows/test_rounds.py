"""A second, narrower round of queries adds to the first, changes the ranking, and is what the report reads."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.diagnosis import DiagnosisActivities
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.steps import MemoryActivities
from activities.memory.store import Store
from activities.memory.uuid7 import uuid7
from activities.step import Outcome, run_step
from activities.telemetry.plan import everything_from, plan_probes, topology_probe
from activities.telemetry.recorded import open_bundle
from activities.telemetry.steps import TelemetryActivities
from tests.conftest import recorded
from tests.running import options_for, quick_ingestion
from workers.installation import Installation
from workflows import steps
from workflows.contracts.identifiers import EntityId
from workflows.contracts.investigation import InvestigationRequest, ScopeResult, StepInput
from workflows.contracts.probe import Probe

QUEUE = "rounds"
PLAN = steps.Step(name="plan", output=ScopeResult, queue=QUEUE, start_to_close=timedelta(minutes=1))
ABOUT = (EntityId("service:storefront"), EntityId("service:payment"))
"""What each round queries; the deploy that broke the shop is payment's."""


@workflow.defn
class TwoRounds:
    """The product's steps, run once a round; the last round's conclusion is published."""

    @workflow.run
    async def run(self, request: InvestigationRequest) -> None:
        for number in range(len(ABOUT)):
            given = StepInput(request=request, round=number)
            for step in (PLAN, steps.COLLECT, steps.FINDINGS, steps.RANK, steps.CONCLUDE):
                await workflow.execute_activity(step.name, given, start_to_close_timeout=timedelta(minutes=1))
        await workflow.execute_activity(steps.PUBLISH.name, given, start_to_close_timeout=timedelta(minutes=1))


class Planner:
    """Plans the queries of each round, the topology in both of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=PLAN.name)
    def plan(self, given: StepInput) -> ScopeResult:
        return run_step(self._store, PLAN, given, self._plan)

    def _plan(self, _ledger: Ledger, given: StepInput) -> Outcome:
        as_of, name = given.request.as_of, ABOUT[given.round]
        about = plan_probes(
            sources=everything_from("recorded"), as_of=as_of, kinds={name: "service"}, edges=[], alerting=[ABOUT[0]]
        )
        probes: list[Probe] = [topology_probe("recorded", as_of), *about]
        batch = LedgerBatch(in_round=given.round).probes(probes)
        return Outcome(ScopeResult(entities=1, probes_planned=len(probes)), batch)


async def test_a_second_round_changes_the_ranking_and_keeps_the_first(installation: Installation) -> None:
    client = await installation.client()
    folder = recorded("bad_deploy")
    request = (
        await quick_ingestion(installation, client).record(open_bundle(folder).alert, options_for(folder))
    ).request
    store = installation.store
    telemetry, memory = TelemetryActivities(store, installation.recorded_backend), MemoryActivities(store)
    diagnosis, planner = DiagnosisActivities(store), Planner(store)
    doing = [telemetry.collect, diagnosis.findings, diagnosis.rank, diagnosis.conclude, memory.publish, planner.plan]
    with ThreadPoolExecutor(4) as pool:
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[TwoRounds],
            workflow_runner=UnsandboxedWorkflowRunner(),
            activities=doing,
            activity_executor=pool,
        ):
            await client.execute_workflow(TwoRounds.run, request, id=f"rounds-{uuid7()}", task_queue=QUEUE)
    ledger = installation.ledger(request.investigation_id)
    first, second = ledger.hypotheses(0), ledger.hypotheses(1)
    assert first[0].entity != "service:payment"
    assert second[0].entity == "service:payment"
    assert {item.key for item in ledger.findings(0)} < {item.key for item in ledger.findings(1)}, "it adds"
    report = ledger.report()
    assert report is not None
    assert report.findings.hypotheses == tuple(second)
    assert report.findings == ledger.conclusion(1)
    assert ledger.conclusion(0) != ledger.conclusion(1)
    assert ledger.last_round() == 1
    assert len(ledger.answered_keys(0) & ledger.answered_keys(1)) == 3, "topology, changes, cluster: once a round"
    assert report.run.probes_planned == len(ledger.probes()) == 9
