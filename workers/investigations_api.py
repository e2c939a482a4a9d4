"""What the SDK's client asks of the gateway: deliver an alert, follow and steer its investigation, read its report."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from inquest._calls import Calls
from inquest.client import Inquest, Investigation
from inquest.exceptions import (
    InvestigationNotFoundError,
    RejectedError,
    UnavailableError,
)
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from activities.memory.incidents import redacted_alert
from workers.client_calls import Work, guarded, parsed, read_body
from workers.installation import Installation
from workflows.contracts.alert import Alert

LONGEST_WAIT_S = 25.0
LOOK_S = 0.1
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
        one, settings = "/v1/investigations/{investigation_id}", self._installation.settings

        def route(path: str, work: Work, *methods: str) -> Route:
            return Route(path, guarded(work, settings), methods=list(methods) or ["GET"])

        return [
            route("/v1/alerts", self._deliver, "POST"),
            route("/v1/deliveries/{delivery_id}", self._delivery),
            route(one, self._progress),
            route(f"{one}/report", self._report),
            route(f"{one}/hints", self._hint, "POST"),
            route(f"{one}/feedback", self._feedback, "POST"),
            route(f"{one}/stop", self._stop, "POST"),
        ]

    async def _deliver(self, request: Request) -> Response:
        body = await read_body(request)
        try:
            alert = parsed(body, Alert)
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
        hint = parsed(await read_body(request), _Hint)
        count = await (await self._opened(request)).add_hint(hint.text, author=hint.author)
        return JSONResponse({"hints": count})

    async def _feedback(self, request: Request) -> Response:
        said = parsed(await read_body(request), _Feedback)
        await (await self._opened(request)).give_feedback(**said.model_dump())
        return JSONResponse({})

    async def _stop(self, request: Request) -> Response:
        await (await self._opened(request)).stop()
        return JSONResponse({})

    async def _opened(self, request: Request) -> Investigation:
        if self._inquest is None:
            raise UnavailableError("Temporal does not answer yet, ask again")
        return await self._inquest.investigation(request.path_params["investigation_id"])


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
