"""Which change introduced the fault, and when the honest answer is: none.

A change just before is not a cause by itself. It has to come before the first onset and not long before, and words
of its text that also name the symptom speak for it. What makes a change harmless are the paths it touches: tests and
documentation do not run. A deploy without a diff says nothing either way; syncs of Argo CD and Helm look like that.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import polars as pl

from activities.analysis.catalogue.tokens import stop_words
from activities.analysis.family import AnalysisInput, evidence_family
from activities.analysis.parameters import Parameters
from activities.analysis.wording import number
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import Occurred
from workflows.contracts.probe import Tool

_PATH = re.compile(r"(?:^|(?<=\s)|(?<=\"))((?:[\w.@+-]+/)+[\w.@+-]+|[\w-]+\.(?:md|rst|txt|adoc)|CODEOWNERS|LICENSE)\b")
"""A file's path in a diff or in a list of files."""

_HARMLESS_PATH = re.compile(
    r"(?:^|/)(?:docs?|tests?|testdata|spec|__tests__|\.github|\.circleci)/|_test\.\w+$|\.test\.\w+$|(?:^|/)test_\w+\.py$"
    r"|\.(?:md|rst|adoc|txt)$|(?:^|/)(?:CODEOWNERS|LICENSE|\.gitignore|\.editorconfig)$"
)
"""Files that do not run."""

_LINK = re.compile(r"https?://\S{1,300}")
_CAMEL = re.compile(r"([a-z])([A-Z])")
_ENDING = re.compile(r"(?:ing|ed|es|s|y|iry|e)$")
_WORD = re.compile(r"[a-z]{3,}")
UNPLACED = EntityId("unknown:")
"""What a change without a target is about."""


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """A change as answered, with the words of its text."""

    id: str
    at: datetime
    kind: str
    target: str
    title: str
    detail: str

    @property
    def words(self) -> frozenset[str]:
        return words_of(f"{self.title} {self.detail.removeprefix(self.link)} {self.id}")

    @property
    def link(self) -> str:
        """Where people read it, when its text begins with an address."""
        first = self.detail.partition("\n")[0].strip()
        return first if _LINK.fullmatch(first) else ""

    @property
    def is_harmless(self) -> bool:
        """Whether it touches files, and none of them runs."""
        paths = [match[1] for match in _PATH.finditer(self.detail)]
        return bool(paths) and all(_HARMLESS_PATH.search(path) for path in paths)


