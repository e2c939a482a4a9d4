"""HTTP to a source: bounded in time, number and size, within the egress policy, and every failure told apart."""

import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlencode

import structlog
import urllib3
from pydantic import JsonValue
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    IncompleteRead,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from activities.credentials.reference import CredentialError
from activities.safety.egress import EgressPolicy, EgressRefusedError
from activities.telemetry.backend import Spent, by_tool
from activities.telemetry.documents import json_in
from activities.telemetry.environment import HttpSourceConfig
from activities.telemetry.exceptions import BackendUnavailableError, QueryError, SourceRefusedError
from workflows.contracts.observation import ObservationStatus
from workflows.contracts.probe import Probe

LOG = structlog.stdlib.get_logger(__name__)
CONNECT_S = 3.0
CHUNK = 65_536
MEGABYTE = 1_000_000
LONGEST_PAUSE_S = 5.0
RATE_LIMITED_TRIES = 3
Result = TypeVar("Result")
EXCERPT = 200
SILENT_QUERIES = 3
"""Queries in a row without an answer in time, after which a source is not queried any more in this attempt."""

_BUSY = (429, 503)


class SourceClient:
    """Queries one source. Threads share it; it is used for one attempt at one step."""

    def __init__(self, config: HttpSourceConfig) -> None:
        self._config = config
        self._base = config.url.rstrip("/")
        try:
            self._pool = EgressPolicy.to(config.url).pool(trusted=config.trusted, connections=config.limits.at_once)
        except (OSError, ValueError) as error:
            raise SourceRefusedError(
                ObservationStatus.ERROR, f"{config.name}: trusted: {config.trusted} cannot be used ({error})"
            ) from error
        self._places = threading.Semaphore(config.limits.at_once)
        self._guard = threading.Lock()
        self._next_at = 0.0
        self._given_up = threading.Event()
        self._spent = Spent()
        self._silent = 0

    @property
    def spent(self) -> Spent:
        """Queries and bytes of this attempt."""
        return self._spent

    @property
    def given_up(self) -> bool:
        """Whether nothing more is begun."""
        return self._given_up.is_set()

    def interrupt(self) -> None:
        """Give up what runs, and begin nothing more."""
        self._given_up.set()

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def get(
        self, path: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> JsonValue:
        """The JSON document that a GET answers; for the errors see `request`."""
        return parsed(self.request("GET", path, parameters or {}, headers or {}), self._config.name)

    def post(self, path: str, parameters: Mapping[str, str]) -> JsonValue:
        """The JSON document that a POST of a form answers, for queries too long for an address."""
        return parsed(self.request("POST", path, parameters, {}), self._config.name)

    def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> bytes:
        """The body of an answer.

        Args:
            method: GET or POST.
            path: below the source's url.
            parameters: of a GET, in the address; of a POST without `content`, as a form.
            headers: beside those that every query has, or in place of them.
            content: what a POST sends.

        Raises:
            BackendUnavailableError: it cannot be reached, breaks off, fails inside, or stays overloaded.
            QueryError: this query has no answer.
            SourceRefusedError: the source takes no query of ours.
        """
        for tried in range(RATE_LIMITED_TRIES):
            with self._places:
                self._take_turn()
                status, body, retry_after = self._once(method, path, parameters, headers, content)
            if status not in _BUSY:
                return self._judged(status, body)
            if tried + 1 < RATE_LIMITED_TRIES:
                self._given_up.wait(min(LONGEST_PAUSE_S, retry_after if retry_after is not None else 2.0**tried))
        raise BackendUnavailableError(f"{self._config.name} takes no more queries for now (HTTP {status})")

    def _take_turn(self) -> None:
        """Wait until another query may begin.

        Raises:
            QueryError: the time of all queries is up, or no more bytes may be fetched.
        """
        with self._guard:
            now = time.monotonic()
            begins = max(now, self._next_at)
            self._next_at = begins + 1 / self._config.limits.per_second
        if self._given_up.wait(max(0.0, begins - now)):
            raise QueryError(ObservationStatus.TIMEOUT, "given up: the time for queries was over")
        if self._silent >= SILENT_QUERIES:
            raise QueryError(ObservationStatus.TIMEOUT, f"not queried: {SILENT_QUERIES} others had no answer in time")
        total = self._spent.bytes_received
        if total > self._config.limits.total_megabytes * MEGABYTE:
            raise QueryError(
                ObservationStatus.TRUNCATED,
                f"not queried: {self._config.name} has sent {total / MEGABYTE:.0f} MB, as much as one step may fetch "
                "(limits.total_megabytes)",
            )

    def _once(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> tuple[int, bytes, float | None]:
        with self._guard:
            self._spent = replace(self._spent, queries=self._spent.queries + 1)
        try:
            response = self._asking(lambda: self._send(method, path, parameters, headers, content))
            try:
                body = self._asking(lambda: self._read(response))
            finally:
                response.close()
        except QueryError as error:
            with self._guard:
                self._silent += error.status is ObservationStatus.TIMEOUT
            raise
        with self._guard:
            self._silent = 0
        return response.status, body, _seconds(response.headers.get("Retry-After"))

    def _send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        more: Mapping[str, str],
        content: bytes | None,
    ) -> urllib3.HTTPResponse:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "inquest", **more}
        if self._config.credential is not None:
            headers["Authorization"] = self._config.credential.header()
        limit = self._config.limits.query_timeout.total_seconds()
        address, body = f"{self._base}{path}", content
        if method == "POST" and content is None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(parameters).encode()
        elif parameters:
            address += f"?{urlencode(parameters)}"
        found = self._pool.urlopen(
            method,
            address,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=min(CONNECT_S, limit), read=limit),
            preload_content=False,
        )
        assert isinstance(found, urllib3.HTTPResponse)
        return found

    def _read(self, response: urllib3.HTTPResponse) -> bytes:
        """The body, as far as it may be read; a server that drips is given up like one that is silent."""
        limit_s = self._config.limits.query_timeout.total_seconds()
        deadline, most = time.monotonic() + limit_s, self._config.limits.answer_megabytes * MEGABYTE
        unpack = _unpacker(response.headers.get("Content-Encoding", ""))
        parts, size = [], 0
        while packed := response.read1(CHUNK, decode_content=False):  # what is there, and no waiting for more
            with self._guard:
                self._spent = replace(self._spent, bytes_received=self._spent.bytes_received + len(packed))
            parts.append(unpack(packed))
            size += len(parts[-1])
            if size > most:
                raise QueryError(
                    ObservationStatus.TRUNCATED,
                    f"the answer is larger than {self._config.limits.answer_megabytes:g} MB (limits.answer_megabytes)",
                )
            if time.monotonic() > deadline or self._given_up.is_set():
                raise QueryError(ObservationStatus.TIMEOUT, f"no whole answer in {limit_s:g} s")
        return b"".join(parts)

    def _asking(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, with every failure of the way there told apart."""
        name, limit = self._config.name, self._config.limits.query_timeout.total_seconds()
        try:
            return work()
        except CredentialError as error:
            raise SourceRefusedError(ObservationStatus.FORBIDDEN, f"{name}: {error}") from error
        except EgressRefusedError as error:
            raise SourceRefusedError(ObservationStatus.FORBIDDEN, f"{name}: {error}") from error
        except NewConnectionError as error:
            raise BackendUnavailableError(f"{name} cannot be reached ({_reason(error)})") from error
        except ConnectTimeoutError as error:
            raise BackendUnavailableError(f"{name} does not accept a connection in {CONNECT_S:g} s") from error
        except ReadTimeoutError as error:
            raise QueryError(ObservationStatus.TIMEOUT, f"no answer in {limit:g} s") from error
        except SSLError as error:
            raise SourceRefusedError(
                ObservationStatus.ERROR, f"{name}: its certificate is not accepted ({_reason(error)}): see trusted"
            ) from error
        except (DecodeError, zlib.error) as error:
            raise QueryError(ObservationStatus.ERROR, "the answer's compression is damaged") from error
        except (IncompleteRead, ProtocolError) as error:
            raise BackendUnavailableError(f"{name} broke off the connection") from error
        except (HTTPError, OSError) as error:
            raise BackendUnavailableError(f"{name} cannot be reached ({_reason(error)})") from error

    def _judged(self, status: int, body: bytes) -> bytes:
        if 200 <= status < 300:
            return body
        said = _excerpt(body)
        if status == 401:
            raise SourceRefusedError(
                ObservationStatus.FORBIDDEN, f"{self._config.name} does not accept our credential (HTTP 401){said}"
            )
        if status == 403:
            raise QueryError(ObservationStatus.FORBIDDEN, f"forbidden (HTTP 403){said}")
        if status == 404:
            raise QueryError(ObservationStatus.NOT_FOUND, f"not found (HTTP 404){said}")
        if status >= 500:
            raise BackendUnavailableError(f"{self._config.name} fails (HTTP {status}){said}")
        if 300 <= status < 400:
            raise SourceRefusedError(
                ObservationStatus.ERROR,
                f"{self._config.name} sends us elsewhere (HTTP {status}), which is not followed: correct its url",
            )
        raise QueryError(ObservationStatus.ERROR, f"the query was rejected (HTTP {status}){said}")


class HttpBackend:
    """What backends over one client do alike. Each adds the protocols of the modalities that it has."""

    def __init__(self, config: HttpSourceConfig) -> None:
        self._client = SourceClient(config)

    @property
    def spent(self) -> Spent:
        """Queries and bytes so far."""
        return self._client.spent

    def together(self, probes: Sequence[Probe]) -> list[list[Probe]]:
        """All probes of a tool together: they share what is fetched."""
        return by_tool(probes)

    def interrupt(self) -> None:
        """Give up what runs."""
        self._client.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def parsed(body: bytes, name: str) -> JsonValue:
    """The JSON document in a body.

    Raises:
        QueryError: it is none.
    """
    try:
        return json_in(body)
    except (ValueError, RecursionError) as error:
        raise QueryError(ObservationStatus.ERROR, f"the answer of {name} is not JSON: {_excerpt(body)[2:]}") from error


def _unpacker(encoding: str) -> Callable[[bytes], bytes]:
    """How the parts of a body are unpacked, one after the other."""
    if encoding.strip().lower() in ("gzip", "x-gzip"):
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
    return bytes


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:EXCERPT].decode(errors="replace").split())
    return f": {text}" if text else ""


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "reason", None) or error)
    return text.rpartition("] ")[2][:EXCERPT] if "] " in text else text.rpartition(": ")[2][:EXCERPT]


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
