"""The loop on recorded incidents, with choosers of known quality in the model's place.

Each chooser speaks through the same prompt, schema and effects as a model, so what is measured is what a model of that
quality can do: an oracle knows the truth, a semi-oracle knows it in a stated share of its turns and is hostile in the
others, a hostile one speaks for the likeliest wrong suspect with citations that bear on it. Beside them the engine that
asks everything at once, and the loop without a model.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from activities.analysis.context import IncidentContext
from activities.analysis.evidence import Evidence
from activities.analysis.findings import find
from activities.analysis.information_gain import first_look, worth
from activities.analysis.parameters import DEFAULT, Parameters
from activities.analysis.ranking import rank
from activities.analysis.verification import claims_of, verified
from activities.deliberation import choose, new_opinions
from activities.inference.change_question import SCHEMA as CHANGE_SCHEMA
from activities.inference.change_question import (
    candidate,
    candidate_findings,
    change_question,
    judge_changes,
)
from activities.inference.client import Completion, Model, Prompt
from activities.inference.structured import ask
from activities.inference.turn import NOTHING, Effect, State, effect, named, question
from activities.telemetry.plan import everything_from, plan_probes
from evals.bundles import Root
from evals.recorded_case import RecordedCase, ranking_of
from evals.results import Interval
from evals.scoring import accuracy_at, interval, names_root, names_root_and_kind, ranks
from workflows.contracts.finding import Finding
from workflows.contracts.hypothesis import Hypothesis
from workflows.contracts.identifiers import EntityId
from workflows.contracts.model import ChangeOpinion, ModelIdentity, Opinion
from workflows.contracts.probe import Probe

ROUNDS = 3
MODALITIES = frozenset(("traces", "metrics", "logs"))
CHARACTERS, ANSWER = 4, 200
"""Characters of a token, and tokens of an answer, for an estimate."""

WHOLE, ALONE = "everything at once", "information gain"
_LINE = re.compile(r"^([SFQ]\d+) (.*)$")


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """What a chooser made of a case."""

    hypotheses: tuple[Hypothesis, ...]
    asked: int
    """Queries, the topology's included."""

    tokens: int
    """Estimated from characters; no tokenizer is at hand."""

    rounds: int


@dataclass(frozen=True, kw_only=True)
class ChooserScore:
    """One system under one chooser."""

    system: str
    chooser: str
    first: Interval
    """AC@1."""

    kind: Interval
    """Entity and kind both right."""

    change: Interval | None
    """The right change named with the first suspect, or rightly none; None where no changes were recorded."""

    asked: float
    """Part of the whole plan that was asked."""

    tokens: float
    """Of a case, on average."""


class Scripted:
    """A chooser in a model's place: it reads the digest, and answers in the schema."""

    def __init__(self, script: "Script") -> None:
        self._script = script
        self.identity = ModelIdentity(endpoint="scripted", model="scripted")

    def complete(self, prompt: Prompt, schema: dict[str, JsonValue], *, max_tokens: int) -> Completion:  # noqa: ARG002
        """Whatever it chooses."""
        if schema == CHANGE_SCHEMA:
            return Completion(text=json.dumps({"explains": self._script.judge(_change_in(prompt)), "kind": "error"}))
        return Completion(text=json.dumps(self._script.answer(Digest(prompt.user))))


def _change_in(prompt: Prompt) -> str:
    """The name of the change that a prompt is about."""
    return prompt.user.partition(":")[0].removeprefix("Change ")


