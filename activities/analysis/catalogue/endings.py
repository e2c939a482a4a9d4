"""Which documented events end which problems: pairs do not carry the same name (`endings.toml`)."""

import tomllib
from functools import cache
from importlib.resources import files


@cache
def endings_of(reason: str) -> frozenset[str]:
    """The reasons of events that say that a problem with this reason is over."""
    return _endings().get(reason, frozenset())


@cache
def _endings() -> dict[str, frozenset[str]]:
    document = tomllib.loads(files(__package__).joinpath("endings.toml").read_text())
    found: dict[str, set[str]] = {}
    for ending, problems in document["endings"].items():
        for problem in problems:
            found.setdefault(problem, set()).add(ending)
    return {problem: frozenset(endings) for problem, endings in found.items()}
