"""Every setting, in one typed model, read once: environment first, then the file, then the default."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import AfterValidator, Field, PositiveInt, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from infra.ports import HIGHEST_PORT

MOST_BY_DEFAULT = 4
"""Worker processes, however many cores there are: each takes some 300 MB."""

_ADDRESS = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or not 0 < int(found[1]) <= HIGHEST_PORT:
        raise ValueError("write host:port, as in temporal.internal:7233")
    return text.strip()


def settings_file() -> Path:
    """Where the settings file is looked for."""
    return platformdirs.user_config_path("inquest") / "settings.toml"


class Settings(BaseSettings):
    """Settings of every process. Environment variables are the upper-case name after `INQUEST_`."""

    model_config = SettingsConfigDict(
        env_prefix="INQUEST_", extra="forbid", frozen=True, use_attribute_docstrings=True, env_ignore_empty=True
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("inquest"))
    """Folder of the embedded servers' data; each folder is one independent installation."""

    keys_dir: Path | None = None
    """Folder of the installation's keys: processes that share a database need the same. Not set: in the data folder."""

    environments_dir: Path = Field(default_factory=lambda: platformdirs.user_config_path("inquest") / "environments")
    """Folder of the environment files: `<name>.yaml` describes one running system and its sources."""

    ip_addresses: Literal["keep", "private", "pseudonymise"] = "private"
    """IP addresses in telemetry: kept, kept if private (the others become pseudonyms), or all pseudonyms."""

    models_file: Path = Field(default_factory=lambda: platformdirs.user_config_path("inquest") / "models.yaml")
    """Which language models there are and what each may see. Without the file no model is asked."""

    temporal_address: Annotated[str, AfterValidator(_address)] | None = None
    """host:port of a Temporal cluster. Not set: the embedded server."""

    embeddings_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    """OpenAI-compatible endpoint of an embedding model, up to `/v1`. Not set: the embedded models alone."""

    embeddings_model: str = ""
    """The model's name there."""

    embeddings_build: str = ""
    """Of its weights; change it when they change, so that vectors of two builds are never compared."""

    embeddings_key: SecretStr | None = None
    """Sent to it as a bearer token."""

    knowledge_refresh: Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=366))] = timedelta(hours=1)
    """How often running workers read documents again and compute missing vectors: an hour is PT1H; PT0S is never."""

    database_url: SecretStr | None = None
    """libpq address of a Postgres with pgvector. Not set: the embedded server."""

    temporal_namespace: str = "inquest"
    """Temporal namespace; the embedded server creates it, on a cluster it must exist."""

    retention: timedelta = timedelta(days=30)
    """How long the embedded Temporal keeps closed workflows."""

    temporal_tls: bool = False
    """Speak TLS with the Temporal cluster; any of the next settings, and an API key, turn it on."""

    temporal_tls_ca: Path | None = None
    """PEM file of the authorities that may sign the cluster's certificate. Not set: the system's."""

    temporal_tls_cert: Path | None = None
    """PEM file of this process's own certificate, for a cluster that wants one (mTLS)."""

    temporal_tls_key: Path | None = None
    """PEM file of that certificate's key; only its owner should read it."""

    temporal_tls_server_name: str | None = None
    """The name in the cluster's certificate, where it is not the address's."""

    temporal_api_key: SecretStr | None = None
    """API key of the Temporal cluster."""

    temporal_encryption: Literal["contents", "everything", "off"] = "contents"
    """What Temporal stores encrypted: arguments and results; also summaries, details and failures; or nothing."""

    temporal_ui_port: Annotated[int, Field(ge=0, le=HIGHEST_PORT)] | None = None
    """Port of the embedded server's web page, which asks for no password; 0 picks a free one. Not set: no page."""

    gateway_address: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8230"
    """host:port on which `inquest serve` takes alerts and changes; beyond this machine only with a credential."""

    gateway_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Bearer token that senders of alerts and changes must have; at least 16 characters."""

    gateway_client_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Bearer token with which the SDK's client starts investigations, speaks to them and reads their reports."""

    gateway_hmac_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Key with which senders sign the body instead (HMAC-SHA256 in `X-Hub-Signature-256`); at least 16 characters."""

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = "default"
    """Whose data this process reads and writes."""

    quiet_time: timedelta = timedelta(minutes=10)
    """A re-fire sooner than this after an investigation closed only counts; later it opens a new, linked one."""

    budget_probes: PositiveInt = 5_000
    """Queries one investigation may run."""

    budget_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Seconds one investigation may spend in telemetry steps."""

    budget_tokens: Annotated[int, Field(ge=0)] = 20_000
    """Tokens that one investigation may spend at a language model, questions and answers together."""

    budget_rounds: Annotated[int, Field(ge=0, le=20)] = 3
    """Further looks after the first, each at what tells the leading suspects apart; 0 queries everything at once."""

    worker_threads: PositiveInt = 8
    """Activities that each queue of one worker process runs at once."""

    worker_processes: PositiveInt = Field(default_factory=lambda: min(os.cpu_count() or 1, MOST_BY_DEFAULT))
    """Processes in which `inquest up` and `inquest worker` collect and analyse; 1: in the command's own."""

    investigations_at_once: PositiveInt = 1
    """Investigations that one such process collects for, and analyses, at once; the others wait their turn."""

    worker_build: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Build id of this process's workers in the deployment `inquest` of a cluster. Not set: unversioned."""

    analysis_threads: PositiveInt = 2
    """Threads of one query to a recorded bundle."""

    memory_limit_mb: PositiveInt = 1_536
    """Memory that reading recorded bundles may take in all processes of a command together, in megabytes."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """Least severe log line that is written to standard error."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.temporal_tls_cert is None) != (self.temporal_tls_key is None):
            raise ValueError("temporal_tls_cert and temporal_tls_key belong together: set both or none")
        if bool(self.embeddings_url) != bool(self.embeddings_model):
            raise ValueError("embeddings_url and embeddings_model belong together: set both or none")
        if self.temporal_address is None and self.uses_tls:
            raise ValueError("TLS and API keys are for a cluster: set temporal_address")
        if self.temporal_address is None and self.worker_build is not None:
            raise ValueError("worker_build is for a cluster: the embedded server's workers are unversioned")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the Temporal cluster is spoken to over TLS."""
        files = (self.temporal_tls_ca, self.temporal_tls_cert, self.temporal_tls_server_name, self.temporal_api_key)
        return self.temporal_tls or any(item is not None for item in files)

    def environment(self) -> dict[str, str]:
        """The variables with which another process reads these settings. It holds the secrets among them."""
        given = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                given[f"INQUEST_{name.upper()}"] = value.get_secret_value()
            elif isinstance(value, timedelta):
                given[f"INQUEST_{name.upper()}"] = f"PT{value.total_seconds():.6f}S"
            elif value is not None:
                given[f"INQUEST_{name.upper()}"] = str(value)
        return given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values, then the environment, then the file."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=settings_file()),
        )
