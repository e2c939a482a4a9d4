"""What people know, over HTTP: list it, add to it, decide what the product proposed."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Literal

from inquest.exceptions import FactNotFoundError, RejectedError
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from activities.memory.facts import AmbiguousFactError, FactError, new_fact
from workers.client_calls import guarded, parsed, read_body
from workers.installation import Installation
from workflows.contracts.fact import FactDecision, FactState, KnownFact

STATES = tuple(item.value for item in FactState if item is not FactState.UNKNOWN)
MOST_LISTED = 1_000
MINE_TO_SET = ("fact_id", "added_at")


class _Added(BaseModel):
    model_config = ConfigDict(extra="allow")
    author: Annotated[str, Field(max_length=200)] = "api"
    __pydantic_extra__: dict[str, JsonValue]


class _Decided(BaseModel):
    model_config = ConfigDict(extra="ignore")
    state: Literal["accepted", "rejected", "withdrawn"]
    author: Annotated[str, Field(max_length=200)] = "api"
    note: Annotated[str, Field(max_length=1_000)] = ""


class FactsApi:
    """Answers the SDK's client, for one tenant."""

    def __init__(self, installation: Installation) -> None:
        self._settings = installation.settings
        self._record = installation.store.facts(installation.tenant)

    def routes(self) -> list[Route]:
        """Of the ASGI application."""
        settings = self._settings
        return [
            Route("/v1/facts", guarded(self._list, settings)),
            Route("/v1/facts", guarded(self._add, settings), methods=["POST"]),
            Route("/v1/facts/{fact_id}/decision", guarded(self._decide, settings), methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        """Facts of `?state=` (repeated), the latest decided first."""
        wanted = request.query_params.getlist("state")
        if unknown := [state for state in wanted if state not in STATES]:
            raise RejectedError(f"state: {unknown[0][:80]!r} is none of {', '.join(STATES)}")
        found = await asyncio.to_thread(
            self._record.known, [FactState(state) for state in wanted], limit=MOST_LISTED + 1
        )
        facts = [item.model_dump(mode="json") for item in found[:MOST_LISTED]]
        return JSONResponse({"facts": facts, "more": len(found) > MOST_LISTED})

    async def _add(self, request: Request) -> Response:
        """A fact, accepted, as if it had been added by command."""
        given, at = parsed(await read_body(request), _Added), datetime.now(UTC)
        fields = {name: value for name, value in given.__pydantic_extra__.items() if name not in MINE_TO_SET}
        try:
            fact = new_fact(fields, author=given.author, at=at)
        except FactError as error:
            raise RejectedError(str(error)) from error
        decision = FactDecision(state=FactState.ACCEPTED, author=given.author, decided_at=at)
        await asyncio.to_thread(self._record.add, fact, decision)
        return JSONResponse((await self._found(fact.fact_id)).model_dump(mode="json"), status_code=201)

    async def _decide(self, request: Request) -> Response:
        given = parsed(await read_body(request), _Decided)
        known = await self._found(request.path_params["fact_id"])
        decision = FactDecision(
            state=FactState(given.state), author=given.author, note=given.note, decided_at=datetime.now(UTC)
        )
        await asyncio.to_thread(self._record.decide, known.fact.fact_id, decision)
        return JSONResponse((await self._found(known.fact.fact_id)).model_dump(mode="json"))

    async def _found(self, fact_id: str) -> KnownFact:
        try:
            found = await asyncio.to_thread(self._record.find, fact_id.lower())
        except AmbiguousFactError as error:
            raise RejectedError(str(error)) from error
        if found is None:
            raise FactNotFoundError(f"there is no fact {fact_id[:80]!r}")
        return found
