"""`inquest serve`: the door for alerting pipelines and deployment pipelines.

An alert is committed to the inbox before it is answered with 202; what becomes of it then survives anything. A body
that cannot be used is answered with what to send instead, kept, and counted.
"""

import asyncio
import hashlib
import hmac
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer
import uvicorn
from inquest.alertmanager import SIZE_LIMIT, alerts_from_alertmanager
from inquest.exceptions import PayloadError, RejectedError, UnavailableError
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError

from activities.memory.incidents import redacted_alert
from activities.telemetry.environment import read_environments
from infra.settings import Settings
from workers.announcements import changes_in
from workers.connect import TemporalUnreachableError
from workers.dispatcher import Dispatched, Dispatcher
from workers.facts_api import FactsApi
from workers.installation import Installation, open_installation
from workers.investigations_api import InvestigationsApi
from workers.invocation import ERR, OUT, handle_known_errors, read_settings, run
from workers.model_metrics import ModelMetrics
from workers.sweeper import backlogs

LOG = structlog.stdlib.get_logger(__name__)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOOK_LIMIT_S = 3.0
RETRY_S = 2.0
"""Between two tries to reach Temporal."""

SIGNATURE = "x-hub-signature-256"
RETRY_AFTER_S = "5"


class GatewayError(Exception):
    """The gateway cannot be opened as it is configured."""


