"""What is written once from the ranking: the verdict, the causal chain, the timeline, the report's body. No ranking."""

from activities.reporting.body import describe, without_conclusion

__all__ = ["describe", "without_conclusion"]
