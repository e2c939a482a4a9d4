"""Made-up incidents: always the same, true to what was drawn, and found where the engine has what it needs."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from activities.telemetry.recorded import open_bundle
from evals.bundles import write_bundle
from evals.offline import diagnose, evidence_of
from evals.readers import CorpusError
from evals.simulator.dynamics import Disturbance, simulate
from evals.simulator.incident import draw_incident
from evals.simulator.suite import SimulatedSuite
from evals.simulator.system import Component, Link, System
from evals.suites import is_named, open_suite

UNSEEN = 77


def component(kind: str = "service", *, own_ms: float = 10, replicas: int = 1) -> Component:
    return Component(
        name=kind,
        kind=kind,  # type: ignore[arg-type]
        own_ms=own_ms,
        cpu_ms=own_ms / 2,
        replicas=replicas,
        cores=4,
        workers=32,
        error_share=0,
        memory_mb=100,
        operations=("get",),
        nodes=(0,) * replicas,
    )


@pytest.fixture
def chain() -> System:
    """A door that calls a service that calls a database."""
    link = {"calls": 1.0, "critical": 1.0, "retries": 0, "timeout_ms": 1_000.0}
    return System(
        components=(component(), component(own_ms=20), component("database", own_ms=2)),
        links=(Link(caller=0, callee=1, **link), Link(caller=1, callee=2, **link)),  # type: ignore[arg-type]
        entries=(0,),
        rate=10,
        nodes=1,
    )


def test_time_and_failures_travel_from_callees_to_callers_and_load_the_other_way(chain: System) -> None:
    base, disks = np.full(10, 10.0), np.full(3, 0.5)
    calm = simulate(chain, Disturbance.none(chain, 10, disks), base)
    assert calm.rate[0] == pytest.approx([10, 10, 10])
    assert calm.time_ms[0, 0] > calm.time_ms[0, 1] > calm.time_ms[0, 2]
    assert calm.failed.max() < 0.01
    slow = Disturbance.none(chain, 10, disks)
    slow.slower[5:, 2] = 200
    course = simulate(chain, slow, base)
    rise = course.time_ms[9] - course.time_ms[0]
    assert rise == pytest.approx([199, 199, 199], abs=3), "who waits for it is late by the same time"
    down = Disturbance.none(chain, 10, disks)
    down.down[5:, 1] = 1
    course = simulate(chain, down, base)
    assert course.failed[9, 0] == pytest.approx(1)
    assert course.rate[9, 2] == 0, "nobody asks the database any more"


def test_its_name_is_no_folder() -> None:
    assert is_named("simulated:7:20")
    assert not is_named("./simulated")


def test_a_number_is_always_the_same_incident_and_others_are_others(tmp_path: Path) -> None:
    first, again = draw_incident(UNSEEN, 3), draw_incident(UNSEEN, 3)
    written = [write_bundle(item.recording, tmp_path / name) for item, name in ((first, "a"), (again, "b"))]
    assert written[0] == written[1]
    assert first.truth == again.truth
    assert draw_incident(UNSEEN, 4).truth.bundle_id != first.truth.bundle_id


def test_incidents_are_of_many_kinds_and_every_one_can_be_read(tmp_path: Path) -> None:
    suite = open_suite(f"simulated:{UNSEEN}:24", None, None)
    assert isinstance(suite, SimulatedSuite)
    systems = set()
    for name in suite.names():
        folder = suite.bundle(name, tmp_path)
        bundle, truth = open_bundle(folder), suite.truth(name)
        bundle.verify()
        systems.add(suite.system(name))
        assert bundle.manifest.bundle_id == truth.bundle_id
        assert truth.case not in bundle.manifest.bundle_id
        for modality in ("metrics", "logs", "traces"):
            if bundle.recorded(modality) is not None:
                rows = pl.read_parquet(folder / f"{modality}.parquet")
                assert rows.height > 0 or modality == "logs"
                assert rows.filter(pl.col("ts") >= bundle.manifest.visible.end).is_empty()
    assert len(systems) > 5


def test_spans_of_a_trace_lie_within_each_other(tmp_path: Path) -> None:
    traced = next(item for number in range(40) if (item := draw_incident(UNSEEN, number)).how.traces)
    assert traced.recording.traces is not None
    spans = traced.recording.traces
    pairs = spans.join(
        spans, left_on=["trace_id", "parent_span_id"], right_on=["trace_id", "span_id"], suffix="_of_caller"
    )
    assert pairs.height > 0
    assert pairs.filter(pl.col("ts") < pl.col("ts_of_caller")).is_empty()
    own = pairs.filter(pl.col("peer") != "")
    assert (own["entity"] == own["entity_of_caller"]).all(), "who serves a request makes its calls"


def test_the_engine_finds_a_fault_that_it_was_not_made_for(tmp_path: Path) -> None:
    """No figure: that is for `inquest eval`. But an engine that finds nothing here is broken."""
    found = []
    for number in (5, 7, 11, 12):
        incident = draw_incident(UNSEEN, number)
        write_bundle(incident.recording, tmp_path / str(number))
        evidence, planned = evidence_of(tmp_path / str(number))
        [root] = incident.truth.roots
        first = [item.entity for item in diagnose(evidence, probes_planned=planned).hypotheses if item.entity][:3]
        found.append(not {root.entity, *root.aliases}.isdisjoint(first))
    assert sum(found) >= len(found) / 2


@pytest.mark.parametrize("name", ["simulated:", "simulated:x", "simulated:1:2:3", "simulated:-1"])
def test_a_name_that_is_no_seed_is_an_error_that_says_what_to_write(name: str) -> None:
    with pytest.raises(CorpusError, match="simulated:SEED:COUNT"):
        open_suite(name, None, None)
