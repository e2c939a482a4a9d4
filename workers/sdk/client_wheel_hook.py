"""Makes the client's wheel out of the tree: `inquest` with the contracts inside it, and nothing of the application."""

import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SDK = ("exceptions.py", "alertmanager.py", "remote.py", "py.typed")
MOVED = {"workflows.contracts": "inquest.contracts", "activities.safety.egress": "inquest.egress"}
"""What is called otherwise in the wheel: other projects have packages `workflows` and `activities` too."""

INIT = '''"""Start investigations of an Inquest installation from Python, over HTTP.

    async with RemoteInquest("https://inquest.internal:8230", token=token) as inquest:
        investigation = await inquest.start(alert, environment="prod")
        report = await investigation.report()
"""

from inquest.alertmanager import alerts_from_alertmanager
from inquest.contracts.alert import Alert, AlertStatus, Severity
from inquest.contracts.fact import FactCondition, FactEffect, KnownFact
from inquest.contracts.hypothesis import FaultKind
from inquest.contracts.investigation import Phase, Progress
from inquest.contracts.report import Report
from inquest.exceptions import (
    FactNotFoundError,
    InquestError,
    InvestigationEndedError,
    InvestigationNotFoundError,
    PayloadError,
    RejectedError,
    TooLateError,
    TooManyHintsError,
    UnavailableError,
)
from inquest.remote import RemoteInquest, RemoteInvestigation

__all__ = [
    "Alert",
    "AlertStatus",
    "FactCondition",
    "FactEffect",
    "FactNotFoundError",
    "FaultKind",
    "InquestError",
    "InvestigationEndedError",
    "InvestigationNotFoundError",
    "KnownFact",
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
'''


class ClientWheelHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before the wheel is built."""

    def initialize(self, version: str, build_data: dict[str, dict[str, str]]) -> None:
        """Put the files together in a folder that is gone afterwards."""
        if version != "standard":
            raise RuntimeError("the client is not installed editable: its tree is the application's")
        here = Path(self.root)
        project = here.parents[1]
        self._folder = tempfile.TemporaryDirectory(prefix="inquest-client-")
        made = Path(self._folder.name)
        sources = {
            **{name: here / "inquest" / name for name in SDK},
            "egress.py": project / "activities" / "safety" / "egress.py",
            **{f"contracts/{path.name}": path for path in (project / "workflows" / "contracts").glob("*.py")},
        }
        for name, source in sources.items():
            text = source.read_text()
            for before, after in MOVED.items():
                text = text.replace(before, after)
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(text)
        (made / "__init__.py").write_text(INIT)
        for path in made.rglob("*"):
            if path.is_file():
                build_data["force_include"][str(path)] = f"inquest/{path.relative_to(made)}"

    def finalize(self, *_: object) -> None:
        """Remove the folder."""
        self._folder.cleanup()
