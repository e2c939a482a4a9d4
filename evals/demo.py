"""`inquest demo`: a live system on this machine, a fault of one's choice, the alert, the report."""

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workers.commands import write_report
from workers.invocation import ERR, OUT, handle_known_errors, read_settings
from workers.rendering.terminal import print_report

NEEDED = {
    "opentelemetry": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
    "psycopg_pool": "psycopg-pool",
    "trustme": "trustme",
}
"""Packages that the shop's services run on, by the module each installs."""

QUIET_S = 75


@handle_known_errors
def demo(
    *,
    fault: Annotated[str | None, typer.Option(help="What goes wrong; --list names the choices.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the faults and end.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Other names for the services.")] = 0,
) -> None:
    """Bring up a live system, do something bad to it, and watch the alert arrive and the report appear."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        ERR.print(
            Text(f"error: the demo's shop needs {', '.join(missing)}: run make demo, or install them", style="red")
        )
        raise typer.Exit(1)
    from evals.lab.faults import catalogue  # noqa: PLC0415 - what it needs may not be installed

    if list_:
        for name in catalogue():
            OUT.print(name)
        return
    name = fault or "bad_deploy"
    if name not in catalogue():
        raise typer.BadParameter(f"{name} is none of {', '.join(catalogue())}")
    _play(name, seed)


def _play(name: str, seed: int) -> None:
    from evals.lab.faults import catalogue  # noqa: PLC0415
    from evals.lab.live import NothingHappenedError, investigated, live_system, play  # noqa: PLC0415
    from evals.lab.machine import ImpossibleHereError  # noqa: PLC0415
    from evals.lab.shop import grown_shop, renamed  # noqa: PLC0415
    from evals.lab.stage import Stage  # noqa: PLC0415

    shop = grown_shop(0, seed)
    stage, fault = Stage(renamed(shop, seed) if seed else shop, seed=seed), catalogue()[name]
    service = stage.shop.service_for(fault.role)
    fault.arrange(stage, service)
    with tempfile.TemporaryDirectory(prefix="inquest-demo-") as folder:
        try:
            with live_system(stage, Path(folder)) as system:
                _say_where(system.monitoring.found(), system.monitoring.missing, system.gateway)
                _wait(QUIET_S, "the shop is open, and its monitoring learns what is usual")
                _, began = play(fault, service, system)
                OUT.print(Text(f"{name} is done to {service}; now Prometheus has to notice", style="yellow"))
                _, report = investigated(system, began)
                alert, took = report.run.started_at - began, report.run.finished_at - report.run.started_at
                said = (
                    f"the alert came after {alert.total_seconds():.0f} s, the report {took.total_seconds():.0f} s later"
                )
                OUT.print(Text(said, style="green"))
        except (NothingHappenedError, ImpossibleHereError) as error:
            ERR.print(Text(f"error: {error}", style="red"))
            raise typer.Exit(1) from error
    page = write_report(report, read_settings().data_dir / "reports")
    print_report(OUT, report, full=True)
    if page is not None:
        OUT.print(Text(f"the demo's installation is gone; the report stays: {page}", style="dim"))


def _say_where(found: dict[str, str], missing: list[str], gateway: str) -> None:
    for server, url in found.items():
        OUT.print(Text.assemble((f"{server:<13}", "bold"), url))
    OUT.print(Text.assemble((f"{'gateway':<13}", "bold"), gateway))
    for server in missing:
        OUT.print(Text(f"{server} is not on this machine: it goes on without", style="yellow"))


def _wait(seconds: int, why: str) -> None:
    OUT.print(Text(f"{why}: {seconds} s", style="dim"))
    time.sleep(seconds)
