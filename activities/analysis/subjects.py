"""What a fact is about: one entity, or every one whose name fits a pattern."""

from fnmatch import fnmatchcase

from workflows.contracts.identifiers import EntityId

ANY = "*"


def is_pattern(subject: str) -> bool:
    """Whether a subject stands for several entities."""
    return ANY in subject


def fits(subject: str, name: EntityId) -> bool:
    """Whether a subject is this entity, or stands for it: `*` is any characters, every other one is itself."""
    if not is_pattern(subject):
        return name == subject
    return fnmatchcase(name, subject.replace("[", "[[]").replace("?", "[?]"))
