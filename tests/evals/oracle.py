"""Figures computed again from a results file, with other people's code only (scikit-learn, SciPy, NumPy)."""

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import binomtest, bootstrap, rankdata
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

Document = dict[str, Any]

TAIL, SEEDS, NOTHING = 0.025, 0.015, 1e-9
"""What a 95 % interval leaves out on a side; what two seeds may differ by; what rounding may."""


def roots(truth: Document) -> list[Document]:
    """Every root of a truth."""
    return [] if truth["entity"] is None else [truth, *truth["also"]]


def names(entry: Document, root: Document) -> bool:
    """By name or alias."""
    return entry["entity"] in {root["entity"], *root["aliases"]}


def root_ranks(case: Document, ranking: list[Document], *, with_kind: bool = False) -> list[float]:
    """SciPy's average ranks of each root's best entry."""
    places = rankdata([-entry["probability"] for entry in ranking], method="average") if ranking else np.array([])
    found: list[float] = []
    used: set[str] = set()
    for root in roots(case["truth"]):
        fitting = [
            (place, number, entry["entity"])
            for number, (place, entry) in enumerate(zip(places, ranking, strict=True))
            if names(entry, root)
            and entry["entity"] not in used
            and (not with_kind or entry["fault_kind"] == root["fault_kind"])
        ]
        place, _, entity = min(fitting, default=(float("inf"), 0, ""))
        used.add(entity)
        found.append(place)
    return found


def usable(document: Document, system: str) -> list[Document]:
    """Replays of a system with a truth that can be used."""
    return [
        case
        for case in document["cases"]
        if case["system"] == system and case["truth"] is not None and case["truth_problem"] is None
    ]


def rank_figures(cases: list[Document], rankings: list[list[Document]], *, with_kind: bool = False) -> Document:
    """AC@1, 3, 5, Avg@5 and MRR: mean over cases of their mean over repeats."""
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case, ranking in zip(cases, rankings, strict=True):
        found = np.array(root_ranks(case, ranking, with_kind=with_kind))
        at = [np.count_nonzero(found <= k) / min(k, found.size) for k in (1, 2, 3, 4, 5)]
        values = {"ac1": at[0], "ac3": at[2], "ac5": at[4], "avg5": np.mean(at), "mrr": 1 / found.min()}
        for name, value in values.items():
            table[name][case["id"]].append(float(value))
    return {name: [float(np.mean(values)) for values in by_case.values()] for name, by_case in table.items()}


def check_interval(low: float, high: float, values: list[float]) -> None:
    """The interval leaves out 2.5 % of SciPy's bootstrap means on either side, within what two seeds may differ by.

    Shares and not positions are compared: means of few cases have few values, between which a quantile jumps.
    """
    if len(set(values)) == 1:
        assert np.isclose([low, high], values[0]).all()
        return
    means = bootstrap(
        (np.array(values),), np.mean, method="percentile", n_resamples=4_000, rng=7
    ).bootstrap_distribution
    assert np.mean(means < low - NOTHING) <= TAIL + SEEDS
    assert np.mean(means <= low + NOTHING) >= TAIL - SEEDS
    assert np.mean(means > high + NOTHING) <= TAIL + SEEDS
    assert np.mean(means >= high - NOTHING) >= TAIL - SEEDS


def check_ranks(shown: Document | None, figures: Document) -> None:
    """Values exactly, intervals by what they leave out."""
    assert shown is not None
    for name, values in figures.items():
        assert np.isclose(shown[name]["value"], np.mean(values)), name
        assert shown[name]["n"] == len(values)
        check_interval(shown[name]["low"], shown[name]["high"], values)