@dataclass(frozen=True, kw_only=True)
class _Symptom:
    """What the other findings say of the fault."""

    onset: datetime
    words: frozenset[str]
    earliest: dict[EntityId, datetime]
    """The first onset of each entity that is clearly affected."""

    expired: bool
    """Whether a countdown reached zero: no change needs to have introduced that."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    score: float
    change: _Recorded
    shared: list[str]


def words_of(text: str) -> frozenset[str]:
    """The informative words of a text, as comparable stems."""
    plain = _CAMEL.sub(r"\1 \2", text).lower()
    return frozenset(_ENDING.sub("", word)[:6] for word in _WORD.findall(plain) if word not in stop_words())


CHANGES: dict[Tool, list[str]] = {"changes": ["id", "ts", "kind", "target", "title", "detail"]}


@evidence_family(needs=CHANGES, reads_findings=True)
def find_in_changes(given: AnalysisInput) -> list[Finding]:
    """A finding for every change that may have introduced the fault; without any sign for or against it, at 1/2."""
    symptom = _symptom(given)
    found: list[Finding] = []
    for item in given.evidence.of("changes"):
        rows = item.rows.filter(pl.col("ts") <= given.evidence.as_of).iter_rows(named=True)
        changes = [
            _Recorded(
                id=str(row["id"]),
                at=row["ts"],
                kind=str(row["kind"]),
                target=str(row["target"] or ""),
                title=str(row["title"] or ""),
                detail=str(row["detail"] or ""),
            )
            for row in rows
        ]
        for candidate in _candidates(changes, symptom, given.parameters):
            change = candidate.change
            found.append(
                given.factory.stated(
                    family=FindingFamily.CHANGE,
                    mechanism=Mechanism.CHANGE,
                    entity=EntityId(change.target) if change.target else UNPLACED,
                    signal=change.id,
                    summary=f"{change.kind} {change.id} at {change.at:%Y-%m-%d %H:%M:%S}: {change.title[:120]}",
                    note=_note(candidate, symptom.onset),
                    direction=Direction.APPEARED,
                    strength=1 / (1 + math.exp(-candidate.score)),
                    fault_kinds={FaultKind.ERROR: given.parameters.kind_of_change},
                    onset=change.at,
                    predicate=Occurred(
                        probe_key=item.probe.key, select={"id": change.id, "kind": change.kind}, at=change.at
                    ),
                )
            )
    return found


def _note(candidate: _Candidate, onset: datetime) -> str:
    lead = (onset - candidate.change.at).total_seconds()
    when = f"{number(round(lead))} s before the first onset" if lead > 0 else "at the first onset"
    shared = f", shares {', '.join(candidate.shared[:5])} with the symptom" if candidate.shared else ""
    link = candidate.change.link
    return f"{when}{shared}; {link}" if link else f"{when}{shared}"


def _symptom(given: AnalysisInput) -> _Symptom:
    parameters, alert_at = given.parameters, given.evidence.alert_at
    dated = [item for item in given.found if item.onset is not None]
    strong = [item for item in dated if item.strength >= parameters.change_dated_by] or dated
    names = frozenset(chain.from_iterable(words_of(name) for name in given.evidence.graph.kinds))
    words = frozenset(chain.from_iterable(words_of(item.signal) for item in strong))
    affected = {item.entity for item in given.found if item.strength >= parameters.change_dated_by}
    by_entity = {name: [item for item in dated if item.entity == name] for name in affected}
    return _Symptom(
        onset=_first_onset(strong, alert_at, parameters),
        words=words - names,
        earliest={name: _first_onset(items, alert_at, parameters) for name, items in by_entity.items() if items},
        expired=any(item.mechanism is Mechanism.EXPIRY for item in strong),
    )


def _first_onset(strong: list[Finding], alert_at: datetime, parameters: Parameters) -> datetime:
    """When the fault began: the moment by which `onset_part` of all evidence had begun, so that no single weak sign
    that moved earlier by chance dates it.
    """
    dated = sorted((item.onset, item.strength**2) for item in strong if item.onset and item.onset <= alert_at)
    enough = parameters.onset_part * sum(weight for _, weight in dated)
    reached = 0.0
    for onset, weight in dated:
        reached += weight
        if reached >= enough:
            return onset
    return alert_at


def _candidates(changes: list[_Recorded], symptom: _Symptom, parameters: Parameters) -> list[_Candidate]:
    spread = Counter(word for change in changes for word in change.words)
    found: list[_Candidate] = []
    for change in changes:
        lead = symptom.onset - change.at
        if not -parameters.change_slack <= lead <= parameters.change_lag:
            continue
        shared = sorted(change.words & symptom.words)
        count = len(changes)
        rarity = sum(math.log((count + 1) / (spread[word] + 0.5)) / math.log(count + 1) for word in shared)
        score = parameters.change_prior + min(parameters.change_word_ceiling, rarity)
        own = symptom.earliest.get(EntityId(change.target))
        if own is not None:
            score += math.exp(-max(0.0, (own - symptom.onset) / parameters.change_decay))
        if change.is_harmless:
            score -= parameters.change_harmless
        if symptom.expired:
            score -= parameters.change_deadline
        score -= max(0.0, lead / parameters.change_decay)
        found.append(_Candidate(score=score, change=change, shared=shared))
    return sorted(found, key=lambda item: (-item.score, item.change.id))
