"""Recorded histories replay; a change in the order of commands does not pass."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

import workflows.investigation
from workflows.evaluation import Evaluation
from workflows.investigation import Investigation
from workflows.upkeep import LibraryUpkeep

FOLDER = Path(__file__).parent
HISTORIES = sorted(path.stem for path in FOLDER.glob("*.json"))


def history(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json("inv-recorded", (FOLDER / f"{name}.json").read_text())


def workflow_id(recorded: WorkflowHistory) -> str:
    started = recorded.events[0].workflow_execution_started_event_attributes
    return started.workflow_id


async def replay(name: str, workflow: type) -> None:
    recorded = history(name)
    named = WorkflowHistory(workflow_id(recorded), recorded.events)
    replayer = Replayer(
        workflows=[workflow], data_converter=pydantic_data_converter, workflow_runner=UnsandboxedWorkflowRunner()
    )
    assert (await replayer.replay_workflow(named)).replay_failure is None


def changed(tmp_path: Path, old: str, new: str) -> ModuleType:
    """The workflow's module with one piece of its text replaced."""
    text = Path(str(workflows.investigation.__file__)).read_text()
    assert old in text
    path = tmp_path / "changed_investigation.py"
    path.write_text(text.replace(old, new))
    spec = importlib.util.spec_from_file_location("changed_investigation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_histories() -> None:
    assert len(HISTORIES) >= 3


@pytest.mark.parametrize("name", HISTORIES)
async def test_history_replays(name: str) -> None:
    others = {"evaluation": Evaluation, "upkeep": LibraryUpkeep}
    await replay(name, others.get(name.partition("_v")[0], Investigation))


async def test_a_changed_order_of_commands_fails(tmp_path: Path) -> None:
    module = changed(
        tmp_path,
        "step = steps.RANK\n",
        'step = steps.RANK\n                await self._step(steps.CONCLUDE, "first")\n',
    )
    with pytest.raises(NondeterminismError):
        await replay("normal_v2", module.Investigation)


def test_histories_name_no_machine() -> None:
    for name in HISTORIES:
        text = (FOLDER / f"{name}.json").read_text()
        assert "/home/" not in text
        assert str(Path.cwd()) not in text
