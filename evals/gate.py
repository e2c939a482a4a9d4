"""The regression gate: how the lab's recordings are answered now against how they were answered before.

`python -m evals.gate RESULTS.json` keeps a run of the lab suite as what may not become worse.
"""

import sys
from pathlib import Path

from pydantic import TypeAdapter

from evals.results import CaseResult, EvaluationFile, read_results
from evals.scoring import names_root, names_root_cause, ranks, roots_of
from evals.suites import RECORDINGS
from workflows.contracts.contract import Contract

EXPECTED = RECORDINGS / "expected.json"
NOWHERE = 1_000.0
"""The rank of a root that is in no place of the ranking."""


class Standing(Contract):
    """How one case is answered."""

    case: str
    rank: float | None
    """Of the root that stands best; None where nothing was wrong."""

    verdict: int
    """1: it names a root, or nobody where nobody is to blame. 0: it names nobody. -1: it names somebody else."""

    change: bool
    """Whether the right change is named, or none where none did it."""


_STANDINGS = TypeAdapter(dict[str, Standing])


def expected() -> dict[str, Standing]:
    """What is kept in the repository, by bundle id."""
    return _STANDINGS.validate_json(EXPECTED.read_bytes())


def standings(results: EvaluationFile) -> dict[str, Standing]:
    """How every case of a scored run is answered."""
    return {case.id: _standing(case) for case in results.cases}


def falls(before: dict[str, Standing], now: dict[str, Standing]) -> list[str]:
    """A line for every case that is answered worse than before."""
    found = []
    for key, old in before.items():
        new = now.get(key)
        if new is None:
            found.append(f"{old.case}: is no longer replayed")
            continue
        if old.rank is not None and new.rank is not None and new.rank > old.rank:
            found.append(f"{old.case}: the root fell from rank {old.rank:g} to {new.rank:g}")
        if new.verdict < old.verdict:
            found.append(f"{old.case}: the verdict fell from {_WORDS[old.verdict]} to {_WORDS[new.verdict]}")
        if old.change and not new.change:
            found.append(f"{old.case}: the change that brought it in is no longer named")
    return found


_WORDS = {1: "right", 0: "none", -1: "wrong"}


def _standing(case: CaseResult) -> Standing:
    assert case.truth is not None
    roots = roots_of(case.truth)
    rank = min(NOWHERE, *ranks(case.ranking, roots, names_root)) if roots else None
    said = case.verdict.entity if case.verdict is not None and names_root_cause(case) else None
    if said is None:
        verdict = 0 if roots or case.failed is not None else 1
    else:
        verdict = 1 if any(said == root.entity or said in root.aliases for root in roots) else -1
    wanted = {root.change_id for root in roots if root.change_id is not None}
    change = case.verdict.change_id if case.verdict is not None else None
    right = case.failed is None and (change in wanted if wanted else change is None)
    return Standing(case=case.truth.case or case.case, rank=rank, verdict=verdict, change=right)


def keep(path: Path) -> None:
    """Keep a run's answers as those that may not become worse."""
    found = standings(read_results(path))
    EXPECTED.write_bytes(_STANDINGS.dump_json(dict(sorted(found.items())), indent=1) + b"\n")


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
