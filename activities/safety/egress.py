"""The one place where outbound connections are allowed: every client is built from a policy that lists destinations."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

_PORTS = {"http": 80, "https": 443}
BOLT_PORTS = {"bolt": 7687, "bolt+s": 7687}
"""Not `neo4j://`: there the server names further ones to connect to."""

CONNECTION_ERRORS = (HTTPError, OSError)
"""What a request raises that has no answer."""

Destination = tuple[str, int]
"""(host, port)."""


class EgressRefusedError(Exception):
    """A connection that no setting lists was about to be made; it was not made. A defect of ours, or an attack."""


class _ListedPool(urllib3.PoolManager):
    """Connects to what its policy lists, never follows a redirect, never tries again, reads no proxy variables."""

    def __init__(self, destinations: frozenset[Destination], **options: Any) -> None:
        super().__init__(**options)
        self._destinations = destinations

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        redirect: bool = True,  # noqa: ARG002 - never
        **options: Any,
    ) -> urllib3.BaseHTTPResponse:
        if destination_of(url) not in self._destinations:
            raise EgressRefusedError(f"{urlsplit(url).netloc} is no destination of the settings: not connected")
        options["retries"] = False
        return super().urlopen(method, url, redirect=False, **options)


@dataclass(frozen=True)
class EgressPolicy:
    """Where connections may go."""

    destinations: frozenset[Destination]

    @classmethod
    def to(cls, *addresses: str) -> "EgressPolicy":
        """To the hosts and ports of these URLs and no others.

        Raises:
            ValueError: one is no URL of http or https.
        """
        return cls(frozenset(destination_of(address) for address in addresses))

    @classmethod
    def to_bolt(cls, address: str) -> "EgressPolicy":
        """To one graph server.

        Raises:
            ValueError: it is no URL of bolt or bolt+s.
        """
        return cls(frozenset((bolt_destination_of(address),)))

    def require(self, destination: Destination) -> None:
        """Refuse what is not listed, for a client that makes its connections itself and is told where to.

        Raises:
            EgressRefusedError: it is not listed.
        """
        if destination not in self.destinations:
            raise EgressRefusedError(f"{destination[0]}:{destination[1]} is no destination of the settings")

    def pool(self, *, trusted: Path | None = None, connections: int = 4) -> urllib3.PoolManager:
        """A pool of HTTP connections within the policy.

        Args:
            trusted: PEM file of the authorities that may sign a server's certificate; None is the system's.
            connections: kept open to one host.

        Raises:
            OSError: the file cannot be read.
            ssl.SSLError: it holds no certificates.
        """
        context = ssl.create_default_context(cafile=None if trusted is None else str(trusted))
        return _ListedPool(self.destinations, maxsize=connections, ssl_context=context)


def destination_of(url: str) -> Destination:
    """Host and port of a URL.

    Raises:
        ValueError: it is no URL of http or https.
    """
    return _destination(
        url, _PORTS, "write an address with http:// or https://, as in http://prometheus.monitoring:9090"
    )


def bolt_destination_of(url: str) -> Destination:
    """Host and port of a graph server's address.

    Raises:
        ValueError: it is no URL of bolt or bolt+s.
    """
    return _destination(url, BOLT_PORTS, "write an address with bolt:// or bolt+s://, as in bolt://neo4j.graphs:7687")


def _destination(url: str, ports: Mapping[str, int], remedy: str) -> Destination:
    try:
        parsed = parse_url(url)
    except LocationParseError as error:
        raise ValueError(f"{url[:200]} is no address") from error
    default = ports.get(parsed.scheme or "")
    if default is None or not parsed.host:
        raise ValueError(remedy)
    return parsed.host.strip("[]").lower(), parsed.port or default
