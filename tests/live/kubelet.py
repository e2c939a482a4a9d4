"""What the API server asks a kubelet for when somebody reads the log of a container: HTTPS, one path."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

Log = tuple[str, str, bool]
"""(pod, container, previous)."""


@dataclass
class Kubelet:
    """Serves logs as a kubelet does: lines since a moment, so many of the latest, of these the first so many bytes."""

    logs: Mapping[Log, list[str]]
    """Lines, each beginning with its moment; a log that is not there was never begun."""

    port: int = 0
    asked: list[Log] = field(default_factory=list)

    def answer(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, bytes]:
        """Status and body of one request."""
        _, kind, _, pod, container = path.split("/")
        log = (pod, container, query.get("previous") == ["true"])
        self.asked.append(log)
        if kind != "containerLogs" or log not in self.logs:
            return 400, b"previous terminated container not found"
        since = query["sinceTime"][0]
        lines = [line for line in self.logs[log] if line[:19] >= since[:19]]
        tail = "".join(f"{line}\n" for line in lines[-int(query["tailLines"][0]) :]).encode(errors="surrogatepass")
        return 200, tail[: int(query["limitBytes"][0])]


@contextmanager
def kubelet(folder: Path, logs: Mapping[Log, list[str]]) -> Iterator[Kubelet]:
    """Run one; nobody checks its certificate, as in clusters without `--kubelet-certificate-authority`."""
    running = Kubelet(logs)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            status, body = running.answer(address.path, parse_qs(address.query))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is said."""

    certificate = trustme.CA().issue_cert("127.0.0.1")
    pem = folder / "kubelet.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        running.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
