"""How files of traces are configured as a source."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from activities.telemetry.environment import SourceConfig


class OtlpConfig(SourceConfig):
    """Files of OTLP/JSON, a document a line, as the `file` exporter of the OpenTelemetry Collector writes them."""

    backend: Literal["otlp"]
    folder: Path
    """Where they are, on the machine of the worker that serves this source's queue."""

    pattern: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\x00-\x1f]+$")] = "*.json*"
    """Which files of the folder, as in `traces-*.jsonl`; those that end in `.gz` or `.zst` are unpacked."""

    most_spans: Annotated[int, Field(ge=1_000, le=2_000_000)] = 300_000
    """Spans of the last hour that are read; the latest files come first."""

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("write the whole path of the folder, beginning with /")
        return value
