"""A real HTTP server on loopback that answers as it is told to: well, badly, slowly, or not at all."""

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Handle = Callable[["Call"], "Reply | None"]


@dataclass
class Call:
    """One request, as the server got it."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""

    wait_s: float = 0.0

    drip_s: float = 0.0
    """Pause between two bytes."""


@dataclass
class Server:
    """Where it listens and what it was asked."""

    url: str
    calls: list[Call]


def json_reply(document: Any, *, status: int = 200, packed: bool = False) -> Reply:
    """A JSON document."""
    body = json.dumps(document).encode()
    if packed:
        return Reply(status, gzip.compress(body), {"Content-Encoding": "gzip"})
    return Reply(status, body)


@contextmanager
def faulty_server(handle: Handle) -> Iterator[Server]:  # noqa: C901 - one small handler after the other
    """Run it; `handle` says what is answered, None closes the connection without a word."""
    calls: list[Call] = []
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            given = parse_qs(parts.query) | parse_qs(body.decode(errors="replace"))
            parameters = {key: values[-1] for key, values in given.items()}
            call = Call(self.command, parts.path, parameters, {k.lower(): v for k, v in self.headers.items()}, body)
            calls.append(call)
            reply = handle(call)
            if reply is None:
                self._hang_up()
                return
            ending.wait(reply.wait_s)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            pieces = [bytes([byte]) for byte in reply.body] if reply.drip_s else [reply.body[: reply.cut_after]]
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()
                if ending.wait(reply.drip_s):
                    return
            if reply.cut_after is not None:
                self._hang_up()

        def _hang_up(self) -> None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, OSError, ValueError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", calls)
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
