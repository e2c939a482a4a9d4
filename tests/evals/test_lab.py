"""The lab's own calculations. Playing a fault takes minutes and belongs to `make lab`."""

from datetime import UTC, datetime, timedelta

from evals.lab.alerting import EntryRequest, SymptomRule
from evals.lab.shop import renamed, standard_shop
from workflows.contracts.topology import EdgeKind

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def requests(start: float, seconds: float, *, duration_s: float = 0.02, failing: int = 0) -> list[EntryRequest]:
    """Eight a second, every `failing`-th of them failed."""
    return [
        EntryRequest(
            ended=NOON + timedelta(seconds=start + number / 8),
            duration_s=duration_s,
            failed=bool(failing) and number % failing == 0,
        )
        for number in range(int(seconds * 8))
    ]


def test_the_rule_learns_before_it_fires() -> None:
    rule = SymptomRule("front")
    assert rule.judge(requests(0, 30, failing=2), NOON + timedelta(seconds=30)) is None


def test_failures_and_slowness_fire_and_health_does_not() -> None:
    for bad, fires in (
        (requests(90, 10, failing=3), True),
        (requests(90, 10, duration_s=1.5), True),
        (requests(90, 10), False),
    ):
        rule = SymptomRule("front")
        assert rule.judge(requests(0, 90), NOON + timedelta(seconds=90)) is None
        assert (rule.judge(bad, NOON + timedelta(seconds=100)) is not None) is fires


def test_a_renamed_shop_is_the_same_shop() -> None:
    plain, other = standard_shop(), renamed(standard_shop(), 7)
    assert len(plain.services) >= 7
    assert not plain.services.keys() & other.services.keys()
    names = {f"service:{old}": f"service:{other.service_for(old)}" for old in plain.services}
    edges = {
        (names.get(edge.source, edge.source), names.get(edge.target, edge.target)) for edge in plain.topology().edges
    }
    assert edges == {(edge.source, edge.target) for edge in other.topology().edges}
    assert all(edge.kind is EdgeKind.CALLS for edge in other.topology().edges)
    assert renamed(standard_shop(), 7) == other
