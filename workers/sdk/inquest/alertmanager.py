"""Alertmanager's webhook payload (version 4) as alerts."""

import json
from collections.abc import Mapping

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from inquest.exceptions import PayloadError
from workflows.contracts.alert import Alert, AlertStatus, Severity
from workflows.contracts.identifiers import EntityId

SIZE_LIMIT = 1024 * 1024
ALERT_LIMIT = 1_000


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: str
    labels: dict[str, str] = Field(max_length=128)
    annotations: dict[str, str] = Field(default_factory=dict, max_length=128)
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(min_length=1, max_length=512)


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore")
    group_key: str = Field(alias="groupKey", min_length=1, max_length=4096)
    alerts: list[_Alert] = Field(min_length=1, max_length=ALERT_LIMIT)


def alerts_from_alertmanager(payload: bytes | str | Mapping[str, object]) -> list[Alert]:
    """The alerts in one webhook call, in its order.

    Args:
        payload: the request's body, or the same already parsed.

    Raises:
        PayloadError: it is too large, not JSON, or not Alertmanager's version 4.
    """
    if isinstance(payload, bytes | str):
        if len(payload) > SIZE_LIMIT:
            raise PayloadError(
                f"the payload has {len(payload):,} bytes, at most {SIZE_LIMIT:,} are read: "
                "set max_alerts in Alertmanager"
            )
        try:
            payload = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise PayloadError(f"the payload is not JSON ({error}): send Alertmanager's body unchanged") from error
    try:
        parsed = _Payload.model_validate(payload)
        return [_alert(item, parsed.group_key) for item in parsed.alerts]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PayloadError(f"{where}: {first['msg']}: expected Alertmanager's webhook version 4") from error


def _alert(item: _Alert, group_key: str) -> Alert:
    labels = {key: value[:4096] for key, value in item.labels.items()}
    service = labels.get("service") or labels.get("job")
    title = item.annotations.get("summary") or labels.get("alertname") or "alert"
    return Alert(
        source="alertmanager",
        fingerprint=item.fingerprint,
        title=title[:1024],
        starts_at=item.starts_at,
        status=AlertStatus(item.status),
        severity=Severity(labels.get("severity", "unknown")),
        group_key=group_key[:512],
        entity=EntityId(f"service:{service}") if service else None,
        labels=labels,
        annotations={key: value[:4096] for key, value in item.annotations.items()},
    )
