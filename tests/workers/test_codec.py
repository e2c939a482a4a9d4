"""What Temporal stores is encrypted, and only who has the keys and the codec server's address reads it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import WorkflowHistory

from activities.safety.keys import Keys
from infra.settings import Settings
from tests.conftest import own_data_dir, recorded
from tests.running import finish, start
from workers.codec import ENCODING, EncryptingCodec, UndecipherableError
from workers.codec_server import codec_application, secret_of
from workers.installation import open_installation

OLD, NEW = {"0001": b"a" * 32}, {"0001": b"a" * 32, "0002": b"b" * 32}
ORIGIN = "http://127.0.0.1:8233"


def a_payload(data: bytes = b'{"service": "checkout"}') -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


async def test_what_is_encrypted_comes_back_and_a_rotated_key_still_reads() -> None:
    [encrypted] = await EncryptingCodec(Keys(OLD, "0001"), texts=False).encode([a_payload()])
    assert encrypted.metadata["encoding"] == ENCODING
    assert b"checkout" not in encrypted.SerializeToString()
    rotated = EncryptingCodec(Keys(NEW, "0002"), texts=False)
    assert await rotated.decode([encrypted, a_payload()]) == [a_payload(), a_payload()]
    [renewed] = await rotated.encode([a_payload()])
    with pytest.raises(UndecipherableError, match="0002"):
        await EncryptingCodec(Keys(OLD, "0001"), texts=False).decode([renewed])


async def test_a_changed_payload_is_refused() -> None:
    codec = EncryptingCodec(Keys(OLD, "0001"), texts=False)
    [encrypted] = await codec.encode([a_payload()])
    encrypted.data = encrypted.data[:-1] + bytes([encrypted.data[-1] ^ 1])
    with pytest.raises(UndecipherableError, match="changed"):
        await codec.decode([encrypted])


async def test_sentences_stay_readable_unless_everything_is_encrypted() -> None:
    keys = Keys(OLD, "0001")
    sentence = a_payload(b'"recall past incidents"')
    assert await EncryptingCodec(keys, texts=False).encode([sentence]) == [sentence]
    [encrypted] = await EncryptingCodec(keys, texts=True).encode([sentence])
    assert encrypted.metadata["encoding"] == ENCODING


@pytest.mark.parametrize("encryption", ["contents", "everything"])
async def test_temporal_sees_no_content_of_an_investigation(encryption: str) -> None:
    bundle = recorded("row_lock")
    with (
        own_data_dir() as folder,
        open_installation(Settings.model_validate({"data_dir": folder, "temporal_encryption": encryption})) as opened,
    ):
        client = await opened.client()
        async with opened.workers(client):
            investigation_id = await start(opened, client, bundle)
            report = await finish(opened, client, investigation_id)
        history: WorkflowHistory = await client.get_workflow_handle(f"inv-{investigation_id}").fetch_history()
        stored = "".join(str(event) for event in history.events)
        assert str(bundle) not in stored
        assert report.findings_sha256 not in stored
        assert ("recall past incidents" in stored) == (encryption == "contents")
        for path in (folder / "temporal").iterdir():
            content = path.read_bytes()
            assert str(bundle).encode() not in content, path
            assert report.findings_sha256.encode() not in content, path
        assert await asyncio.to_thread(readable_by_others, folder) == []


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if not path.is_socket() and path.stat().st_mode & 0o077]


@pytest.fixture
def address() -> Iterator[str]:
    """A codec server on this machine."""
    keys = Keys(OLD, "0001")
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(codec_application(keys, origins=[ORIGIN]), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/{secret_of(keys)}"
    server.should_exit = True
    thread.join()
    listening.close()


def post(url: str, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, body, {"content-type": "application/json", "origin": ORIGIN, **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.headers["access-control-allow-origin"] == headers.get("origin", ORIGIN)
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else {}


def test_the_codec_server_decrypts_for_who_has_its_address(address: str) -> None:
    [encrypted] = asyncio.run(EncryptingCodec(Keys(OLD, "0001"), texts=False).encode([a_payload()]))
    body = json.dumps(MessageToDict(Payloads(payloads=[encrypted]))).encode()
    status, answer = post(f"{address}/decode", body, **{"x-namespace": "inquest"})
    assert (status, answer) == (200, MessageToDict(Payloads(payloads=[a_payload()])))
    status, again = post(f"{address}/encode", json.dumps(answer).encode())
    assert status == 200
    assert post(f"{address}/decode", json.dumps(again).encode()) == (200, answer)


def test_the_codec_server_answers_nobody_else(address: str) -> None:
    body = b'{"payloads": []}'
    wrong = address.rpartition("/")[0] + "/" + "0" * 32
    assert post(f"{wrong}/decode", body)[0] == 403
    assert post(f"{address}/decode", body, host="attacker.example:80")[0] == 400
    assert post(f"{address}/decode", b"no json")[0] == 400
    assert post(f"{address}/decode", b'{"payloads": [{"metadata": {"encoding": "AAAA"}}]}')[0] == 200
    assert post(f"{address}/decode", b" " * 9_000_000)[0] == 413
    request = urllib.request.Request(
        f"{address}/decode",
        method="OPTIONS",
        headers={"origin": "https://attacker.example", "access-control-request-method": "POST"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    refused.value.close()
    assert refused.value.code == 400


def test_the_command_prints_the_address_and_ends_when_interrupted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "inquest"), "codec", "--port", str(port)],
        env={**os.environ, "INQUEST_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1", "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    address = lines[1].split()[-1]
    for _ in range(100):
        try:
            assert post(f"{address}/decode", b'{"payloads": []}')[0] == 200
            break
        except urllib.error.URLError:
            threading.Event().wait(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
