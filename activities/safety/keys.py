"""The installation's keys, and what is derived from them: one secret, a different key for every purpose."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Secrets by id. The current one makes; the others still verify and decrypt what they made."""

    secrets: Mapping[str, bytes]
    """At least 32 random bytes each."""

    current: str
    """The id of the one that is used for new things."""

    def derive(self, purpose: str, key_id: str | None = None) -> bytes:
        """32 bytes for one purpose (HKDF-Expand of RFC 5869 with SHA-256, one block).

        Args:
            purpose: what they are for; another purpose has other bytes.
            key_id: the id of the secret; None is the current one.

        Raises:
            KeyError: there is no secret of that id.
        """
        secret = self.secrets[self.current if key_id is None else key_id]
        return hmac.digest(secret, purpose.encode() + b"\x01", hashlib.sha256)

    def sign(self, purpose: str, content: bytes) -> str:
        """A code that only who has the key can make: `<key id>:<hex>`."""
        return f"{self.current}:{hmac.digest(self.derive(purpose), content, hashlib.sha256).hex()}"

    def verifies(self, purpose: str, content: bytes, code: str) -> bool:
        """Whether `code` was made by `sign` for this content, by any of the secrets."""
        key_id, _, found = code.partition(":")
        if key_id not in self.secrets:
            return False
        made = hmac.digest(self.derive(purpose, key_id), content, hashlib.sha256).hex()
        return hmac.compare_digest(made, found)
