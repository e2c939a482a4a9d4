"""A day of metrics of many services in a real Prometheus: what one investigation moves, in queries and bytes."""

import math
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from activities.telemetry.backend import run_probe, run_probes
from activities.telemetry.entities import Resolver
from activities.telemetry.plan import METRIC_LOOKBACK, inventory_probe
from activities.telemetry.prometheus import KIND
from activities.telemetry.registry import Opening
from evals.lab.executables import server
from evals.lab.servers import prometheus
from workflows.contracts.probe import MetricProbe, Probe, Window

SERVICES, EVERY_S = (100, 1_000), {100: 60, 1_000: 300}
"""Services, and how far apart their samples are: a finer history of a thousand takes an hour to write."""

OPERATIONS, CODES = ("read", "write", "list"), ("200", "404", "500")
BOUNDS = ("0.01", "0.1", "0.5", "1", "+Inf")
GAUGES = ("process_resident_memory_bytes", "process_open_fds", "http_requests_in_flight", "db_pool_waiting")


def families() -> Iterator[tuple[str, str, list[str]]]:
    """(name, type, label sets) of what a usual service exposes: some 40 series."""
    requests = [f'operation="{operation}",code="{code}"' for operation in OPERATIONS for code in CODES]
    yield "http_requests", "counter", requests
    buckets = [f'operation="{operation}",le="{bound}"' for operation in OPERATIONS for bound in BOUNDS]
    yield "http_request_duration_seconds", "histogram", buckets
    yield "process_cpu_seconds", "counter", [""]
    yield from ((name, "gauge", [""]) for name in GAUGES)
    yield "up", "gauge", [""]


def written(path: Path, services: int, end: datetime) -> int:
    """Write the history as OpenMetrics text; returns how many samples it has."""
    moments = [
        int(end.timestamp()) - offset for offset in range(int(METRIC_LOOKBACK.total_seconds()), -1, -EVERY_S[services])
    ]
    count = 0
    with path.open("w") as file:
        for name, kind, label_sets in families():
            file.write(f"# TYPE {name} {kind}\n")
            suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}[kind]
            for number in range(services):
                for place, labels in enumerate(label_sets):
                    about = f'job="shop",app="service-{number}",instance="10.0.{number // 250}.{number % 250}:80"'
                    series = f"{name}{suffix}{{{about}{',' + labels if labels else ''}}}"
                    rate = 1 + (number * 7 + place * 3) % 13
                    for moment in moments:
                        daily = 1 + 0.3 * math.sin(moment / 13_751)
                        value = moment % 1_000_000 * rate if kind != "gauge" else rate * daily
                        file.write(f"{series} {1 if name == 'up' else round(value, 3)} {moment}\n")
                    count += len(moments)
        file.write("# EOF\n")
    return count


def measured(url: str, end: datetime) -> dict[str, float]:
    """What names and metrics of everything cost."""
    config = KIND.config.model_validate({"name": "s", "backend": "prometheus", "url": url})
    began = time.monotonic()
    first = KIND.open(Opening(config=config, resolver=lambda: Resolver({})))
    rows = run_probe(first, inventory_probe("s", end)).rows
    first.close()
    assert rows is not None
    resolver = Resolver({"s": rows})
    second = KIND.open(Opening(config=config, resolver=lambda: resolver))
    window = Window(start=end - METRIC_LOOKBACK, end=end)
    probes: list[Probe] = [
        MetricProbe(backend="s", window=window, entity=entity) for entity in sorted(resolver.known_by())
    ]
    answers = [answer for _, answer in run_probes(second, probes)]
    second.close()
    both = (first.spent, second.spent)
    return {
        "services": float(len(answers)),
        "queries": float(sum(item.queries for item in both)),
        "MB": sum(item.bytes_received for item in both) / 1e6,
        "samples, million": sum(0 if item.rows is None else item.rows.height for item in answers) / 1e6,
        "with a note": float(sum(bool(item.detail) for item in answers)),
        "s": time.monotonic() - began,
    }


def bench_history() -> None:
    """One investigation's metrics, of a day of 100 and of 1,000 services."""
    tool = server("promtool")
    if tool is None or server("prometheus") is None:
        Console().print("no prometheus and promtool on this machine: python -m tests.live.build_servers prometheus")
        return
    table = Table("services", "queries", "MB", "samples, million", "with a note", "s", title="a day of metrics")
    for services in SERVICES:
        with tempfile.TemporaryDirectory(prefix="inquest-bench-") as name:
            folder, end = Path(name), datetime.now(UTC) - timedelta(minutes=1)
            written(folder / "history.txt", services, end)
            command = [str(tool), "tsdb", "create-blocks-from", "openmetrics", "history.txt", "prometheus"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603
            (folder / "history.txt").unlink()
            with prometheus(folder, yaml.safe_dump({"scrape_configs": []})) as running:
                found = measured(running.url, end)
        table.add_row(*(f"{found[key]:,.2f}".rstrip("0").rstrip(".") for key in found))
    Console().print(table)
