"""What is recorded: which faults, where, in which company, and what is left out of the record."""

from dataclasses import dataclass
from typing import Literal

from evals.lab.faults import catalogue

Modality = Literal["metrics", "logs", "traces", "changes", "cluster", "topology"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One incident to play and record."""

    name: str
    faults: tuple[tuple[str, str | None], ...] = ()
    """Name of a fault and the role it is played in; None: the fault's own. None at all: nothing is wrong."""

    harmless_deploy: str | None = None
    """Role of a service that is rolled out shortly before, without any effect."""

    recovers: bool = False
    """The fault is over before the investigation begins."""

    missing: tuple[Modality, ...] = ()
    """What was not recorded."""


def _elsewhere(fault: str, role: str) -> Scenario:
    return Scenario(name=f"{fault}_{role}", faults=((fault, role),))


def scenarios() -> dict[str, Scenario]:
    """All by name: every fault in its own place, many in a second one, and the awkward ones."""
    plain = [Scenario(name=name, faults=((name, None),)) for name in catalogue()]
    second = [
        _elsewhere("bad_deploy", "catalog"),
        _elsewhere("cpu_burner", "recommend"),
        _elsewhere("bad_flag", "recommend"),
        _elsewhere("expired_certificate", "shipping"),
        _elsewhere("full_disk", "inventory"),
        _elsewhere("slow_dependency", "cart"),
        _elsewhere("stopped_process", "inventory"),
    ]
    awkward = [
        Scenario(name="two_faults", faults=(("cpu_burner", "shipping"), ("bad_deploy", "catalog"))),
        Scenario(name="red_herring", faults=(("row_lock", None),), harmless_deploy="recommend"),
        Scenario(name="red_herring_burner", faults=(("cpu_burner", "inventory"),), harmless_deploy="checkout"),
        Scenario(name="recovered", faults=(("stopped_process", "cart"),), recovers=True),
        Scenario(name="false_alert"),
        Scenario(name="false_alert_after_deploy", harmless_deploy="payment"),
        Scenario(name="no_traces", faults=(("bad_deploy", "inventory"),), missing=("traces",)),
        Scenario(name="no_logs", faults=(("exhausted_pool", "inventory"),), missing=("logs",)),
        Scenario(name="no_metrics", faults=(("slow_dependency", "inventory"),), missing=("metrics",)),
    ]
    return {item.name: item for item in (*plain, *second, *awkward)}