class _RefusedError(Exception):
    """A call is answered with a status and a reason; nothing of it is kept."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


Work = Callable[[Request, bytes, str], Awaitable[Response]]


class Gateway:
    """Answers the calls of senders, for one tenant.

    Attributes:
        address: where it listens.
    """

    def __init__(self, installation: Installation, address: str) -> None:
        self.address = address
        self._installation = installation
        self._client: Client | None = None
        self._dispatcher: Dispatcher | None = None
        self._inbox = installation.store.inbox(installation.tenant)
        self._incidents = installation.incidents()
        self._changes = installation.store.announced_changes(installation.tenant)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._model_metrics = ModelMetrics(installation.store.model_service(installation.tenant))
        self._facts = FactsApi(installation)
        self._api = InvestigationsApi(installation, self._named_environment, self._wake)

    @asynccontextmanager
    async def dispatching(self, client: Client) -> AsyncIterator[None]:
        """Investigate what is accepted; until then it waits in the inbox."""
        installation = self._installation
        dispatcher = Dispatcher(self._inbox, installation.alert_ingestion(client), installation.live_options)
        self._client, self._dispatcher = client, dispatcher
        self._api.attach(client)
        async with dispatcher.running():
            yield

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/alerts/alertmanager", self._guarded(self._alertmanager), methods=["POST"]),
                Route("/v1/changes", self._guarded(self._announce), methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
                *self._api.routes(),
                *self._facts.routes(),
            ]
        )

    def _guarded(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """What every sender meets: its credential is checked, its body bounded, its environment found."""

        async def answer(request: Request) -> Response:
            body = b""
            try:
                body = await _body(request)
                self._require_credential(request, body)
                environment = await asyncio.to_thread(self._environment, request.query_params.get("environment"))
                return await work(request, body, environment)
            except _RefusedError as error:
                return self._rejected(request, error.status, str(error))
            except PayloadError as error:
                return await self._kept(request, body, str(error))
            except SQLAlchemyError as error:
                LOG.warning("gateway.database", reason=type(error).__name__)
                return self._rejected(request, 503, "not accepted: the database does not answer, send it again")

        return answer

    def _require_credential(self, request: Request, body: bytes) -> None:
        """Compared in constant time, so that nothing is learned from how long a refusal takes.

        Raises:
            _RefusedError: the sender has none.
        """
        settings = self._installation.settings
        if settings.gateway_token is None and settings.gateway_hmac_key is None:
            if "origin" in request.headers:
                raise _RefusedError(403, "a page in a browser may not send")
            return
        allowed = False
        if settings.gateway_token is not None:
            given = request.headers.get("authorization", "").encode("utf-8", "replace")
            allowed = hmac.compare_digest(given, b"Bearer " + settings.gateway_token.get_secret_value().encode())
        if settings.gateway_hmac_key is not None:
            key = settings.gateway_hmac_key.get_secret_value().encode()
            expected = f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}".encode()
            given = request.headers.get(SIGNATURE, "").encode("utf-8", "replace")
            allowed = hmac.compare_digest(given, expected) or allowed
        if not allowed:
            raise _RefusedError(401, "send the gateway's token as a bearer token, or sign the body")

    def _environment(self, named: str | None) -> str:
        """The environment that a call is about: the one it names, or the only one there is.

        Raises:
            _RefusedError: there is no such environment, it must be named, or its file cannot be used now.
        """
        known, problems = read_environments(self._installation.settings.environments_dir)
        if named in problems:
            raise _RefusedError(503, problems[named])
        if named is None and len(known) == 1:
            return next(iter(known))
        if named is None or named not in known:
            there = ", ".join(known) or "none"
            raise _RefusedError(404, f"add ?environment=NAME to the address; there is {there}")
        return named

    def _named_environment(self, named: str | None) -> str:
        try:
            return self._environment(named)
        except _RefusedError as error:
            raise UnavailableError(str(error)) if error.status == 503 else RejectedError(str(error)) from error

    def _wake(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.wake()

    async def _alertmanager(self, request: Request, body: bytes, environment: str) -> Response:
        alerts = alerts_from_alertmanager(body)
        redacted = await asyncio.to_thread(
            lambda: [redacted_alert(alert, self._incidents.redactor) for alert in alerts]
        )
        await asyncio.to_thread(self._inbox.accept, redacted, environment=environment, received_at=datetime.now(UTC))
        self._counts["accepted", request.url.path] += len(alerts)
        self._wake()
        return JSONResponse({"accepted": len(alerts)}, status_code=202)

    async def _announce(self, request: Request, body: bytes, environment: str) -> Response:
        received_at = datetime.now(UTC)
        changes = changes_in(body, dict(request.headers), received_at)
        new = await asyncio.to_thread(self._changes.announce, changes, environment=environment, received_at=received_at)
        self._counts["accepted", request.url.path] += len(changes)
        return JSONResponse({"accepted": len(changes), "new": new}, status_code=202)

    async def _kept(self, request: Request, body: bytes, reason: str) -> Response:
        try:
            await asyncio.to_thread(
                self._incidents.reject,
                source=request.url.path.rpartition("/")[2],
                reason=reason,
                content=body,
                received_at=datetime.now(UTC),
            )
        except SQLAlchemyError:
            return self._rejected(request, 503, f"{reason}; and the database does not answer")
        return self._rejected(request, 400, reason)

    def _rejected(self, request: Request, status: int, reason: str) -> Response:
        self._counts[f"rejected_{status}", request.url.path] += 1
        headers = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
        headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        return JSONResponse({"error": reason}, status_code=status, headers=headers)

    async def _healthz(self, _request: Request) -> Response:
        """This process answers."""
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        """Whether alerts are accepted now; Temporal may be away meanwhile."""
        try:
            async with asyncio.timeout(LOOK_LIMIT_S):
                waiting = await asyncio.to_thread(self._inbox.waiting_count)
        except (SQLAlchemyError, TimeoutError) as error:
            return PlainTextResponse(f"database: {type(error).__name__}\n", status_code=503)
        return PlainTextResponse(f"ok, {waiting} alerts wait\n")

    async def _metrics(self, _request: Request) -> Response:
        lines = [
            "# HELP inquest_gateway_items_total Alerts and changes by what became of them at the door.",
            "# TYPE inquest_gateway_items_total counter",
        ]
        lines += [
            f'inquest_gateway_items_total{{outcome="{outcome}",path="{path}"}} {count}'
            for (outcome, path), count in sorted(self._counts.items())
        ]
        done = self._dispatcher.done if self._dispatcher is not None else Dispatched()
        lines += [
            "# HELP inquest_dispatched_total Alerts taken out of the inbox by this process.",
            "# TYPE inquest_dispatched_total counter",
            f'inquest_dispatched_total{{outcome="opened"}} {done.opened}',
            f'inquest_dispatched_total{{outcome="joined"}} {done.joined}',
            f'inquest_dispatched_total{{outcome="other"}} {done.other}',
        ]
        for name, meaning, read in (
            ("inquest_inbox_waiting", "Accepted alerts that are not dispatched yet.", self._inbox.waiting_count),
            ("inquest_investigations_open", "Investigations without a report.", self._open_count),
            ("inquest_inputs_rejected", "Inputs that were kept because they could not be used.", self._rejected_count),
        ):
            try:
                async with asyncio.timeout(LOOK_LIMIT_S):
                    value = await asyncio.to_thread(read)
            except (SQLAlchemyError, TimeoutError):
                continue
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]
        lines += await self._model_lines()
        lines += await self._backlogs()
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def _model_lines(self) -> list[str]:
        """Service levels of the models' endpoints; none while the database does not answer."""
        try:
            async with asyncio.timeout(LOOK_LIMIT_S):
                return await asyncio.to_thread(self._model_metrics.lines)
        except (SQLAlchemyError, TimeoutError):
            return []

    async def _backlogs(self) -> list[str]:
        """Tasks that wait on each queue, by Temporal's own approximate count; none while it does not answer."""
        name = "inquest_queue_backlog"
        lines = [f"# HELP {name} Tasks that wait for a worker, approximately.", f"# TYPE {name} gauge"]
        if self._client is None:
            return []
        try:
            async with asyncio.timeout(LOOK_LIMIT_S):
                endpoints = [item.name for item in self._installation.models().endpoints]
                waiting = await backlogs(self._client, self._installation.source_names(), endpoints)
        except (RPCError, TimeoutError):
            return []
        return [*lines, *(f'{name}{{queue="{queue}"}} {count}' for queue, count in sorted(waiting.items()))]

    def _open_count(self) -> int:
        return len(self._incidents.open_investigations())

    def _rejected_count(self) -> int:
        return self._incidents.rejected_count()


