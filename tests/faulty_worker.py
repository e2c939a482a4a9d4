"""The tests' own worker entry: the product's workers, killed with SIGKILL at stated points, once each.

`python -m tests.faulty_worker DATA_DIR FOLDER [POINT ...]`; a point is `before:<step>`, `middle:<step>` or
`after:<step>`. Points that were reached leave a file in FOLDER, as do queries and commits (`queries`).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

import activities.telemetry.steps
from activities.memory.ledger import Ledger
from activities.telemetry.backend import TelemetryBackend
from activities.telemetry.observe import observe as real_observe
from infra.settings import Settings
from workers.installation import RECORDED, open_installation
from workers.worker import running_workers
from workflows.contracts.probe import Probe

QUERIES_BEFORE_MIDDLE = 7


class FaultPoints:
    """Kills this process the first time that a chosen point is reached."""

    def __init__(self, folder: Path, points: list[str]) -> None:
        self._folder, self._points = folder, points

    def reach(self, point: str) -> None:
        marker = self._folder / point.replace(":", "-")
        if point in self._points and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, points: FaultPoints) -> None:
        super().__init__(following)
        self._fault_points = points

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = str(getattr(input.fn, "__temporal_activity_definition").name)
        self._fault_points.reach(f"before:{name}")
        result = await super().execute_activity(input)
        self._fault_points.reach(f"after:{name}")
        return result


class _Killing(Interceptor):
    def __init__(self, points: FaultPoints) -> None:
        self._points = points

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Inbound(next, self._points)


def kill_in_the_middle(points: FaultPoints) -> None:
    """A step is in its middle when its work is done and nothing of it is stored yet."""
    store = Ledger.finish_step

    def finish_step(self: Ledger, key: str, *args: Any, **kwargs: Any) -> Any:
        points.reach(f"middle:{key.partition(':')[0]}")
        return store(self, key, *args, **kwargs)

    Ledger.finish_step = finish_step  # type: ignore[method-assign]


def write_down_queries(points: FaultPoints, log: Path) -> None:
    """Log every query before it is run and after its answer is committed; the collection dies among them."""
    original = real_observe
    queried: list[str] = []

    def observe(ledger: Ledger, backend: TelemetryBackend, probes: Sequence[Probe], *, in_round: int = 0) -> None:
        [probe] = probes
        with log.open("a") as handle:
            handle.write(f"query {probe.key}\n")
        queried.append(probe.key)
        original(ledger, backend, probes, in_round=in_round)
        with log.open("a") as handle:
            handle.write(f"committed {probe.key}\n")
        if len(queried) >= QUERIES_BEFORE_MIDDLE:
            points.reach("middle:querying")

    vars(activities.telemetry.steps)["observe"] = observe


async def main() -> None:
    """Run until killed."""
    data_dir, folder, *points = sys.argv[1:]
    fault_points = FaultPoints(Path(folder), points)
    kill_in_the_middle(fault_points)
    write_down_queries(fault_points, Path(folder) / "queries")
    with open_installation(Settings(data_dir=Path(data_dir))) as installation:
        client = await installation.client()
        async with running_workers(
            client,
            installation.store,
            backends={RECORDED: installation.recorded_backend},
            models=installation.models,
            threads=4,
            interceptors=[_Killing(fault_points)],
        ):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
