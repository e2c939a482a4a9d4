"""The shipped recordings: small, opaque, apart from their truths; and the product has no way to the truth."""

import json
from pathlib import Path

import polars as pl

from evals.bundles import Truth
from evals.lab.faults import catalogue
from evals.lab.scenarios import scenarios
from tests.conftest import PROJECT, RECORDINGS
from workflows.contracts.hypothesis import FaultKind

LIMIT_BYTES = 12_000_000
LARGE = "row_lock_in_140_services"
"""Played in a grown shop, so that limits inside of the engine are exercised."""


def files() -> list[Path]:
    return [path for path in RECORDINGS.rglob("*") if path.is_file()]


def test_they_fit_and_say_how_they_were_made() -> None:
    assert sum(path.stat().st_size for path in files()) < LIMIT_BYTES
    made = json.loads((RECORDINGS / "recordings.json").read_text())
    assert {row["bundle_id"] for row in made} == {path.name for path in (RECORDINGS / "bundles").iterdir()}
    assert {path.stem for path in (RECORDINGS / "truths").iterdir()} == {row["bundle_id"] for row in made}


def test_every_fault_of_the_catalogue_is_recorded() -> None:
    cases = {json.loads(path.read_text())["case"] for path in (RECORDINGS / "truths").iterdir()} - {LARGE}
    assert cases <= set(scenarios())
    assert len(cases) >= 24
    played = {fault for name in cases for fault, _ in scenarios()[name].faults}
    assert played == set(catalogue())


def test_every_fault_kind_the_lab_can_provoke_is_there() -> None:
    truths = [Truth.model_validate_json(path.read_bytes()) for path in (RECORDINGS / "truths").iterdir()]
    kinds = {root.fault_kind for truth in truths for root in truth.roots}
    assert kinds >= set(FaultKind) - {FaultKind.UNKNOWN, FaultKind.CONFIGURATION}
    assert sum(truth.entity is None for truth in truths) >= 2, "healthy systems with a false alert"
    assert any(len(truth.roots) == 2 for truth in truths), "two faults at once"


def test_no_bundle_names_its_fault_or_this_machine() -> None:
    for path in (RECORDINGS / "bundles").rglob("*"):
        if path.suffix == ".json":
            text = path.read_text()
        elif path.suffix == ".parquet":
            text = pl.read_parquet(path).write_csv()
        else:
            continue
        for word in (*scenarios(), *catalogue(), "/home/", f"{Path.home()}/", str(PROJECT)):
            assert word not in text, f"{word} in {path}"


def test_alerts_come_from_symptoms() -> None:
    for path in (RECORDINGS / "truths").iterdir():
        truth = json.loads(path.read_text())
        alert = json.loads((RECORDINGS / "bundles" / truth["bundle_id"] / "alert.json").read_text())
        assert alert["starts_at"] > truth["injected_at"]
        assert alert["entity"] in ("service:storefront", "queue:orders")
        if truth["fault_kind"] != "traffic":
            assert truth.get("entity") != alert["entity"]


def test_no_room_of_the_product_names_the_truth() -> None:
    for room in ("workflows", "activities", "workers", "infra"):
        for path in (PROJECT / room).rglob("*.py"):
            text = path.read_text()
            assert "truths" not in text, path
            assert "import evals" not in text, path
            assert "from evals" not in text, path
