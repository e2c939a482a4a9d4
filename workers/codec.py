"""What Temporal stores of our payloads: encrypted, with the installation's keys."""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from activities.safety.keys import Keys

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
PURPOSE = "payloads"
NONCE_BYTES = 12


class UndecipherableError(ValueError):
    """A payload that cannot be decrypted; the message says with which key it was encrypted."""


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM with a key of its own per installation key; each payload names the key that it was made with.

    A payload that is not encrypted is taken as it is: it was written before, or with encryption off.
    """

    def __init__(self, keys: Keys, *, texts: bool) -> None:
        """Encrypt with the current key of `keys`.

        Args:
            keys: the installation's.
            texts: also single sentences: the summaries and details that make a run readable in Temporal's page. They
                are redacted, and hold what the search attributes hold.
        """
        self._keys = keys
        self._texts = texts

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        return [payload if not self._texts and _is_text(payload) else self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt.

        Raises:
            UndecipherableError: it was made with a key that is not here, or was changed since.
        """
        return [self._decrypted(item) if item.metadata.get("encoding") == ENCODING else item for item in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        key_id, nonce = self._keys.current.encode(), os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._keys.derive(PURPOSE))
        data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        name = key_id.decode(errors="replace")[:80]
        if name not in self._keys.secrets:
            raise UndecipherableError(f"a payload was encrypted with the key {name!r}, which is not in keys_dir")
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(AESGCM(self._keys.derive(PURPOSE, name)).decrypt(nonce, sealed, key_id))
        except (InvalidTag, ValueError) as error:
            raise UndecipherableError(
                f"a payload was changed, or encrypted with another key than the one here called {name!r}"
            ) from error


def _is_text(payload: Payload) -> bool:
    """Whether it is one JSON string: our contracts are objects, and travel as nothing else."""
    return payload.metadata.get("encoding") == b"json/plain" and payload.data[:1] == b'"'
