"""What changed in a file of feature flags, as flagd reads them (https://flagd.dev/reference/flag-definitions/)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

LARGEST_FILE = 200_000
MOST_FLAGS, LONGEST_NAME = 200, 120
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError)
_ENDINGS = (".json", ".yaml", ".yml")


def may_hold_flags(path: str, patch: str) -> bool:
    """Whether a changed file may be one of feature flags, so that both its versions are worth reading."""
    return path.lower().endswith(_ENDINGS) and ("flag" in path.lower() or "defaultVariant" in patch)


def flag_changes(before: str | None, after: str | None) -> Iterator[tuple[str, str]]:
    """(flag, what became of it) for each flag that differs between two versions of a file."""
    old, new = _flags(before), _flags(after)
    if old is None and new is None:
        return
    names = sorted((old or {}).keys() | (new or {}).keys())
    for name in names[:MOST_FLAGS]:
        try:
            sentence = _became(name, (old or {}).get(name), (new or {}).get(name))
        except _UNREADABLE:
            continue  # nested too deeply, or a number of thousands of digits
        if sentence:
            yield name, sentence


def _became(name: str, was: Mapping[str, Any] | None, is_now: Mapping[str, Any] | None) -> str:
    if was == is_now:
        return ""
    if was is None:
        return f"flag {name} was added, {_standing(is_now)}"
    if is_now is None:
        return f"flag {name} was removed, it was {_standing(was)}"
    return f"flag {name}: {'; '.join(_differences(was, is_now))}"


def _differences(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> Iterator[str]:
    for key, title in (("state", "state"), ("defaultVariant", "default variant")):
        if was.get(key) != is_now.get(key):
            yield f"{title} {_short(was.get(key))} to {_short(is_now.get(key))}"
    for key in ("variants", "targeting", "metadata"):
        if was.get(key) != is_now.get(key):
            yield f"{key} changed"


def _standing(flag: Mapping[str, Any] | None) -> str:
    found = flag or {}
    return f"{_short(found.get('state'))} with default variant {_short(found.get('defaultVariant'))}"


def _short(value: object) -> str:
    return "none" if value is None else str(value)[:60]


def _flags(text: str | None) -> dict[str, Mapping[str, Any]] | None:
    """The flags of a document; None when it is none of flags."""
    if text is None or len(text) > LARGEST_FILE:
        return None
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except (*_UNREADABLE, yaml.YAMLError):
        return None
    found = document.get("flags") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    return {
        str(name)[:LONGEST_NAME]: flag
        for name, flag in found.items()
        if isinstance(flag, dict) and ("variants" in flag or "defaultVariant" in flag)
    }


def _yaml(text: str) -> object:
    """The document in a YAML text, every value a text: nothing is made of tags.

    One with aliases is not read, since a few of them can stand for any amount.
    """
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
        return None
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - it makes texts, lists and maps
