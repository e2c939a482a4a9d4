"""Start investigations from Python: from an alert to a checked root-cause report.

    async with Inquest.connect() as inquest:
        investigation = await inquest.start(alert, bundle="path/to/bundle")
        report = await investigation.report()

Everything else of the project is an application's own; this package is what other code imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING

import inquest._path

if TYPE_CHECKING:
    from inquest.alertmanager import alerts_from_alertmanager
    from inquest.client import Inquest, Investigation
    from inquest.exceptions import (
        FactNotFoundError,
        InquestError,
        InvestigationEndedError,
        InvestigationNotFoundError,
        OutsideRecordingError,
        PayloadError,
        RejectedError,
        TooLateError,
        TooManyHintsError,
        UnavailableError,
    )
    from inquest.remote import RemoteInquest, RemoteInvestigation
    from workflows.contracts.alert import Alert, AlertStatus, Severity
    from workflows.contracts.fact import FactCondition, FactEffect, KnownFact
    from workflows.contracts.hypothesis import FaultKind
    from workflows.contracts.investigation import Budget, Phase, Progress
    from workflows.contracts.report import Report

_PLACES = {
    "inquest.alertmanager": ("alerts_from_alertmanager",),
    "inquest.client": ("Inquest", "Investigation"),
    "inquest.exceptions": (
        "FactNotFoundError",
        "InquestError",
        "InvestigationEndedError",
        "InvestigationNotFoundError",
        "OutsideRecordingError",
        "PayloadError",
        "RejectedError",
        "TooLateError",
        "TooManyHintsError",
        "UnavailableError",
    ),
    "inquest.remote": ("RemoteInquest", "RemoteInvestigation"),
    "workflows.contracts.alert": ("Alert", "AlertStatus", "Severity"),
    "workflows.contracts.fact": ("FactCondition", "FactEffect", "KnownFact"),
    "workflows.contracts.hypothesis": ("FaultKind",),
    "workflows.contracts.investigation": ("Budget", "Phase", "Progress"),
    "workflows.contracts.report": ("Report",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a name's module when it is first used: the command has to be quick."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


__all__ = [
    "Alert",
    "AlertStatus",
    "Budget",
    "FactCondition",
    "FactEffect",
    "FactNotFoundError",
    "FaultKind",
    "Inquest",
    "InquestError",
    "Investigation",
    "InvestigationEndedError",
    "InvestigationNotFoundError",
    "KnownFact",
    "OutsideRecordingError",
    "PayloadError",
    "Phase",
    "Progress",
    "RejectedError",
    "RemoteInquest",
    "RemoteInvestigation",
    "Report",
    "Severity",
    "TooLateError",
    "TooManyHintsError",
    "UnavailableError",
    "alerts_from_alertmanager",
]