async def _body(request: Request) -> bytes:
    """The body.

    Raises:
        _RefusedError: it is too large, or broke off.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > SIZE_LIMIT:
                raise _RefusedError(413, f"at most {SIZE_LIMIT:,} bytes are read at once")
    except ClientDisconnect as error:
        raise _RefusedError(400, "the body broke off") from error
    return bytes(body)


def bound_to(settings: Settings) -> tuple[str, int]:
    """Host and port to listen on.

    Raises:
        GatewayError: it is open to others than this machine and asks nobody for a credential.
    """
    host, _, port = settings.gateway_address.rpartition(":")
    host = host.strip("[]")
    if host not in LOOPBACK and settings.gateway_token is None and settings.gateway_hmac_key is None:
        raise GatewayError(
            f"{settings.gateway_address} can be reached from other machines: set INQUEST_GATEWAY_TOKEN or "
            "INQUEST_GATEWAY_HMAC_KEY, or listen on 127.0.0.1"
        )
    return host, int(port)


@asynccontextmanager
async def serving(installation: Installation, client: Client | None) -> AsyncIterator[Gateway]:
    """Run the gateway until the context ends.

    Args:
        installation: with the inbox.
        client: connected to Temporal, to dispatch with. None: alerts are accepted, and wait until `dispatching`.

    Raises:
        GatewayError: it cannot listen there.
    """
    host, port = bound_to(installation.settings)
    gateway = Gateway(installation, f"http://{host}:{port}")
    config = uvicorn.Config(
        gateway.application(), host=host, port=port, log_level="error", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror}): is another one running?"
        raise GatewayError(reason) from error
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.02)
        async with AsyncExitStack() as running:
            if client is not None:
                await running.enter_async_context(gateway.dispatching(client))
            yield gateway
    finally:
        server.should_exit = True
        await asyncio.wait({task})


async def _serve(installation: Installation, *, workers: bool) -> None:
    """The door opens first: what comes while Temporal is away is accepted, and waits."""
    async with AsyncExitStack() as running:
        gateway = await running.enter_async_context(serving(installation, None))
        settings, address = installation.settings, gateway.address
        OUT.print(Text(f"alerts: POST {address}/v1/alerts/alertmanager   changes: POST {address}/v1/changes"))
        if settings.gateway_token is None and settings.gateway_hmac_key is None:
            OUT.print(
                Text("no credential is set: only this machine can reach it, and everybody on it may send", "yellow")
            )
        names = ", ".join(installation.environments()) or f"none yet: write {settings.environments_dir}/NAME.yaml"
        OUT.print(Text(f"environments: {names}"))
        client = await _temporal(installation)
        if workers:
            await running.enter_async_context(installation.all_workers(client))
        await running.enter_async_context(gateway.dispatching(client))
        await asyncio.Event().wait()


async def _temporal(installation: Installation) -> Client:
    """A client, as soon as Temporal answers."""
    told = False
    while True:
        try:
            return await installation.client()
        except TemporalUnreachableError as error:
            if not told:
                OUT.print(Text(f"{error}; alerts are accepted meanwhile, and wait", "yellow"))
            told = True
            await asyncio.sleep(RETRY_S)


@handle_known_errors
def serve(
    *,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Also run the workers; without, inquest worker does.")
    ] = True,
) -> None:
    """Take alerts and changes over HTTP and investigate, until interrupted."""
    settings = read_settings()
    try:
        bound_to(settings)
        with open_installation(settings) as installation:
            run(installation.guarded(_serve(installation, workers=workers)))
    except GatewayError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        raise typer.Exit(1) from error
