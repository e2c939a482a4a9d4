"""What the SDK's client asks of the gateway: deliver an alert, follow and steer its investigation, read its report."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from inquest._calls import Calls
from inquest.client import Inquest, Investigation
from inquest.exceptions import (
    InquestError,
    InvestigationEndedError,
    InvestigationNotFoundError,
    RejectedError,
    TooLateError,
    TooManyHintsError,
    UnavailableError,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from activities.memory.incidents import redacted_alert
from infra.settings import Settings
from workers.installation import Installation
from workflows.contracts.alert import Alert

LONGEST_WAIT_S = 25.0
LOOK_S = 0.1
LARGEST_BODY = 1024 * 1024
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
STATUSES: dict[type[InquestError], int] = {
    InvestigationNotFoundError: 404,
    TooLateError: 409,
    InvestigationEndedError: 410,
    TooManyHintsError: 429,
    UnavailableError: 503,
    RejectedError: 400,
}
"""By the class of an error; the client makes the error out of the status again."""

Model = TypeVar("Model", bound=BaseModel)
Work = Callable[[Request], Awaitable[Response]]
Environment = Callable[[str | None], str]
"""The environment that a call is about; raises `RejectedError` where it cannot be told."""


class _Hint(BaseModel):
    model_config = ConfigDict(extra="ignore")
    text: str
    author: str = Field(default="sdk")


class _Feedback(BaseModel):
    model_config = ConfigDict(extra="ignore")
    judgement: str
    cause: str | None = None
    kind: str = "unknown"
    change: str = ""
    note: str = ""
    author: str = "sdk"


class NotAllowedError(Exception):
    """The caller may not; the message says what to send or to set."""


class InvestigationsApi:
    """Answers the SDK's client, for one tenant."""

    def __init__(self, installation: Installation, environment: Environment, wake: Callable[[], None]) -> None:
        self._installation = installation
        self._environment = environment
        self._wake = wake
        self._inbox = installation.store.inbox(installation.tenant)
        self._incidents = installation.incidents()
        self._inquest: Inquest | None = None

    def attach(self, client: Client) -> None:
        """Temporal answers: from now on investigations can be followed."""
        self._inquest = Inquest(self._installation, client, Calls(self._installation.stack))

    def routes(self) -> list[Route]:
        """Of the ASGI application."""
        one = "/v1/investigations/{investigation_id}"
        return [
            Route("/v1/alerts", self._guarded(self._deliver), methods=["POST"]),
            Route("/v1/deliveries/{delivery_id}", self._guarded(self._delivery)),
            Route(one, self._guarded(self._progress)),
            Route(f"{one}/report", self._guarded(self._report)),
            Route(f"{one}/hints", self._guarded(self._hint), methods=["POST"]),
            Route(f"{one}/feedback", self._guarded(self._feedback), methods=["POST"]),
            Route(f"{one}/stop", self._guarded(self._stop), methods=["POST"]),
        ]

    def _guarded(self, work: Work) -> Work:
        async def answer(request: Request) -> Response:
            try:
                require_client(request, self._installation.settings)
                return await work(request)
            except NotAllowedError as error:
                return JSONResponse({"error": str(error)}, status_code=403)
            except InquestError as error:
                status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 400)
                return JSONResponse({"error": str(error)}, status_code=status)
            except SQLAlchemyError:
                return JSONResponse({"error": "the database does not answer, ask again"}, status_code=503)

        return answer

    async def _deliver(self, request: Request) -> Response:
        body = await _body(request)
        try:
            alert = _parsed(body, Alert)
        except RejectedError as error:
            reason, at = str(error), datetime.now(UTC)
            await asyncio.to_thread(
                lambda: self._incidents.reject(source="alerts", reason=reason, content=body, received_at=at)
            )
            raise
        environment = await asyncio.to_thread(self._environment, request.query_params.get("environment"))
        redacted = await asyncio.to_thread(redacted_alert, alert, self._incidents.redactor)
        (delivery,) = await asyncio.to_thread(
            lambda: self._inbox.accept([redacted], environment=environment, received_at=datetime.now(UTC))
        )
        self._wake()
        return JSONResponse({"delivery": delivery}, status_code=202)

    async def _delivery(self, request: Request) -> Response:
        delivery = _id(request.path_params["delivery_id"], "delivery")
        until = asyncio.get_running_loop().time() + _wait(request)
        while True:
            found = await asyncio.to_thread(self._inbox.outcome, delivery)
            if found is None:
                raise InvestigationNotFoundError(f"there is no delivery {delivery}")
            if found.how or asyncio.get_running_loop().time() >= until:
                document = {"how": found.how, "investigation_id": found.investigation_id}
                return JSONResponse(document, status_code=200 if found.how else 202)
            await asyncio.sleep(LOOK_S)

    async def _progress(self, request: Request) -> Response:
        progress = await (await self._opened(request)).progress(timeout=timedelta(seconds=LONGEST_WAIT_S))
        return Response(progress.model_dump_json(), media_type="application/json")

    async def _report(self, request: Request) -> Response:
        investigation = await self._opened(request)
        try:
            report = await investigation.report(timeout=timedelta(seconds=max(LOOK_S, _wait(request))))
        except TimeoutError:
            return JSONResponse({}, status_code=202)
        return Response(report.model_dump_json(), media_type="application/json")

    async def _hint(self, request: Request) -> Response:
        hint = _parsed(await _body(request), _Hint)
        count = await (await self._opened(request)).add_hint(hint.text, author=hint.author)
        return JSONResponse({"hints": count})

    async def _feedback(self, request: Request) -> Response:
        said = _parsed(await _body(request), _Feedback)
        await (await self._opened(request)).give_feedback(**said.model_dump())
        return JSONResponse({})

    async def _stop(self, request: Request) -> Response:
        await (await self._opened(request)).stop()
        return JSONResponse({})

    async def _opened(self, request: Request) -> Investigation:
        if self._inquest is None:
            raise UnavailableError("Temporal does not answer yet, ask again")
        return await self._inquest.investigation(request.path_params["investigation_id"])


def require_client(request: Request, settings: Settings) -> None:
    """Whoever reads reports needs a token of their own: those who send alerts need not read anything.

    Without any credential in the settings the gateway listens on loopback only; then a name that is not this machine's
    is refused, or a page in a browser could read through a name of its own.

    Raises:
        NotAllowedError: the caller has no such token.
    """
    token = settings.gateway_client_token
    if token is not None:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if hmac.compare_digest(given, b"Bearer " + token.get_secret_value().encode()):
            return
        raise NotAllowedError("send INQUEST_GATEWAY_CLIENT_TOKEN as a bearer token")
    if settings.gateway_token is not None or settings.gateway_hmac_key is not None:
        raise NotAllowedError("investigations are not served here: set INQUEST_GATEWAY_CLIENT_TOKEN")
    host = request.headers.get("host", "")
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if "origin" in request.headers or name not in LOOPBACK_NAMES:
        raise NotAllowedError("a page in a browser may not ask")


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise RejectedError(f"at most {LARGEST_BODY:,} bytes are read at once")
    except ClientDisconnect as error:
        raise RejectedError("the body broke off") from error
    return bytes(body)


def _parsed(body: bytes, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RejectedError(f"{'.'.join(str(part) for part in first['loc']) or 'body'}: {first['msg']}") from error


def _wait(request: Request) -> float:
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(request.query_params.get("wait", "0"))))
    except ValueError:
        raise RejectedError("wait is a number of seconds") from None


def _id(text: str, what: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvestigationNotFoundError(f"there is no {what} {text[:80]!r}") from None
