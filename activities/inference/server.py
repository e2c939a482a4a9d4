"""The HTTP of OpenAI-compatible servers, for language models and embedding models alike."""

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from activities.inference.exceptions import ReplyError
from activities.safety.egress import CONNECTION_ERRORS, EgressPolicy

EXCERPT = 300
"""Bytes of an error's body that are told."""

EVENT_STREAM = "text/event-stream"
PIECE = 64 * 1024
"""Bytes that are read at once, at most; what has come is not waited with."""

LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back, whatever its status."""

    status: int
    content: bytes
    retry_after: timedelta | None = None
    media_type: str = ""
    """As the server names it, without parameters."""

    arrivals: tuple[tuple[int, float], ...] = ()
    """How many bytes had come after how many seconds, piece by piece."""

    def seconds_until(self, position: int) -> float:
        """When the byte at this position had come."""
        return next((seconds for size, seconds in self.arrivals if size > position), 0.0)

    @property
    def excerpt(self) -> str:
        """The beginning of the body on one line."""
        return " ".join(self.content[:EXCERPT].decode(errors="replace").split())


class ModelServer:
    """One server within the egress policy; never redirected, never asked again by itself."""

    def __init__(self, url: str, *, key: str | None = None, trusted: Path | None = None) -> None:
        """Name the server; nothing is sent yet.

        Args:
            url: up to and with `/v1`.
            key: sent as a bearer token.
            trusted: PEM file of the authorities that may sign its certificate; None is the system's.

        Raises:
            ValueError: the address cannot be used.
        """
        self.url = url.rstrip("/")
        self._pool = EgressPolicy.to(url).pool(trusted=trusted)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: dict[str, object], *, wait: float, largest: int) -> Reply:
        """Send a body.

        Args:
            path: below `/v1`.
            body: sent as JSON.
            wait: seconds for connecting, and for the whole answer.
            largest: bytes of an answer that are read.

        Raises:
            ReplyError: there is no answer, it is not whole in time, or it is too large.
        """
        try:
            return self._request("POST", f"{self.url}/{path}", json.dumps(body).encode(), wait=wait, largest=largest)
        finally:
            if body.get("stream"):
                # Servers close a connection after a stream, at some moment: the next request would meet its end.
                self._pool.clear()

    def get(self, path: str, *, wait: float, largest: int) -> Reply:
        """Read something; a path with a leading slash is one of the server's, not below `/v1`.

        Raises:
            ReplyError: there is no answer, or one that is too large.
        """
        base = self.url.removesuffix("/v1") if path.startswith("/") else f"{self.url}/"
        return self._request("GET", f"{base}{path}", wait=wait, largest=largest)

    def _request(
        self,
        method: str,
        address: str,
        body: bytes | None = None,
        *,
        wait: float,
        largest: int,
    ) -> Reply:
        begun = time.monotonic()
        content = bytearray()
        arrivals: list[tuple[int, float]] = []
        problem = ""
        try:
            answer = self._pool.request(
                method, address, body=body, headers=self._headers, timeout=wait, preload_content=False
            )
            while not problem and (piece := answer.read1(PIECE, decode_content=True)):
                content += piece
                arrivals.append((len(content), time.monotonic() - begun))
                if len(content) > largest:
                    problem = f"answered with more than {largest:,} bytes"
                elif time.monotonic() - begun > wait:
                    problem = f"had not answered in full after {wait:g} s"
            if problem:
                answer.close()  # what is left of it must not meet the next request
            answer.release_conn()
        except CONNECTION_ERRORS as error:
            raise ReplyError(f"does not answer: {str(error).splitlines()[0][:200]}") from error
        if problem:
            raise ReplyError(problem)
        return Reply(
            status=answer.status,
            content=bytes(content),
            retry_after=_seconds(answer.headers.get("Retry-After")),
            media_type=answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
            arrivals=tuple(arrivals),
        )


def _seconds(text: str | None) -> timedelta | None:
    """What a server asks to wait for, where it says so in seconds."""
    if text is None or not text.strip().isdigit() or len(text.strip()) > len(str(int(LONGEST_WAIT.total_seconds()))):
        return None
    return min(timedelta(seconds=int(text)), LONGEST_WAIT)