def check(document: Document) -> None:
    """Every figure of every system."""
    for group in document["scores"]["systems"]:
        mine = [case for case in document["cases"] if case["system"] == group["group"]]
        cases = usable(document, group["group"])
        faulty = [case for case in cases if case["truth"]["entity"] is not None]
        assert group["replays"] == len(mine)
        assert group["unscorable"] == len(mine) - len(cases)
        assert group["failed"] == sum(case["failed"] is not None for case in mine)
        if faulty:
            check_ranks(group["entity"], rank_figures(faulty, [case["ranking"] for case in faulty]))
        kinded = [case for case in faulty if case["truth"]["fault_kind"] != "unknown"]
        if kinded:
            figures = rank_figures(kinded, [case["ranking"] for case in kinded], with_kind=True)
            check_ranks(group["entity_and_kind"], figures)
        for method, shown in group["baselines"].items():
            ranked = [case for case in faulty if method in case["baselines"]]
            check_ranks(shown, rank_figures(ranked, [case["baselines"][method] for case in ranked]))
        _check_verdicts(group, cases)
        _check_calibration(group, cases)
        _check_changes(group, cases)
        assert np.isclose(group["costs"]["wall_seconds_median"], np.median([case["wall_seconds"] for case in mine]))
        assert group["costs"]["peak_memory_bytes_max"] == max(case["peak_memory_bytes"] for case in mine)
        made = sum(sum(case["claims"].values()) for case in mine)
        held = sum(case["claims"]["verified"] for case in mine)
        assert group["claim_support"] == (None if not made else held / made)


def _said(case: Document) -> str | None:
    verdict = case["verdict"]
    found: str | None = verdict["entity"] if verdict and verdict["outcome"] == "cause_found" else None
    return found


def _check_verdicts(group: Document, cases: list[Document]) -> None:
    shown = group["abstention"]
    healthy = [
        case
        for case in cases
        if case["truth"]["entity"] is None and not case["truth"]["unnamed"] and case["failed"] is None
    ]
    faulty = [case for case in cases if case["truth"]["entity"] is not None]
    right = [any(_said(case) in (root["entity"], *root["aliases"]) for root in roots(case["truth"])) for case in faulty]
    silent = [_said(case) is None for case in faulty]
    assert shown["healthy"] == len(healthy)
    assert shown["false_alarms"] == sum(_said(case) is not None for case in healthy)
    assert shown["right_verdicts"] == sum(right)
    assert shown["missed"] == sum(silent)
    assert shown["wrong_verdicts"] == len(faulty) - sum(right) - sum(silent)


def _check_calibration(group: Document, cases: list[Document]) -> None:
    ranked = [case for case in cases if case["ranking"]]
    if not ranked:
        assert group["calibration"] is None
        return
    said = np.array([case["ranking"][0]["probability"] for case in ranked])
    right = np.array([any(names(case["ranking"][0], root) for root in roots(case["truth"])) for case in ranked])
    assert np.isclose(group["calibration"]["brier"], brier_score_loss(right, said, labels=[False, True]))
    # scikit-learn puts a probability that lies on an edge into the bin below; nudged, both mean the bin above.
    nudged = np.minimum(said + 1e-12, 1.0)
    share, mean = calibration_curve(right, nudged, n_bins=10, strategy="uniform")
    counts = np.bincount(np.minimum((nudged * 10).astype(int), 9), minlength=10)
    ece = float(np.sum(counts[counts > 0] * np.abs(share - mean)) / said.size)
    assert np.isclose(group["calibration"]["ece"], ece, atol=1e-9)


def _check_changes(group: Document, cases: list[Document]) -> None:
    with_changes = [case for case in cases if case["truth"]["changes_recorded"]]
    if not with_changes:
        assert group["changes"] is None
        return
    right = 0
    for case in with_changes:
        wanted = {root["change_id"] for root in roots(case["truth"])} - {None}
        said = case["verdict"]["change_id"] if case["verdict"] else None
        right += case["failed"] is None and (said in wanted if wanted else said is None)
    assert group["changes"]["right"] == right
    assert group["changes"]["n"] == len(with_changes)


def mcnemar(lost: int, won: int) -> float:
    """SciPy's exact binomial test."""
    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