class Digest:
    """What a chooser can read in a prompt."""

    def __init__(self, text: str) -> None:
        self.suspects: dict[str, str] = {}
        self.findings: dict[str, str] = {}
        self.queries: dict[str, str] = {}
        for line in text.splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            words = match[2].split()
            if match[1].startswith("S"):
                self.suspects[match[1]] = words[0]
            elif match[1].startswith("F"):
                self.findings[match[1]] = words[0]
            else:
                self.queries[match[1]] = words[1]

    def signs(self, suspect: str) -> list[str]:
        """Findings of a suspect, three at most."""
        return [name for name, entity in self.findings.items() if entity == self.suspects[suspect]][:3]

    def others(self, suspect: str) -> list[str]:
        """Findings of others, three at most."""
        return [name for name, entity in self.findings.items() if entity != self.suspects[suspect]][:3]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a chooser says."""

    answer: Callable[[Digest], dict[str, object]]
    """In a turn."""

    judge: Callable[[str], str]
    """Of a change: yes, no or unsure."""


def _names(roots: Sequence[Root]) -> set[str]:
    return {named(name) for root in roots for name in (root.entity, *root.aliases)}


def _guilty(roots: Sequence[Root]) -> set[str]:
    return {named(root.change_id) for root in roots if root.change_id is not None}


def _speak(digest: Digest, likelier: Sequence[str], less: Sequence[str], queries: Sequence[str]) -> dict[str, object]:
    judged: list[dict[str, object]] = [
        {"suspect": name, "likelier": True, "findings": digest.signs(name)} for name in likelier
    ]
    judged += [{"suspect": name, "likelier": False, "findings": digest.others(name)} for name in less]
    return {"queries": list(queries[:4]), "judgements": judged[:3], "propose": None}


def oracle(roots: Sequence[Root]) -> Script:
    """Speaks for the truth, against what else ranks high, and asks about the truth."""
    true, guilty = _names(roots), _guilty(roots)

    def answer(digest: Digest) -> dict[str, object]:
        right = [name for name, entity in digest.suspects.items() if entity in true][:1]
        wrong = [name for name, entity in digest.suspects.items() if entity not in true][:2]
        return _speak(digest, right, wrong, [name for name, entity in digest.queries.items() if entity in true])

    return Script(answer=answer, judge=lambda change: "yes" if change in guilty else "no")


def hostile(roots: Sequence[Root]) -> Script:
    """Speaks for the likeliest wrong suspects, against the truth, and asks about others."""
    true, guilty = _names(roots), _guilty(roots)

    def answer(digest: Digest) -> dict[str, object]:
        right = [name for name, entity in digest.suspects.items() if entity in true][:1]
        wrong = [name for name, entity in digest.suspects.items() if entity not in true][:2]
        return _speak(digest, wrong, right, [name for name, entity in digest.queries.items() if entity not in true])

    return Script(answer=answer, judge=lambda change: "no" if change in guilty else "yes")


def mixed(roots: Sequence[Root], share: float, seed: str) -> Script:
    """The oracle in a share of its answers, the hostile one in the others."""
    drawn = random.Random(seed)  # noqa: S311 - a simulation
    good, bad = oracle(roots), hostile(roots)

    def either() -> Script:
        return good if drawn.random() < share else bad

    def answer(digest: Digest) -> dict[str, object]:
        return either().answer(digest)

    def judge(change: str) -> str:
        return either().judge(change)

    return Script(answer=answer, judge=judge)


def at_random(seed: str) -> Script:
    """Anything that the schema allows."""
    drawn = random.Random(seed)  # noqa: S311 - a simulation

    def some(names: Sequence[str], most: int) -> list[str]:
        return drawn.sample(list(names), min(len(names), drawn.randint(0, most)))

    def answer(digest: Digest) -> dict[str, object]:
        judged = [
            {"suspect": name, "likelier": drawn.random() < 0.5, "findings": some(list(digest.findings), 3)}
            for name in some(list(digest.suspects), 3)
        ]
        return {"queries": some(list(digest.queries), 4), "judgements": judged, "propose": None}

    return Script(answer=answer, judge=lambda _: drawn.choice(("yes", "no", "unsure")))


def _same_words(digest: Digest) -> dict[str, object]:
    last = list(digest.suspects)[-1:]
    judged = [{"suspect": name, "likelier": True, "findings": list(digest.findings)[:3]} for name in last]
    return {"queries": list(digest.queries)[-1:], "judgements": judged, "propose": None}


CONSTANT = Script(answer=_same_words, judge=lambda _: "yes")
"""Always the same words: the last suspect, for the first findings, and every change is guilty."""


Choosers = Mapping[str, Callable[[RecordedCase], Script | None]]
CHOOSERS: Choosers = {
    ALONE: lambda _: None,
    "random": lambda case: at_random(case.name),
    "constant": lambda _: CONSTANT,
    "hostile": lambda case: hostile(case.roots),
    "right in 50 %": lambda case: mixed(case.roots, 0.5, case.name),
    "right in 70 %": lambda case: mixed(case.roots, 0.7, case.name),
    "right in 85 %": lambda case: mixed(case.roots, 0.85, case.name),
    "oracle": lambda case: oracle(case.roots),
}


def loop(case: RecordedCase, model: Model | None, *, parameters: Parameters = DEFAULT) -> LoopResult:
    """What the product's loop does with a case, without servers."""
    evidence = case.evidence
    answers = {item.probe.key: item for item in evidence.answers}
    topology = [item for item in evidence.answers if item.probe.tool == "topology"]
    recorded = {item.probe.tool for item in evidence.answers}
    ask_now, left = first_look(_plan(evidence), evidence.alerting, absent=MODALITIES - recorded)
    asked: list[Probe] = []
    opinions: dict[EntityId, Opinion] = {}
    changes: dict[str, ChangeOpinion] = {}
    tokens = 0
    for number in range(ROUNDS + 1):
        asked += ask_now
        answered = [answers[probe.key] for probe in asked if probe.key in answers]
        now = replace(evidence, answers=(*topology, *answered))
        context, findings, hypotheses = _ranked(
            now, case.planned, parameters, tuple(opinions.values()), tuple(changes.values())
        )
        done = {probe.key for probe in asked}
        left = [probe for probe in left if probe.key not in done]
        if number == ROUNDS:
            break
        valued = worth(
            left,
            hypotheses,
            findings,
            answered={probe: answers[probe.key].rows.height for probe in asked if probe.key in answers},
            alerting=context.alerting,
            graph=context.graph,
            parameters=parameters,
        )
        state = State(
            context=context, hypotheses=hypotheses, findings=findings, valued=valued, round=number, rounds=ROUNDS
        )
        said, judged, spent = _said(state, model, now, changes)
        tokens += spent
        chosen = {item.probe_key for item in choose(state, said, planned=len(asked) + len(left))}
        ask_now = [item.probe for item in valued if item.probe.key in chosen]
        new = new_opinions(said.opinions, tuple(opinions.values()))
        opinions |= {item.entity: item for item in said.opinions}
        changes |= {item.change_id: item for item in judged}
        if not (ask_now or new or any(item.weight for item in judged)):
            break
    return LoopResult(hypotheses=tuple(hypotheses), asked=len(asked) + 1, tokens=tokens, rounds=number + 1)


