"""A session that updates the stock and never commits: whoever wants those rows waits until its time-out."""

import threading

import psycopg

from evals.lab.faults import Injected
from evals.lab.stage import SHOP_DATABASE, Stage
from workflows.contracts.hypothesis import FaultKind

ROLE = "shopdb"


def inject(stage: Stage, _name: str) -> Injected:
    """Hold a lock on every stock row."""

    def hold(ending: threading.Event) -> None:
        with psycopg.connect(stage.postgres.url(), application_name="stock-count") as connection:
            connection.execute("UPDATE stock SET amount = amount")
            ending.wait()

    stage.in_background(hold)
    return Injected(entity=SHOP_DATABASE, fault_kind=FaultKind.LOCK)
