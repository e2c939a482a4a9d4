"""Each request is counted once, however often and however rarely somebody looks."""

from datetime import datetime, timedelta

from activities.memory.model_service import ModelRequest
from workers.model_metrics import LATE, ModelMetrics


class Requests:
    """A record of requests by when they were made."""

    def __init__(self) -> None:
        self.made: list[tuple[datetime, ModelRequest]] = []

    def add(self, at: datetime, **fields: object) -> None:
        values = {
            "endpoint": "own",
            "model": 'a"b\\c',
            "outcome": "answered",
            "seconds": 1.5,
            "first_token_seconds": 0.0,
            "prompt_tokens": 100,
            "completion_tokens": 10,
            **fields,
        }
        self.made.append((at, ModelRequest(request_id=str(len(self.made)), **values)))  # type: ignore[arg-type]

    def requests(self, *, since: datetime) -> list[ModelRequest]:
        return [item for at, item in self.made if at >= since]


def test_every_request_is_counted_once() -> None:
    record = Requests()
    metrics = ModelMetrics(record)  # type: ignore[arg-type]
    assert metrics.lines() == []
    begun = metrics._since
    record.add(begun)
    record.add(begun, outcome="unreachable", seconds=0.0, prompt_tokens=0, completion_tokens=0)
    lines = metrics.lines()
    who = r'endpoint="own",model="a\"b\\c"'
    assert f'inquest_model_requests_total{{{who},outcome="answered"}} 1' in lines
    assert f'inquest_model_requests_total{{{who},outcome="unreachable"}} 1' in lines
    assert f'inquest_model_seconds_bucket{{{who},le="1"}} 0' in lines
    assert f'inquest_model_seconds_bucket{{{who},le="2"}} 1' in lines
    assert f"inquest_model_seconds_sum{{{who}}} 1.5" in lines
    assert not any(line.startswith("inquest_model_first_token_seconds") for line in lines)
    assert metrics.lines() == lines
    record.add(begun)
    assert f'inquest_model_requests_total{{{who},outcome="answered"}} 2' in metrics.lines(), (
        "one that became visible late"
    )


def test_nothing_is_lost_when_nobody_looked_for_hours() -> None:
    record = Requests()
    metrics = ModelMetrics(record)  # type: ignore[arg-type]
    metrics.lines()
    metrics._since = metrics._looked = metrics._looked - timedelta(hours=3)
    record.add(metrics._looked + LATE)
    record.add(metrics._looked + timedelta(hours=2))
    who = r'endpoint="own",model="a\"b\\c"'
    assert f'inquest_model_requests_total{{{who},outcome="answered"}} 2' in metrics.lines()
