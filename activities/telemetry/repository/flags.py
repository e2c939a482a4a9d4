"""What changed in a file of feature flags, as flagd reads them (https://flagd.dev/reference/flag-definitions/)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

LARGEST_FILE = 500_000
MOST_FLAGS = 200
_ENDINGS = (".json", ".yaml", ".yml")


def may_hold_flags(path: str, patch: str) -> bool:
    """Whether a changed file may be one of feature flags, so that both its versions are worth reading."""
    return path.lower().endswith(_ENDINGS) and (
        "flag" in path.lower() or any(word in patch for word in ("defaultVariant", "variants", "ENABLED", "DISABLED"))
    )


def flag_changes(before: str | None, after: str | None) -> Iterator[tuple[str, str]]:
    """(flag, what became of it) for each flag that differs between two versions of a file."""
    old, new = _flags(before), _flags(after)
    if old is None and new is None:
        return
    names = sorted((old or {}).keys() | (new or {}).keys())
    for name in names[:MOST_FLAGS]:
        was, is_now = (old or {}).get(name), (new or {}).get(name)
        if was == is_now:
            continue
        if was is None:
            yield name, f"flag {name} was added, {_standing(is_now)}"
        elif is_now is None:
            yield name, f"flag {name} was removed, it was {_standing(was)}"
        else:
            yield name, f"flag {name}: {'; '.join(_differences(was, is_now))}"


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
    except (ValueError, yaml.YAMLError, RecursionError):
        return None
    found = document.get("flags") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    return {
        str(name)[:200]: flag
        for name, flag in found.items()
        if isinstance(flag, dict) and ("variants" in flag or "defaultVariant" in flag)
    }


def _yaml(text: str) -> object:
    """The document in a YAML text; one with aliases is not read, since a few of them can stand for any amount."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        return None
    return yaml.safe_load(text)
