"""An embedded DuckDB that can open the files of one folder and nothing else, within stated memory and time."""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb

from activities.telemetry.exceptions import BundleError, SlowBundleError

Parameters = dict[str, str | int | datetime]
Row = Sequence[object]
SCRATCH_LIMIT = "8GB"
DEFAULT_QUERY_S = 60.0
LOOK_EVERY_S = 0.5


class ReductionDatabase:
    """Answers SQL over the files of one folder.

    Args:
        folder: the only folder whose files it opens.
        scratch: where it may spill; None is the system's temporary folder.
        threads: threads of one query.
        memory_mb: memory of all queries together, in megabytes.
        query_seconds: the longest that one query may take.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scratch: Path | None,
        threads: int,
        memory_mb: int,
        query_seconds: float = DEFAULT_QUERY_S,
    ) -> None:
        if scratch is not None:
            scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scratch = tempfile.TemporaryDirectory(prefix="inquest-bundle-", dir=scratch)
        self._folder = folder
        self._memory_mb = memory_mb
        self._query_seconds = query_seconds
        self._alone = threading.Lock()
        self._running: dict[duckdb.DuckDBPyConnection, float] = {}
        """Queries that run, with the moment at which their time is up."""

        self._watch: threading.Thread | None = None
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._database = duckdb.connect(
            config={
                "threads": str(threads),
                "memory_limit": f"{memory_mb}MB",
                "temp_directory": self._scratch.name,
                "max_temp_directory_size": SCRATCH_LIMIT,
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        )
        self._database.execute("SET allowed_directories = $folders", {"folders": [str(folder), self._scratch.name]})
        self._database.execute("SET enable_external_access = false")
        self._database.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Release memory and scratch files."""
        self._closed.set()
        if self._watch is not None:
            self._watch.join()
        self._database.close()
        self._scratch.cleanup()

    def interrupt(self) -> None:
        """Give up every query that runs now."""
        with self._guard:
            for connection in self._running:
                connection.interrupt()

    def fetch(self, sql: str, parameters: Parameters, *, file: Path) -> list[Row]:
        """The rows of a query; one that found no memory beside others is tried once more, alone.

        Raises:
            SlowBundleError: it was given up, or took longer than it may.
            BundleError: `file` cannot be read, or needs more memory than there is.
        """
        try:
            return self._fetch(sql, parameters, file)
        except duckdb.OutOfMemoryException:
            pass
        try:
            with self._alone:
                return self._fetch(sql, parameters, file)
        except duckdb.OutOfMemoryException as error:
            raise BundleError(
                file,
                f"needs more than {self._memory_mb} MB to answer",
                "Raise INQUEST_MEMORY_LIMIT_MB, or record a shorter window.",
            ) from error

    def _fetch(self, sql: str, parameters: Parameters, file: Path) -> list[Row]:
        try:
            with self._database.cursor() as cursor, self._bounded(cursor):
                return list(cursor.execute(sql, parameters).fetchall())
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.InterruptException as error:
            raise SlowBundleError(
                file, "took longer to read than it may", "Record a shorter window, or give more --seconds."
            ) from error
        except duckdb.Error as error:
            message = str(error).splitlines()[0].replace(f"{self._folder}/", "")
            problem = f"cannot be read ({message})"
            raise BundleError(file, problem, "Copy or write the file again.") from error

    @contextmanager
    def _bounded(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with self._guard:
            self._running[cursor] = time.monotonic() + self._query_seconds
            if self._watch is None:
                self._watch = threading.Thread(target=self._watch_queries, name="bundle-watch", daemon=True)
                self._watch.start()
        try:
            yield
        finally:
            with self._guard:
                del self._running[cursor]

    def _watch_queries(self) -> None:
        """Interrupt queries whose time is up, until the database is closed."""
        while not self._closed.wait(min(LOOK_EVERY_S, self._query_seconds / 2)):
            with self._guard:
                for cursor, deadline in self._running.items():
                    if time.monotonic() > deadline:
                        cursor.interrupt()
