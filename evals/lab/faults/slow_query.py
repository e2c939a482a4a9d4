"""A migration that drops an index; a statement that was quick now reads the whole table."""

from evals.lab.faults import Injected
from evals.lab.stage import SHOP_DATABASE, Stage, now
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.hypothesis import FaultKind

ROLE = "shopdb"
DROP = "DROP INDEX basket_shopper"
OLD_BASKETS = 4_000_000


def arrange(stage: Stage, _name: str) -> None:
    """Baskets of earlier years."""
    stage.old_baskets = OLD_BASKETS


def inject(stage: Stage, _name: str) -> Injected:
    """Migrate."""
    change = Change(
        id="migration-0043",
        at=now(),
        kind=ChangeKind.MIGRATION,
        target=SHOP_DATABASE,
        title="Migration 0043: fewer indexes",
        detail=DROP,
    )
    stage.announce(change)
    stage.execute(DROP)
    return Injected(entity=SHOP_DATABASE, fault_kind=FaultKind.LATENCY, change_id=change.id)
