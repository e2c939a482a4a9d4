"""Which change brought the fault in, and when the honest answer is: none.

A change just before is not a cause by itself. It has to come before the first onset and not long before, and words
of its text that also name the symptom speak for it; documentation and tests speak against it.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from activities.analysis.evidence import Evidence
from activities.analysis.finding_factory import FindingFactory
from activities.analysis.parameters import Parameters
from workflows.contracts.finding import Direction, Finding, FindingFamily, Mechanism
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.identifiers import EntityId
from workflows.contracts.predicate import Occurred

HARMLESS = re.compile(
    r"^(?:docs?|tests?|style|ci|chore\(deps\))\b|go\.(?:mod|sum)\b|package(?:-lock)?\.json|\block\b|CODEOWNERS|README",
    re.I,
)
STRONG = 0.3
"""Findings at least this strong date the onset and lend their words to the symptom."""

_STOP = frozenset(
    [
        "the",
        "a",
        "an",
        "to",
        "in",
        "of",
        "for",
        "and",
        "is",
        "or",
        "on",
        "with",
        "from",
        "by",
        "at",
        "return",
        "func",
        "err",
        "nil",
        "if",
        "string",
        "int",
        "const",
        "var",
        "type",
        "struct",
        "import",
        "new",
        "error",
        "errors",
        "http",
        "get",
        "set",
        "request",
        "requests",
        "response",
        "service",
        "services",
        "ctx",
        "go",
        "pkg",
        "internal",
        "per",
        "sec",
        "second",
        "seconds",
        "ratio",
        "rate",
        "total",
        "usually",
        "rises",
        "falls",
        "something",
        "logs",
        "times",
        "about",
        "usual",
        "only",
        "before",
    ]
)
_CAMEL = re.compile(r"([a-z])([A-Z])")
_ENDING = re.compile(r"(?:ing|ed|es|s|y|iry|e)$")
_WORD = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    score: float
    row: dict[str, object]
    shared: list[str]


def words_of(text: str) -> frozenset[str]:
    """The telling words of a text, cut to comparable stems."""
    plain = _CAMEL.sub(r"\1 \2", text).lower()
    return frozenset(_ENDING.sub("", word)[:6] for word in _WORD.findall(plain) if word not in _STOP)


def find_in_changes(
    evidence: Evidence, parameters: Parameters, factory: FindingFactory, others: list[Finding]
) -> list[Finding]:
    """A finding for every change that may have brought the fault in; its strength is 1/2 where nothing tells.

    Args:
        evidence: the answers.
        parameters: numbers of the engine.
        factory: makes the findings.
        others: findings of the other families, whose onsets and words describe the symptom.
    """
    strong = [item for item in others if item.strength >= STRONG and item.onset is not None] or [
        item for item in others if item.onset is not None
    ]
    first_onset = _first_onset(strong, evidence.alert_at, parameters)
    symptom = frozenset[str]().union(*(words_of(f"{item.signal} {item.summary}") for item in strong))
    names = frozenset[str]().union(*(words_of(name) for name in evidence.graph.kinds))
    found: list[Finding] = []
    for item in evidence.of("changes"):
        rows = list(item.rows.filter(pl.col("ts") <= evidence.as_of).iter_rows(named=True))
        for candidate in _candidates(rows, first_onset, strong, symptom - names, parameters):
            row = candidate.row
            moment = row["ts"]
            assert isinstance(moment, datetime)
            because = f", shares {', '.join(candidate.shared[:5])} with the symptom" if candidate.shared else ""
            lead = (first_onset - moment).total_seconds()
            when = f"{lead:.0f} s before the first onset" if lead > 0 else "at the first onset"
            found.append(
                factory.stated(
                    family=FindingFamily.CHANGE,
                    mechanism=Mechanism.CHANGE,
                    entity=EntityId(str(row["target"])) if row["target"] else EntityId("unknown:"),
                    signal=str(row["id"]),
                    summary=f"{row['kind']} {row['id']} at {moment:%Y-%m-%d %H:%M:%S}: {str(row['title'])[:120]}",
                    note=f"{when}{because}",
                    direction=Direction.APPEARED,
                    strength=1 / (1 + math.exp(-candidate.score)),
                    fault_kinds={FaultKind.ERROR: 0.3},
                    onset=moment,
                    predicate=Occurred(
                        probe_key=item.probe.key,
                        select={"id": str(row["id"]), "kind": str(row["kind"])},
                        at=moment,
                    ),
                )
            )
    return found


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


def _candidates(
    rows: list[dict[str, object]],
    first_onset: datetime,
    strong: list[Finding],
    symptom: frozenset[str],
    parameters: Parameters,
) -> list[_Candidate]:
    texts = [words_of(f"{row['title']} {row['detail']} {row['id']}") for row in rows]
    spread = Counter(word for words in texts for word in words)
    earliest: dict[str, datetime] = {}
    for item in strong:
        if item.onset is not None:
            earliest[item.entity] = min(item.onset, earliest.get(item.entity, item.onset))
    # A countdown that reached zero, not a log line that says "expired": that may be what a change brought in.
    deadline = any(FaultKind.EXPIRY in item.fault_kinds and item.family is FindingFamily.METRIC for item in strong)
    found: list[_Candidate] = []
    for row, words in zip(rows, texts, strict=True):
        moment = row["ts"]
        assert isinstance(moment, datetime)
        lead = first_onset - moment
        if not -parameters.change_slack <= lead <= parameters.change_lag:
            continue
        shared = sorted(words & symptom)
        rarity = sum(math.log((len(rows) + 1) / (spread[word] + 0.5)) / math.log(len(rows) + 1) for word in shared)
        score = parameters.change_prior + min(parameters.change_word_ceiling, rarity)
        own = earliest.get(str(row["target"]))
        if own is not None:
            score += math.exp(-max(0.0, (own - first_onset) / parameters.change_decay))
        if _harmless(row):
            score -= parameters.change_harmless
        if deadline:
            score -= parameters.change_deadline
        score -= max(0.0, lead / parameters.change_decay)
        found.append(_Candidate(score=score, row=row, shared=shared))
    return sorted(found, key=lambda item: (-item.score, str(item.row["id"])))


def _harmless(row: dict[str, object]) -> bool:
    """Documentation, tests, dependencies only, or a deploy of nothing."""
    if row["kind"] not in ("deploy", "commit"):
        return False
    return HARMLESS.search(str(row["title"])) is not None or not row["detail"]
