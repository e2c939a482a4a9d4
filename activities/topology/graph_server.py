"""A graph server that speaks Bolt: Neo4j, Memgraph. One address, bounded in time, every failure told apart."""

import logging
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

from neo4j import READ_ACCESS, WRITE_ACCESS, Driver, GraphDatabase, Query, basic_auth
from neo4j.exceptions import AuthError, ClientError, ConfigurationError, DriverError, Forbidden, Neo4jError

from activities.credentials.reference import CredentialError, CredentialReference
from activities.safety.egress import EgressPolicy, EgressRefusedError, bolt_destination_of
from activities.topology.exceptions import GraphServerError
from workflows.contracts.observation import ObservationStatus

CONNECT_S = 3.0
READY_S = 10.0
"""For connecting and signing in together."""

FETCHED_AT_ONCE = 5_000
"""Rows that the server sends before it waits for us."""

logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)  # a type that a graph does not have is no warning

_TIMED_OUT = ("TransactionTimedOut", "LockAcquisitionTimeout", "Terminated")


@dataclass(frozen=True, kw_only=True)
class GraphAddress:
    """Where a graph server is and how it is spoken to."""

    url: str
    """`bolt://host:port`, with TLS `bolt+s://host:port`."""

    credential: CredentialReference | None = None
    """User and password; none where it asks for none."""

    database: str | None = None
    """Not set: the server's default."""

    trusted: Path | None = None
    """PEM file of the authorities that may sign its certificate. Not set: the system's."""

    timeout: timedelta = timedelta(seconds=30)
    """After which the server gives a query up."""


class GraphServer:
    """An open connection to one server and no other, whatever it says of further ones."""

    def __init__(self, address: GraphAddress) -> None:
        self._address = address
        self._driver = self._opened()

    def close(self) -> None:
        """Close the connections; a query that another thread waits for ends with an error."""
        self._driver.close()

    def agent(self) -> str:
        """What the server calls itself.

        Raises:
            GraphServerError: it does not answer.
        """
        with self._failures():
            return self._driver.get_server_info().agent

    def read(self, query: LiteralString, parameters: Mapping[str, Any], *, most: int) -> list[tuple[Any, ...]]:
        """At most so many rows of a query.

        Raises:
            GraphServerError: there is no answer.
        """
        with self._failures(), self._session(READ_ACCESS) as session:
            result = session.run(self._timed(query), dict(parameters))
            rows: list[tuple[Any, ...]] = []
            for record in result:
                if len(rows) == most:
                    break
                rows.append(tuple(record.values()))
            return rows

    def write(self, query: LiteralString, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement in a transaction of its own.

        Raises:
            GraphServerError: it was not done.
        """
        with self._failures(), self._session(WRITE_ACCESS) as session:
            session.run(self._timed(query), dict(parameters or {})).consume()

    def write_rows(
        self, query: LiteralString, rows: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any], *, batch: int
    ) -> None:
        """Run a statement for rows, which it knows as `$rows`, one transaction a batch.

        Raises:
            GraphServerError: it was not done for all; those of earlier batches are.
        """
        for start in range(0, len(rows), batch):
            self.write(query, {**parameters, "rows": [dict(row) for row in rows[start : start + batch]]})

    def _opened(self) -> Driver:
        address = self._address
        try:
            host, port = bolt_destination_of(address.url)
            EgressPolicy.to_bolt(address.url).require((host, port))
            auth = None
            if address.credential is not None:
                auth = basic_auth(address.credential.user or "neo4j", address.credential.read())
            context = None
            if address.url.lower().startswith("bolt+s"):
                trusted = None if address.trusted is None else str(address.trusted)
                context = ssl.create_default_context(cafile=trusted)
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            return GraphDatabase.driver(
                f"bolt://{place}",
                auth=auth,
                connection_timeout=CONNECT_S,
                connection_acquisition_timeout=min(address.timeout.total_seconds(), READY_S),
                connection_write_timeout=address.timeout.total_seconds(),
                max_transaction_retry_time=0,
                telemetry_disabled=True,
                user_agent="inquest",
                ssl_context=context,
            )
        except (EgressRefusedError, CredentialError) as error:
            raise GraphServerError(ObservationStatus.FORBIDDEN, str(error)) from error
        except (ValueError, OSError, ConfigurationError) as error:
            raise GraphServerError(ObservationStatus.ERROR, _first_line(error)) from error

    @contextmanager
    def _session(self, mode: str) -> Iterator[Any]:
        with self._driver.session(
            database=self._address.database, default_access_mode=mode, fetch_size=FETCHED_AT_ONCE
        ) as session:
            yield session

    def _timed(self, query: LiteralString) -> Query:
        return Query(query, timeout=self._address.timeout.total_seconds())

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (AuthError, Forbidden) as error:
            raise GraphServerError(ObservationStatus.FORBIDDEN, f"it refuses: {_first_line(error)}") from error
        except ClientError as error:
            raise GraphServerError(_status_of(error), _first_line(error)) from error
        except (Neo4jError, DriverError, OSError) as error:
            if _over_certificate(error):
                raise GraphServerError(
                    ObservationStatus.ERROR, "its certificate is not accepted: see trusted"
                ) from error
            raise GraphServerError(ObservationStatus.UNAVAILABLE, _first_line(error)) from error


def _status_of(error: ClientError) -> ObservationStatus:
    code = error.code or ""
    if any(word in code for word in _TIMED_OUT):
        return ObservationStatus.TIMEOUT
    if ".Security." in code:
        return ObservationStatus.FORBIDDEN
    return ObservationStatus.NOT_FOUND if "DatabaseNotFound" in code else ObservationStatus.ERROR


def _over_certificate(error: BaseException | None) -> bool:
    """Whether the driver gave up over TLS; it wraps the reason."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__
    return False


def _first_line(error: BaseException) -> str:
    said = error.message if isinstance(error, Neo4jError) else str(error)
    return (said or type(error).__name__).splitlines()[0][:300]