def everything(case: RecordedCase) -> LoopResult:
    """The engine that asks everything at once."""
    _, _, hypotheses = _ranked(case.evidence, case.planned, DEFAULT)
    return LoopResult(hypotheses=tuple(hypotheses), asked=case.planned, tokens=0, rounds=1)


def score_choosers(cases: Sequence[RecordedCase], choosers: Choosers = CHOOSERS) -> list[ChooserScore]:
    """AC@1, kinds and cost of every system under every chooser."""
    by_system: dict[str, list[RecordedCase]] = defaultdict(list)
    for case in cases:
        by_system[case.system].append(case)
    found = []
    for system, listed in sorted(by_system.items()):
        found.append(_score(system, WHOLE, listed, [everything(case) for case in listed]))
        for name, chooser in choosers.items():
            results = []
            for case in listed:
                script = chooser(case)
                results.append(loop(case, None if script is None else Scripted(script)))
            found.append(_score(system, name, listed, results))
    return found


def _score(system: str, chooser: str, cases: Sequence[RecordedCase], results: Sequence[LoopResult]) -> ChooserScore:
    rankings = [ranking_of(result.hypotheses) for result in results]
    pairs = list(zip(cases, rankings, strict=True))
    named_right = [
        [float(_change_named(result.hypotheses) in {root.change_id for root in case.roots})]
        for case, result in zip(cases, results, strict=True)
        if any(item.rows.height for item in case.evidence.of("changes"))
    ]
    return ChooserScore(
        system=system,
        chooser=chooser,
        first=interval([accuracy_at(1, ranks(ranking, case.roots, names_root))] for case, ranking in pairs),
        kind=interval([accuracy_at(1, ranks(ranking, case.roots, names_root_and_kind))] for case, ranking in pairs),
        change=interval(named_right) if named_right else None,
        asked=sum(item.asked for item in results) / sum(case.planned for case in cases),
        tokens=sum(item.tokens for item in results) / len(results),
    )


def _change_named(hypotheses: Sequence[Hypothesis]) -> str | None:
    return next((item.change_id for item in hypotheses if item.entity is not None), None)


def _ranked(
    evidence: Evidence,
    planned: int,
    parameters: Parameters,
    opinions: tuple[Opinion, ...] = (),
    changes: tuple[ChangeOpinion, ...] = (),
) -> tuple[IncidentContext, list[Finding], list[Hypothesis]]:
    found = find(evidence, parameters)
    holding = verified(found, claims_of(found, evidence.frames()))
    context = IncidentContext.of(evidence, probes_planned=planned)
    context = replace(context, opinions=opinions, change_opinions=changes)
    return context, holding, rank(holding, context, parameters=parameters)


def _said(
    state: State, model: Model | None, evidence: Evidence, known: Collection[str]
) -> tuple[Effect, tuple[ChangeOpinion, ...], int]:
    """The effect of a model's answers, and the tokens that they took."""
    if model is None:
        return NOTHING, (), 0
    asking, ids = question(state)
    answered = ask(model, asking, allowed=lambda _: True)
    assert answered.answer is not None
    rows = evidence.frames()
    changes = [
        change
        for item in candidate_findings(state, known)
        for change in candidate(item, rows[item.evidence[0].probe_key])
    ]
    judged = judge_changes(model, state, changes, allowed=lambda _: True)
    prompts = [asking.prompts[0], *(change_question(item, (), state.context.alert_at).prompts[0] for item in changes)]
    tokens = sum(len(item.system) + len(item.user) for item in prompts) // CHARACTERS + ANSWER * (1 + len(changes))
    return effect(answered.answer, ids, state.context.graph, str), judged.opinions, tokens


def _plan(evidence: Evidence) -> list[Probe]:
    return plan_probes(
        sources=everything_from("recorded"),
        as_of=evidence.as_of,
        kinds=evidence.graph.kinds,
        edges=[(caller, callee) for caller, callees in evidence.graph.callees.items() for callee in callees],
        alerting=sorted(evidence.alerting),
    )
