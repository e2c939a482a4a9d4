"""`inquest codec`: decrypts what Temporal's page shows, for whoever has the address with the secret in it.

Temporal's page calls `<address>/decode` from the browser
(https://docs.temporal.io/production-deployment/data-encryption).
"""

import hmac
from typing import Annotated

import typer
import uvicorn
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from rich.text import Text
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from activities.safety.keys import Keys
from infra.keys import read_keys
from infra.ports import HIGHEST_PORT
from workers.codec import EncryptingCodec, UndecipherableError
from workers.installation import KEYS
from workers.invocation import OUT, handle_known_errors, read_settings

PORT = 8234
BODY_LIMIT = 8 * 1024 * 1024
SECRET_LENGTH = 32
HOSTS = ("127.0.0.1", "localhost")


def secret_of(keys: Keys) -> str:
    """The secret in the address: the same as long as the current key is."""
    return keys.derive("codec-server").hex()[:SECRET_LENGTH]


def codec_application(keys: Keys, *, origins: list[str]) -> Starlette:
    """Decodes and encodes payloads in protobuf's JSON form, for pages of these origins, on this machine only."""
    secret, codec = secret_of(keys), EncryptingCodec(keys, texts=True)

    async def convert(request: Request) -> Response:
        if not hmac.compare_digest(request.path_params["secret"].encode(), secret.encode()):
            return JSONResponse({"message": "the address has another secret: see inquest codec"}, status_code=403)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                return JSONResponse({"message": f"at most {BODY_LIMIT:,} bytes"}, status_code=413)
        try:
            given = Parse(bytes(body), Payloads(), ignore_unknown_fields=True)
            work = codec.decode if request.url.path.endswith("/decode") else codec.encode
            return JSONResponse(MessageToDict(Payloads(payloads=await work(given.payloads))))
        except (ParseError, UndecipherableError, UnicodeDecodeError) as error:
            return JSONResponse({"message": str(error)}, status_code=400)

    return Starlette(
        routes=[Route(f"/{{secret}}/{what}", convert, methods=["POST"], name=what) for what in ("decode", "encode")],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS)),
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=["POST"],
                allow_headers=["content-type", "x-namespace", "authorization"],
            ),
        ],
    )


@handle_known_errors
def codec(
    *,
    port: Annotated[int, typer.Option(min=1, max=HIGHEST_PORT, help="Port on this machine.")] = PORT,
    origin: Annotated[
        list[str] | None, typer.Option(help="Address of a page that may ask, as in https://temporal.internal.")
    ] = None,
) -> None:
    """Decrypt what Temporal's page shows, until interrupted."""
    settings = read_settings()
    keys = Keys(*read_keys(settings.keys_dir or settings.data_dir / KEYS))
    origins = origin or [f"http://{host}:{settings.temporal_ui_port or 8233}" for host in HOSTS]
    address = f"http://{HOSTS[0]}:{port}/{secret_of(keys)}"
    OUT.print(Text(f"answers pages of {', '.join(origins)}; in Temporal's page, open the glasses (data encoder),"))
    OUT.print(Text(f"choose your browser's own endpoint, and write: {address}"))
    uvicorn.run(codec_application(keys, origins=origins), host=HOSTS[0], port=port, log_level="error", access_log=False)
