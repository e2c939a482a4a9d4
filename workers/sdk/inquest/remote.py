"""The same investigations over HTTP, by the gateway of an installation: for other people's services.

It needs pydantic and urllib3 and nothing else of the application; the wheel `inquest-client` holds it alone.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError

from activities.safety.egress import CONNECTION_ERRORS, EgressPolicy, EgressRefusedError
from inquest.exceptions import (
    FactNotFoundError,
    InquestError,
    InvestigationEndedError,
    InvestigationNotFoundError,
    RejectedError,
    TooLateError,
    TooManyHintsError,
    UnavailableError,
)
from workflows.contracts.alert import Alert, AlertStatus
from workflows.contracts.fact import FactCondition, FactEffect, KnownFact
from workflows.contracts.hypothesis import FaultKind
from workflows.contracts.investigation import Progress
from workflows.contracts.report import Report

DEFAULT_TIMEOUT = timedelta(seconds=30)
REPORT_TIMEOUT = timedelta(hours=2)
LONGEST_WAIT_S = 20.0
"""Of one request that waits for something at the gateway."""

MARGIN_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
LARGEST_ANSWER = 64 * 1024 * 1024
Model = TypeVar("Model", bound=BaseModel)
_ERRORS: Mapping[int, type[InquestError]] = {
    400: RejectedError,
    403: RejectedError,
    404: InvestigationNotFoundError,
    409: TooLateError,
    410: InvestigationEndedError,
    413: RejectedError,
    429: TooManyHintsError,
}


class RemoteInquest:
    """A gateway of `inquest serve`.

        async with RemoteInquest("https://inquest.internal:8230", token=token) as inquest:
            investigation = await inquest.start(alert, environment="prod")
            report = await investigation.report()

    Connects to this address and nowhere else: no redirect is followed, no proxy variable is read.
    """

    def __init__(self, url: str, *, token: str | None = None, trusted: Path | None = None) -> None:
        """Name the gateway; nothing is sent yet.

        Args:
            url: its address, with http:// or https://.
            token: the installation's INQUEST_GATEWAY_CLIENT_TOKEN; none where the gateway asks for none.
            trusted: PEM file of the authorities that may sign its certificate; None is the system's.

        Raises:
            RejectedError: the address or the file cannot be used.
        """
        try:
            self._pool = EgressPolicy.to(url).pool(trusted=trusted)
        except (OSError, ValueError) as error:
            raise RejectedError(f"{url[:200]}: {error}") from error
        self._base = url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "inquest"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    async def __aenter__(self) -> "RemoteInquest":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._pool.clear)

    async def start(
        self, alert: Alert, *, environment: str | None = None, timeout: timedelta = DEFAULT_TIMEOUT
    ) -> "RemoteInvestigation":
        """Deliver an alert: it opens an investigation, joins the incident's open one, or only counts.

        Args:
            alert: what fired. The same fingerprint again is a repeat; the same group key is the same incident.
            environment: whose sources answer; None where there is only one.
            timeout: how long an outage is ridden out. Once the alert is accepted it is investigated, whatever happens
                here.

        Raises:
            UnavailableError: the gateway does not take it, or does not dispatch it, in time. Deliver it again: that
                only counts.
            RejectedError: something that was given cannot be used.
        """
        if alert.status is AlertStatus.RESOLVED:
            raise RejectedError("a resolved alert opens no investigation")
        clock = _Clock(timeout)
        query = f"?{urlencode({'environment': environment})}" if environment is not None else ""
        _, document = await self._call("POST", f"/v1/alerts{query}", clock, body=alert.model_dump_json().encode())
        delivery = quote(str(document.get("delivery", "")))
        while not clock.is_over:
            status, document = await self._call("GET", f"/v1/deliveries/{delivery}", clock, waits=True)
            if status == 200:
                found = document.get("investigation_id")
                if not isinstance(found, str):
                    raise RejectedError(f"the alert opened nothing: {document.get('how')}")
                return RemoteInvestigation(self, found)
        raise UnavailableError(f"the alert is accepted, and was not dispatched in {timeout}: does Temporal answer?")

    async def investigation(
        self, investigation_id: str, *, timeout: timedelta = DEFAULT_TIMEOUT
    ) -> "RemoteInvestigation":
        """An earlier investigation.

        Raises:
            InvestigationNotFoundError: there is none of that id.
            UnavailableError: the gateway does not answer in time.
        """
        found = RemoteInvestigation(self, investigation_id)
        await found.progress(timeout=timeout)
        return found

    async def facts(self, *states: str, timeout: timedelta = DEFAULT_TIMEOUT) -> list[KnownFact]:
        """What people know, the latest decided first; at most a thousand.

        Args:
            states: `proposed`, `accepted`, `rejected`, `withdrawn`; none: all.
            timeout: how long an outage is ridden out.

        Raises:
            RejectedError: there is no such state.
            UnavailableError: nobody answers in time.
        """
        query = f"?{urlencode([('state', state) for state in states])}" if states else ""
        _, document = await self._call("GET", f"/v1/facts{query}", _Clock(timeout))
        return [_model(KnownFact, item) for item in document.get("facts", [])]

    async def add_fact(
        self,
        subject: str,
        statement: str,
        *,
        effect: FactEffect = FactEffect.NOTE,
        fault_kinds: Sequence[FaultKind] = (),
        condition: FactCondition | None = None,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        confidence: float = 0.9,
        owner: str = "",
        review_by: datetime | None = None,
        source: str = "",
        author: str = "sdk",
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> KnownFact:
        """Say what you know; investigations use it from now on. It is redacted before it is stored.

        Args:
            subject: what it is about, as `kind:name`; `*` stands for any characters.
            statement: one sentence.
            effect: an expected symptom, a known weak point, or a note that changes nothing.
            fault_kinds: the symptoms that are expected; none: all.
            condition: when it holds; None: always.
            valid_from: it does not hold before.
            valid_until: it does not hold from then on.
            confidence: above 0, at most 1: an expected symptom counts by what is missing to one.
            owner: who answers for it.
            review_by: when somebody has to look again; None: in half a year.
            source: where it is from.
            author: who says so.
            timeout: how long an outage is ridden out.

        Raises:
            RejectedError: a part of it cannot be used.
            UnavailableError: nobody answers in time; it may or may not be stored.
        """
        said = {
            "subject": subject,
            "statement": statement,
            "effect": effect.value,
            "fault_kinds": [kind.value for kind in fault_kinds],
            "condition": (condition or FactCondition()).model_dump(mode="json"),
            "valid_from": None if valid_from is None else valid_from.isoformat(),
            "valid_until": None if valid_until is None else valid_until.isoformat(),
            "confidence": confidence,
            "owner": owner,
            "review_by": None if review_by is None else review_by.isoformat(),
            "source": source,
            "author": author,
        }
        _, document = await self._call("POST", "/v1/facts", _Clock(timeout), body=json.dumps(said).encode())
        return _model(KnownFact, document)

    async def decide_fact(
        self, fact_id: str, state: str, *, note: str = "", author: str = "sdk", timeout: timedelta = DEFAULT_TIMEOUT
    ) -> KnownFact:
        """Accept or reject what was proposed, or withdraw what no longer holds.

        Args:
            fact_id: its id, or the beginning of one.
            state: `accepted`, `rejected` or `withdrawn`.
            note: why.
            author: who decides.
            timeout: how long an outage is ridden out.

        Raises:
            FactNotFoundError: there is none of that id.
            RejectedError: several begin so, or there is no such state.
            UnavailableError: nobody answers in time; it may or may not be kept.
        """
        path, said = f"/v1/facts/{quote(fact_id, safe='')}/decision", {"state": state, "note": note, "author": author}
        try:
            _, document = await self._call("POST", path, _Clock(timeout), body=json.dumps(said).encode())
        except InvestigationNotFoundError as error:  # the same status
            raise FactNotFoundError(str(error)) from error
        return _model(KnownFact, document)

    async def _call(
        self, method: str, path: str, clock: "_Clock", *, body: bytes | None = None, waits: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of a call, made again while the gateway is away."""
        pause, last = FIRST_PAUSE_S, "no answer"
        while True:
            seconds = min(LONGEST_WAIT_S, clock.left_s)
            address = f"{path}?wait={seconds:.1f}" if waits else path
            limit = seconds + MARGIN_S if waits else max(1.0, min(LONGEST_WAIT_S + MARGIN_S, clock.left_s))
            try:
                status, content = await asyncio.to_thread(self._once, method, address, body, limit)
            except CONNECTION_ERRORS as error:
                last = str(error).splitlines()[0][:200]
            except EgressRefusedError as error:
                raise RejectedError(str(error)) from error
            else:
                if status not in (502, 503, 504):
                    return status, _document(status, content)
                last = _reason(content) or f"HTTP {status}"
            if clock.left_s <= pause:
                raise UnavailableError(f"{self._base} did not answer in {clock.timeout}: {last}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self, method: str, path: str, body: bytes | None, limit_s: float) -> tuple[int, bytes]:
        headers = {**self._headers, **({"Content-Type": "application/json"} if body is not None else {})}
        answer = self._pool.request(
            method, f"{self._base}{path}", body=body, headers=headers, timeout=limit_s, preload_content=False
        )
        try:
            content = answer.read(LARGEST_ANSWER + 1, decode_content=True)
        finally:
            answer.release_conn()
        if len(content) > LARGEST_ANSWER:
            raise RejectedError(f"the answer is larger than {LARGEST_ANSWER:,} bytes: is this the gateway's address?")
        return answer.status, content


class RemoteInvestigation:
    """One investigation: look at it, speak to it, stop it, fetch its report."""

    def __init__(self, inquest: RemoteInquest, investigation_id: str) -> None:
        self.id = investigation_id
        self._inquest = inquest
        self._path = f"/v1/investigations/{quote(investigation_id, safe='')}"

    async def progress(self, *, timeout: timedelta = DEFAULT_TIMEOUT) -> Progress:
        """Where it is now.

        Raises:
            InvestigationNotFoundError: there is none of this id.
            UnavailableError: nobody answers in time.
        """
        _, document = await self._inquest._call("GET", self._path, _Clock(timeout))
        return _model(Progress, document)

    async def add_hint(self, text: str, *, author: str = "sdk", timeout: timedelta = DEFAULT_TIMEOUT) -> int:
        """Add what you know; returns how many hints there are.

        Raises:
            RejectedError: the text is empty or longer than 2,000 characters.
            TooLateError: the conclusion is already being drawn.
            TooManyHintsError: it has 100 hints.
            UnavailableError: nobody answers in time; the hint may or may not be stored.
        """
        body = json.dumps({"text": text, "author": author}).encode()
        _, document = await self._inquest._call("POST", f"{self._path}/hints", _Clock(timeout), body=body)
        return int(document.get("hints", 0))

    async def give_feedback(
        self,
        judgement: str,
        *,
        cause: str | None = None,
        kind: str = "unknown",
        change: str = "",
        note: str = "",
        author: str = "sdk",
        timeout: timedelta = DEFAULT_TIMEOUT,
    ) -> None:
        """Say whether the verdict was right; it is redacted, and later investigations that recall it say so.

        Args:
            judgement: `right`, `wrong` or `partly`.
            cause: the root cause, as `kind:name`.
            kind: what was wrong with it.
            change: id of the change that brought it in.
            note: how this is known; it is proposed as a fact.
            author: who says so.
            timeout: how long an outage is ridden out.

        Raises:
            RejectedError: a word cannot be used, or there is no report yet.
            UnavailableError: nobody answers in time; it may or may not be kept.
        """
        said = {"judgement": judgement, "cause": cause, "kind": kind, "change": change, "note": note, "author": author}
        await self._inquest._call("POST", f"{self._path}/feedback", _Clock(timeout), body=json.dumps(said).encode())

    async def stop(self, *, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        """End the collection; the report says what was not looked at.

        Raises:
            TooLateError: the report is already being published.
            UnavailableError: nobody answers in time.
        """
        await self._inquest._call("POST", f"{self._path}/stop", _Clock(timeout), body=b"{}")

    async def report(self, *, timeout: timedelta = REPORT_TIMEOUT) -> Report:
        """Wait for the report.

        Raises:
            TimeoutError: there is none after `timeout`.
            InvestigationEndedError: it ended without one.
            UnavailableError: the gateway does not answer any more.
        """
        clock = _Clock(timeout)
        while not clock.is_over:
            status, document = await self._inquest._call("GET", f"{self._path}/report", clock, waits=True)
            if status == 200:
                return _model(Report, document)
        raise TimeoutError(f"investigation {self.id} has no report after {timeout}")


class _Clock:
    """How much of a call's time is left."""

    def __init__(self, timeout: timedelta) -> None:
        self.timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + timeout.total_seconds()

    @property
    def left_s(self) -> float:
        return max(0.0, self._until - self._loop.time())

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0


def _document(status: int, content: bytes) -> dict[str, Any]:
    if status >= 300:
        kind = _ERRORS.get(status, RejectedError)
        raise kind(_reason(content) or f"the gateway answers HTTP {status}: is this its address?")
    try:
        found = json.loads(content)
    except ValueError as error:
        raise RejectedError("the answer is not the gateway's: is this its address?") from error
    return found if isinstance(found, dict) else {}


def _reason(content: bytes) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    return str(found.get("error", ""))[:500] if isinstance(found, dict) else ""


def _model(model: type[Model], document: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RejectedError(f"the gateway's answer cannot be read: is it of another version? ({error})") from error
