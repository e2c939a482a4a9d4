"""What an error text is about, from the words that programs, systems and libraries use for it everywhere."""

import re

from workflows.contracts.hypothesis import FaultKind

_WORDS: tuple[tuple[FaultKind, re.Pattern[str]], ...] = (
    (
        FaultKind.DISK,
        re.compile(
            r"no space left|disk (is )?full|enospc|(out of|insufficient|low on) (disk|storage)"
            r"|storage is (getting )?low|quota exceeded on device",
            re.I,
        ),
    ),
    (
        FaultKind.EXPIRY,
        re.compile(r"(certificate|token|licen[cs]e|lease).{0,40}expired|expired.{0,20}certificate", re.I),
    ),
    (FaultKind.MEMORY, re.compile(r"out of memory|outofmemory|oomkill|cannot allocate memory|memoryerror", re.I)),
    (
        FaultKind.LOCK,
        re.compile(r"deadlock|lock (wait )?timeout|could not obtain lock|canceling statement due to lock", re.I),
    ),
    (
        FaultKind.SATURATION,
        re.compile(
            r"pool ?timeout|too many (connections|clients|open files)|couldn'?t get a connection|pool (is )?exhausted"
            r"|queue (is )?full|resource exhausted|remaining connection slots",
            re.I,
        ),
    ),
    (
        FaultKind.CONFIGURATION,
        re.compile(
            r"enotfound|name or service not known|no such host|unable to resolve|missing (required )?(setting|config)"
            r"|invalid configuration|not a number|manifest unknown|(pull|find) (the )?image|imagepull",
            re.I,
        ),
    ),
    (FaultKind.CRASH, re.compile(r"fail-?over|health check fail|core dumped|segmentation fault", re.I)),
)


def kind_of_text(text: str) -> FaultKind | None:
    """The kind of fault that a text names; None when it names none."""
    return next((kind for kind, pattern in _WORDS if pattern.search(text)), None)
