"""The second set: drawn from a grammar of contexts that the rules were not written with; only the seed is fixed."""

import random

from tests.activities.safety.corpus import material as m
from tests.activities.safety.corpus.documented import PERSONAL
from tests.activities.safety.corpus.material import Labelled

LEVELS = ("INFO", "WARN", "ERROR", "debug", "[error]", "E1121 07:54:28.653491", "<3>")
COMPONENTS = ("checkout", "c.s.payment.Gateway", "kube-proxy", "nginx", "worker-7", "OrderSaga")
PHRASES = (
    "retrying call",
    "config dump",
    "unhandled rejection",
    "startup arguments",
    "request headers",
    "connection options",
)
KEYS = (
    "password",
    "passwd",
    "pwd",
    "db.password",
    "DB_PASSWORD",
    "smtp_pass",
    "admin-password",
    "rootPassword",
    "SPRING_REDIS_PASSWORD",
    "clientSecret",
    "client_secret",
    "app_secret",
    "JWT_SECRET",
    "session_secret",
    "api_key",
    "apiKey",
    "API-KEY",
    "accessKey",
    "auth_token",
    "authToken",
    "access_token",
    "bearer_token",
    "private_key",
    "encryption_key",
    "passphrase",
    "keystore.password",
)
FORMS = (
    "{k}={v}",
    "{k}: {v}",
    '"{k}":"{v}"',
    '"{k}": "{v}"',
    "'{k}': '{v}'",
    "{k}='{v}'",
    '{k} = "{v}"',
    '\\"{k}\\":\\"{v}\\"',
    "--{k}={v}",
    "--{k} {v}",
    "{k}=>{v}",
    "<{k}>{v}</{k}>",
    "{k}:={v}",
    "?{k}={v}&page=2",
    "[{k}={v}]",
    "({k}={v})",
    "{k}%3D{v}",
)
SCHEMES = ("Bearer", "Token", "ApiKey", "token", "bearer", "SSWS")
PROTOCOLS = ("postgresql", "mysql", "redis", "amqps", "mongodb", "https", "ftp", "ldap", "nats", "clickhouse")


def secrets(seed: int, *, count: int = 420) -> list[Labelled]:
    """So many lines, each with a credential."""
    rng = random.Random(seed)
    return [_secret(rng) for _ in range(count)]


def _lead(rng: random.Random) -> str:
    return f"{rng.choice(LEVELS)} {rng.choice(COMPONENTS)}: {rng.choice(PHRASES)} "


def _secret(rng: random.Random) -> Labelled:
    lead, kind = _lead(rng), rng.random()
    if kind < 0.35:
        name = rng.choice(sorted(m.SHAPES))
        value = m.SHAPES[name](rng)
        body = value.rpartition("services/")[2] if "webhook" in name else value
        before, after = rng.choice(
            (
                ("", ""),
                ('"', '"'),
                ("(", ")"),
                ("value ", " given"),
                ("arg[3]=", ""),
                ("\t", "\n"),
                ("`", "`"),
                ("<", ">"),
            )
        )
        return Labelled(f"{lead}{before}{value}{after}", (body,), name)
    if kind < 0.75:
        key, form = rng.choice(KEYS), rng.choice(FORMS)
        value = (m.password if random.Random(key).random() < 0.5 else m.random_token)(rng)
        if form == "{k}%3D{v}":
            value = m.random_token(rng)
        return Labelled(lead + form.replace("{k}", key).replace("{v}", value), (value,), f"{key} as {form}")
    if kind < 0.87:
        value, protocol = (m.password if rng.random() < 0.6 else m.odd_password)(rng), rng.choice(PROTOCOLS)
        return Labelled(
            (
                f"{lead}{protocol}://svc:{value}@{rng.choice(('db-1', 'cache.internal', '10.1.2.3'))}:"
                f"{rng.randrange(1000, 9999)}/x"
            ),
            (value,),
            protocol,
        )
    value, scheme = m.random_token(rng), rng.choice(SCHEMES)
    header = rng.choice(
        (
            "Authorization: {s} {v}",
            '"authorization": "{s} {v}"',
            "authorization={s} {v}",
            "-H 'Authorization: {s} {v}'",
            "X-Vault-Token: {v}",
            "Cookie: sid={v}",
        )
    )
    return Labelled(lead + header.format(s=scheme, v=value), (value,), header)


def personal(seed: int, *, count: int = 240) -> list[Labelled]:
    """So many lines with personal data."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        kind, context, draw = PERSONAL[number % len(PERSONAL)]
        datum = draw(rng)
        found.append(Labelled(f"{_lead(rng)}{context.format(datum)}", (datum.strip('"'),), kind))
    return found


WORDS = (
    "token",
    "password",
    "secret",
    "key",
    "session",
    "cookie",
    "signature",
    "credential",
    "auth",
    "pin",
    "card",
    "phone",
    "email",
    "address",
    "name",
)
STATES = (
    "missing",
    "expired",
    "is invalid",
    "not found",
    "rejected by upstream",
    "rotation scheduled",
    "cache miss",
    "validation failed",
    "required",
    "too long",
)
COUNTED = (
    "tokens",
    "secrets_total",
    "active_sessions",
    "password_resets",
    "key_count",
    "cards_declined",
    "emails_sent",
)


def harmless(seed: int, *, count: int = 320) -> list[str]:
    """So many lines that must stay."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        lead = _lead(rng)
        found.append(
            lead
            + (
                f"{rng.choice(WORDS)} {rng.choice(STATES)}",
                f"{rng.choice(WORDS)}: {rng.choice(STATES[:5])}",
                f"{rng.choice(COUNTED)}={rng.randrange(100000)}",
                f"{rng.choice(WORDS)}Name=checkout-{m.chars(m.LOWER, 5)(rng)}",
                f"trace_id={m.chars(m.HEX, 32)(rng)} duration={rng.random():.6f}",
                f"GET /v1/{rng.choice(WORDS)}s/{rng.randrange(10**6)} 404 {rng.randrange(10**6)}us",
                f"{rng.choice(WORDS)}_path=/etc/shop/{rng.choice(WORDS)}.json",
                f'etag W/"{m.chars(m.HEX, 40)(rng)}" id {m.uuid(rng)} 10.7.3.4:{rng.randrange(9999)}',
            )[number % 8]
        )
    return found
