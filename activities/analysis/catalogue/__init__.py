"""What a metric means and what an error text says, from documented sources kept as data beside this code."""

from activities.analysis.catalogue.meaning import Bad, Meaning, Resource, Signal, meaning_of
from activities.analysis.catalogue.messages import kind_of_text, own_kind_of_text

__all__ = ["Bad", "Meaning", "Resource", "Signal", "kind_of_text", "meaning_of", "own_kind_of_text"]
