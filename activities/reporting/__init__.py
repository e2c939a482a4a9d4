"""What is written once from the ranking: the verdict, the causal chain, the timeline, the report's body. No ranking."""

from activities.reporting.body import conclude, describe, without_conclusion
from activities.reporting.next_steps import what_was_found

__all__ = ["conclude", "describe", "what_was_found", "without_conclusion"]
