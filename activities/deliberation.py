"""The activity that decides after a ranking which queries one more look runs."""

from collections import defaultdict
from collections.abc import Sequence

from temporalio import activity

from activities.analysis.information_gain import worth, worth_running
from activities.analysis.verification import verified
from activities.evidence_loading import load_context
from activities.memory.ledger import Ledger
from activities.memory.ledger_batch import LedgerBatch
from activities.memory.store import Store
from activities.step import Outcome, run_step
from workflows.contracts.deliberation import MOST_CHOSEN, ChosenProbe, Turn
from workflows.contracts.identifiers import Name, ProbeKey
from workflows.contracts.investigation import DeliberateResult, StepInput
from workflows.contracts.observation import Observation, ObservationStatus
from workflows.contracts.probe import Probe
from workflows.contracts.version import ENGINE_VERSION
from workflows.steps import DELIBERATE


class DeliberationActivities:
    """Chooses what is queried next."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=DELIBERATE.name, no_thread_cancel_exception=True)
    def deliberate(self, given: StepInput) -> DeliberateResult:
        """Choose the queries of the next round by what the ranking of this one leaves open."""
        return run_step(self._store, DELIBERATE, given, self._deliberate)

    def _deliberate(self, ledger: Ledger, given: StepInput) -> Outcome:
        ranked_in = ledger.concluded_round(given.round)
        asked, observations = ledger.probes(), ledger.observations()
        left = _open(ledger.menu(), asked, observations)
        context = load_context(ledger, given.model_copy(update={"round": ranked_in}))
        valued = worth(
            left,
            ledger.hypotheses(ranked_in),
            verified(ledger.findings(ranked_in), ledger.claims(ranked_in)),
            answered={probe: observations[probe.key].row_count for probe in asked if probe.key in observations},
            alerting=context.alerting,
            graph=context.graph,
        )
        room = max(0, given.request.budget.probes - len(observations))
        chosen = worth_running(valued, planned=len(asked) + len(left))[: min(room, MOST_CHOSEN)]
        probes = [item.probe for item in chosen]
        turn = Turn(
            round=given.round,
            chosen=tuple(ChosenProbe(probe_key=item.probe.key, gain=item.gain) for item in chosen),
            left=len(left) - len(chosen),
        )
        sources = tuple(dict.fromkeys(Name(probe.backend) for probe in probes)) if given.request.sources else ()
        return Outcome(
            DeliberateResult(chosen=len(probes), sources=sources),
            LedgerBatch(in_round=given.round + 1).probes(probes).turn(turn, engine_version=ENGINE_VERSION),
        )


def _open(menu: Sequence[Probe], asked: Sequence[Probe], observations: dict[ProbeKey, Observation]) -> list[Probe]:
    """What was not run yet, without modalities of which a source has said that it has nothing recorded."""
    statuses: dict[tuple[str, str], set[ObservationStatus]] = defaultdict(set)
    for probe in asked:
        if probe.key in observations:
            statuses[probe.backend, probe.tool].add(observations[probe.key].status)
    done = {probe.key for probe in asked}
    absent = {ObservationStatus.NOT_RECORDED}
    return [probe for probe in menu if probe.key not in done and statuses[probe.backend, probe.tool] != absent]
