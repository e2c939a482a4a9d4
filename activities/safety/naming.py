"""What the name of a field says of its value."""

import re
from enum import IntEnum

from activities.safety.words import words


class Naming(IntEnum):
    """How surely a name says that its value is a credential."""

    NONE = 0
    TOKEN = 1
    """A token, a key, a signature: words that also name harmless things."""

    PASSWORD = 2


_WORD = re.compile(r"[A-Z]?[a-zñ]+|[A-Z]+(?![a-z])|\d+")
_PASSWORDS = words("passwords")
_TOKENS = words("tokens")
_KEYED = words("keyed")
_NEUTRAL = words("neutral")


def naming_of(key: str) -> Naming:
    """What the name of a field says of its value: `db_password`, `apiKey`, `X-Auth-Token`; not `secretName`."""
    words = [word.lower() for word in _WORD.findall(key)][-8:]
    found = Naming.NONE
    for number, word in enumerate(words):
        joined = word + words[number + 1] if number + 1 < len(words) else ""
        if word in _PASSWORDS or joined in ("motde", "passphrase"):
            found = Naming.PASSWORD
        elif (
            word in _TOKENS or joined in _TOKENS or (word in ("key", "keys") and number and words[number - 1] in _KEYED)
        ):
            found = max(found, Naming.TOKEN)
        elif word in ("session", "sess") and joined[len(word) :] in ("id", "key"):
            return Naming.TOKEN if number + 2 >= len(words) else Naming.NONE
        elif (
            found and {word, word.removesuffix("s")} & _NEUTRAL and not (word == "key" and words[number - 1] in _KEYED)
        ):
            return Naming.NONE
    return found


LONG = (
    r"passw|passphrase|passcode|pwd|secret|token|credential|creds|jwt|kennwort"
    r"|geheimnis|contrase(?:ñ|n)a|signature|sess(?:ion)?[_-]?id"
    r"|sessid|csrf|xsrf|(?:api|access|private|account|shared|master|signing|encryption"
    r"|auth|license|session|client|ssh|storage"
    r"|consumer|hmac|aes|webhook|admin|subscription|deploy|service|app|application"
    r"|routing|integration|ingest|ingestion|write)[_-]?key"
)
SHORT = r"pass|pw|psk|pin|sig|sid|otp|totp|cvv2?|cvc|mdp|clave|jwt|cookie"


def names_credential(key: str) -> bool:
    """Whether the value of a field of this name is a credential, whatever it looks like."""
    return naming_of(key) is not Naming.NONE
