"""What an event of a managed database says, by the categories that its cloud gives it.

Amazon RDS: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html lists the categories
availability, backup, configuration change, creation, deletion, failover, failure, low storage, maintenance,
notification, read replica, recovery, restoration, security and security patching.
"""

from collections.abc import Iterable

FAULTS = frozenset(("availability", "failover", "failure", "low storage"))
"""Categories whose events say that the database is, or was, not there or about to fail."""


def states_fault(categories: Iterable[str]) -> bool:
    """Whether an event of these categories states a fault."""
    return not FAULTS.isdisjoint(categories)
