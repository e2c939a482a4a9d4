"""A migration that waits for an idle transaction, and keeps everybody else waiting behind it."""

import threading
from contextlib import suppress

import psycopg

from evals.lab.faults import Injected
from evals.lab.stage import SHOP_DATABASE, Stage, now
from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.hypothesis import FaultKind

ROLE = "shopdb"
ALTER = "ALTER TABLE basket ADD COLUMN note text"


def inject(stage: Stage, _name: str) -> Injected:
    """Leave a transaction open, then alter the table it has read."""
    change = Change(
        id="migration-0042",
        at=now(),
        kind=ChangeKind.MIGRATION,
        target=SHOP_DATABASE,
        title="Migration 0042: a note in the basket",
        detail=ALTER,
    )

    def read(ending: threading.Event) -> None:
        with psycopg.connect(stage.postgres.url(), application_name="report") as connection:
            connection.execute("SELECT count(*) FROM basket WHERE shopper = 1")
            ending.wait()

    def migrate(ending: threading.Event) -> None:
        ending.wait(1.0)
        with (
            psycopg.connect(stage.postgres.url(), application_name="migration", autocommit=True) as connection,
            suppress(psycopg.Error),
        ):
            connection.execute(ALTER.encode())

    stage.in_background(read)
    stage.in_background(migrate)
    stage.announce(change)
    return Injected(entity=SHOP_DATABASE, fault_kind=FaultKind.LOCK, change_id=change.id)
