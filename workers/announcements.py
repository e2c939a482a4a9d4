"""What pipelines say they changed: CloudEvents, CDEvents among them, and plain JSON."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from inquest.exceptions import PayloadError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from workflows.contracts.change import Change, ChangeKind
from workflows.contracts.identifiers import EntityId

SIZE_LIMIT = 1024 * 1024
CHANGES_AT_ONCE = 100
_CDEVENTS = {
    "dev.cdevents.service.": ChangeKind.DEPLOY,
    "dev.cdevents.environment.": ChangeKind.CONFIG,
    "dev.cdevents.change.": ChangeKind.COMMIT,
    "dev.cdevents.artifact.": ChangeKind.DEPLOY,
}
"""Kinds by the beginning of a CDEvent's type (https://cdevents.dev, specification 0.4)."""


class _Plain(BaseModel):
    """A change as a pipeline writes it by hand."""

    model_config = ConfigDict(extra="ignore")
    id: str | None = Field(default=None, max_length=512)
    at: AwareDatetime | None = None
    kind: str = "deploy"
    target: str | None = Field(default=None, min_length=1, max_length=1_024)
    title: str = Field(min_length=1, max_length=1_024)
    detail: str = Field(default="", max_length=65_536)
    revision: str | None = Field(default=None, max_length=1_024)


class _CloudEvent(BaseModel):
    """CloudEvents 1.0 (https://github.com/cloudevents/spec)."""

    model_config = ConfigDict(extra="ignore")
    id: str = Field(min_length=1, max_length=512)
    source: str = Field(min_length=1, max_length=2_048)
    type: str = Field(min_length=1, max_length=512)
    subject: str | None = Field(default=None, max_length=1_024)
    time: AwareDatetime | None = None
    data: JsonValue = None


def changes_in(body: bytes, headers: Mapping[str, str], received_at: datetime) -> list[Change]:
    """The changes in the body of one call.

    Args:
        body: JSON: a change, a list of changes, a CloudEvent, or a CloudEvent's data with its attributes as headers.
        headers: of the call, in lower case.
        received_at: when a change is taken to have happened that does not say.

    Raises:
        PayloadError: it cannot be used; the message says what to send instead.
    """
    if len(body) > SIZE_LIMIT:
        raise PayloadError(f"the body has {len(body):,} bytes, at most {SIZE_LIMIT:,} are read: announce less at once")
    try:
        document: JsonValue = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the body is not JSON ({error})") from error
    if "ce-type" in headers:
        attributes = {name: headers[f"ce-{name}"] for name in _CloudEvent.model_fields if f"ce-{name}" in headers}
        document = {**attributes, "data": document}
    items = document if isinstance(document, list) else [document]
    if not 1 <= len(items) <= CHANGES_AT_ONCE:
        raise PayloadError(f"announce 1 to {CHANGES_AT_ONCE} changes at once, these are {len(items)}")
    return [_change(item, received_at) for item in items]


def _change(item: JsonValue, received_at: datetime) -> Change:
    try:
        if isinstance(item, dict) and ("specversion" in item or {"type", "source", "id"} <= item.keys()):
            return _of_event(_CloudEvent.model_validate(item), received_at)
        if isinstance(item, dict) and isinstance(item.get("context"), dict):  # a CDEvent without its CloudEvent
            context = item["context"]
            assert isinstance(context, dict)
            event = {**context, "time": context.get("timestamp"), "data": item}
            return _of_event(_CloudEvent.model_validate(event), received_at)
        return _of_plain(_Plain.model_validate(item), received_at)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PayloadError(
            f"{where}: {first['msg']}: send a CloudEvent, or title, kind, target, at, detail and revision"
        ) from error


def _of_plain(item: _Plain, received_at: datetime) -> Change:
    at = item.at or received_at
    identity = json.dumps([item.title, item.kind, item.target, item.revision, at.isoformat()])
    return Change(
        id=item.id or f"announced-{hashlib.sha256(identity.encode()).hexdigest()[:24]}",
        at=at,
        kind=ChangeKind(item.kind),
        target=_entity(item.target),
        title=item.title,
        detail=item.detail,
        revision=item.revision,
    )


def _of_event(event: _CloudEvent, received_at: datetime) -> Change:
    data = event.data if isinstance(event.data, dict) else {}
    subject = data.get("subject")
    content = subject.get("content") if isinstance(subject, dict) else None
    content = content if isinstance(content, dict) else {}
    named = subject.get("id") if isinstance(subject, dict) else event.subject
    kind = next((kind for start, kind in _CDEVENTS.items() if event.type.startswith(start)), None)
    artifact = content.get("artifactId") or data.get("revision")
    target = data.get("target") or named
    title = data.get("title") or f"{event.type.removeprefix('dev.cdevents.')} {target or event.source}"
    detail = data.get("detail")
    return Change(
        id=f"{event.source}/{event.id}"[:512],
        at=event.time or received_at,
        kind=kind or ChangeKind(str(data.get("kind", "deploy"))),
        target=_entity(str(target)) if target else None,
        title=str(title)[:1_024],
        detail=str(detail)[:65_536] if detail else "",
        revision=str(artifact)[:1_024] if artifact else None,
    )


def _entity(target: str | None) -> EntityId | None:
    """What was changed, as an entity: a bare name is a service's."""
    if target is None:
        return None
    return EntityId(target if ":" in target.partition("/")[0] else f"service:{target.rpartition('/')[2]}")
