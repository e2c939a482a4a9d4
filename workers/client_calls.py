"""What every call of the SDK's client meets at the gateway: who may, how much is read, what errors become."""

import hmac
from collections.abc import Awaitable, Callable
from typing import TypeVar

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
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from infra.settings import Settings

LARGEST_BODY = 1024 * 1024
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
STATUSES: dict[type[InquestError], int] = {
    FactNotFoundError: 404,
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


class NotAllowedError(Exception):
    """The caller may not; the message says what to send or to set."""


def guarded(work: Work, settings: Settings) -> Work:
    """What every caller meets: its token is checked, and every error becomes a status with a reason."""

    async def answer(request: Request) -> Response:
        try:
            require_client(request, settings)
            return await work(request)
        except NotAllowedError as error:
            return JSONResponse({"error": str(error)}, status_code=403)
        except InquestError as error:
            status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 400)
            return JSONResponse({"error": str(error)}, status_code=status)
        except SQLAlchemyError:
            return JSONResponse({"error": "the database does not answer, ask again"}, status_code=503)

    return answer


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


async def read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise RejectedError(f"at most {LARGEST_BODY:,} bytes are read at once")
    except ClientDisconnect as error:
        raise RejectedError("the body broke off") from error
    return bytes(body)


def parsed(body: bytes, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RejectedError(f"{'.'.join(str(part) for part in first['loc']) or 'body'}: {first['msg']}") from error
