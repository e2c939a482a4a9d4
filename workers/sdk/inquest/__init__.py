"""Start investigations from Python: from an alert to a checked root-cause report.

    async with Inquest.connect() as inquest:
        investigation = await inquest.start(alert, bundle="path/to/bundle")
        report = await investigation.report()

Everything else of the project is an application's own; this package is what other code imports.
"""

import inquest._path
from inquest.alertmanager import PayloadError, alerts_from_alertmanager
from inquest.client import (
    Inquest,
    Investigation,
    InvestigationEndedError,
    InvestigationNotFoundError,
    OutsideRecordingError,
    TooLateError,
)
from workflows.contracts.alert import Alert, AlertStatus, Severity
from workflows.contracts.investigation import Budget, Phase, Progress
from workflows.contracts.report import Report

__all__ = [
    "Alert",
    "AlertStatus",
    "Budget",
    "Inquest",
    "Investigation",
    "InvestigationEndedError",
    "InvestigationNotFoundError",
    "OutsideRecordingError",
    "PayloadError",
    "Phase",
    "Progress",
    "Report",
    "Severity",
    "TooLateError",
    "alerts_from_alertmanager",
]
