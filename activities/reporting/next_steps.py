"""What a person should look at next, from the verdict, its kind of fault and the data gaps."""

import re
from collections.abc import Mapping

from activities.analysis.context import IncidentContext
from activities.analysis.parameters import DEFAULT, LIMITS
from activities.reporting.conclusion import Conclusion
from workflows.contracts.finding import Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.report import Outcome, RecalledPassage

_LINK = re.compile(r"https?://\S+")

BY_KIND: Mapping[FaultKind, str] = {
    FaultKind.CPU: "compare processor use and throttling of {entity} with its limits; profile what it computes",
    FaultKind.MEMORY: "look at the memory of {entity} against its limit and at its restarts; take a heap dump",
    FaultKind.DISK: "look at free space and inodes of the volumes of {entity}, and for I/O errors",
    FaultKind.NETWORK: "look at retransmits, drops and DNS between {entity} and its callers, and at its queues",
    FaultKind.LATENCY: "open a slow trace of {entity} and one from before; compare where its own time goes",
    FaultKind.ERROR: "read the error lines of {entity} since the onset and open one of its failed traces",
    FaultKind.CRASH: "look at the last exit of {entity}: exit code, restarts, events, lines before the end",
    FaultKind.LOCK: "list who waits and who holds locks in {entity}; look for long open transactions",
    FaultKind.SATURATION: "look at pools, queues and limits of {entity}: what is used up, and who holds it",
    FaultKind.BEHAVIOUR: "compare a request of {entity} from before with one of now: calls and lines differ",
    FaultKind.TRAFFIC: "find out who sends the requests to {entity}: clients, paths, retries",
    FaultKind.EXPIRY: "check the end dates of certificates, tokens and leases that {entity} uses, and renew them",
    FaultKind.CONFIGURATION: "compare the configuration of {entity} with the last one that worked",
}


def next_steps(conclusion: Conclusion) -> tuple[str, ...]:
    """A few sentences, the most useful first."""
    verdict = conclusion.verdict
    steps = [_read(item) for item in _first_of_each(conclusion.context)]
    if verdict.change_id is not None:
        where = _link_of(conclusion, verdict.change_id)
        steps.append(f"read the diff of {verdict.change_id}{where}; a rollback of it is the quickest test")
    if verdict.outcome is Outcome.CANDIDATES:
        names = [name for name, value in conclusion.probabilities.items() if value >= DEFAULT.candidate_from]
        steps.append(f"distinguish between the candidates: {', '.join(names[: LIMITS.candidates])}")
    if verdict.entity is not None and verdict.fault_kind_probability >= DEFAULT.kind_clear_from:
        sentence = BY_KIND.get(verdict.fault_kind)
        steps += [sentence.format(entity=verdict.entity)] if sentence else []
    elif verdict.entity is not None:
        steps.append(f"the kind of fault is unclear: look at the metrics, lines and events of {verdict.entity}")
    elif verdict.outcome is Outcome.NO_FAULT_FOUND:
        steps.append("look at the alert itself: its threshold, how long it must hold, and whom it is about")
    else:
        steps.append("look at what was not recorded or does not belong to the topology: clients, DNS, providers")
    gaps = [item for item in conclusion.context.data_gaps if item.status is not ObservationStatus.NOT_RECORDED]
    for item in sorted(gaps, key=lambda item: -item.count)[: LIMITS.next_steps_of_data_gaps]:
        about = f" of {item.entity}" if item.entity else ""
        steps.append(f"look at {item.tool}{about} by hand, there is no data: {item.reason[:120]}")
    return tuple(steps[: LIMITS.next_steps])


def what_was_found(conclusion: Conclusion) -> str:
    """What is looked for in the organisation's documents: the suspect, what is to be done, and what proves it; empty
    where there is no suspect.
    """
    verdict = conclusion.verdict
    if verdict.entity is None:
        return ""
    clear = verdict.fault_kind_probability >= DEFAULT.kind_clear_from
    to_do = BY_KIND.get(verdict.fault_kind, "") if clear else ""
    proofs = [item.summary for item in conclusion.proofs()[: LIMITS.proofs_looked_up]]
    return "\n".join(text for text in (to_do.format(entity=verdict.entity) or verdict.entity, *proofs) if text)


def written_down(context: IncidentContext) -> tuple[RecalledPassage, ...]:
    """What fits what was found, then what fits the alert, each passage once."""
    found = {
        (item.location, item.heading, item.text): item for item in reversed([*context.remedies, *context.passages])
    }
    return tuple(reversed(found.values()))


def _first_of_each(context: IncidentContext) -> list[RecalledPassage]:
    """The best passage for what was found and the best for the alert, one a document."""
    best = [*context.remedies[:1], *context.passages[:1]]
    return list({item.location: item for item in reversed(best)}.values())[::-1][: LIMITS.next_steps_of_passages]


def _read(passage: RecalledPassage) -> str:
    where = f"{passage.title}, {passage.heading}" if passage.heading else passage.title
    return f"read {where} ({passage.location})"


def _link_of(conclusion: Conclusion, change_id: str) -> str:
    """Where the change can be read, in brackets; empty where nobody said."""
    notes = [
        item.note for item in conclusion.findings if item.signal == change_id and item.mechanism is Mechanism.CHANGE
    ]
    links = [match[0] for note in notes if (match := _LINK.search(note)) is not None]
    return f" ({links[0]})" if links else ""
