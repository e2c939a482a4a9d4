"""What kind of source files of traces are."""

from activities.telemetry.otlp.backend import OtlpBackend, check
from activities.telemetry.otlp.config import OtlpConfig
from activities.telemetry.registry import BackendKind

KIND = BackendKind(
    name="otlp",
    title="traces in OTLP/JSON files of an OpenTelemetry Collector",
    modalities=frozenset(("traces",)),
    config=OtlpConfig,
    open=OtlpBackend,
    check=check,
    permissions=("read the files of the folder",),
)
