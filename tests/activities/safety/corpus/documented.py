"""The first labelled set: every documented shape, and every way of writing credentials and personal data down."""

import base64
import random
from urllib.parse import quote

from tests.activities.safety.corpus import material as m
from tests.activities.safety.corpus.material import Labelled

SHAPED = (
    "{}",
    'level=error msg="upstream rejected us" detail={}',
    "2026-11-21 07:54:28,653 ERROR [main] c.s.Client - request with {} was refused",
    '{{"ts":"2026-11-21T07:54:28Z","payload":"{}"}}',
    "curl -H 'X-Custom: {}' https://api.example.com/v1/items",
)
ASSIGNED = (
    "password={}",
    "password = {}",
    "PASSWORD: {}",
    "db_password={} db_host=db.internal",
    "DB_PASS={}",
    "pass={}",
    "passphrase={}",
    "--password {}",
    "--password={}",
    "spring.datasource.password={}",
    '{{"user":"app","password":"{}"}}',
    '{{"msg":"{{\\"user\\":\\"app\\",\\"password\\":\\"{}\\"}}"}}',
    "{{'passwd': '{}'}}",
    "<password>{}</password>",
    '<add key="DbPassword" value="{}"/>',
    'datasource(user="app", password="{}")',
    "Server=db;Database=shop;User Id=app;Password={};Encrypt=true",
    "host=db port=5432 user=app password={} dbname=shop",
    "PGPASSWORD={} psql -h db -U app",
    "export MYSQL_PWD={}",
    "the password was {}",
    "the new password is {} for now",
    "Password for app: {}",
    "das Passwort lautet {}",
    "Passwort: {}",
    "Kennwort={}",
    "le mot de passe est {}",
    "la contraseña es {}",
    "contraseña: {}",
    "clave={}",
    "mdp={}",
    "secret={}",
    "client_secret={}&grant_type=client_credentials",
    "password:\n  {}",
    "password%3D{}",
    "%22password%22%3A%22{}%22",
    "CREATE USER app IDENTIFIED BY '{}'",
    "ALTER ROLE app WITH PASSWORD '{}'",
    "requirepass {}",
    "sshpass -p {} ssh app@host",
    "mysql -u root -p{} shop",
    "redis-cli -h cache -a {} ping",
    "login app password {}",
    "docker login -u app -p {} registry.example.com",
    "curl -u app:{} https://api.example.com/",
    "openssl rsa -passin pass:{} -in key.pem",
    "dbPassword={}",
    "'password' => '{}',",
    'user_password: "{}"',
    "vault kv put secret/app password={}",
)
TOKENS = (
    "Authorization: Bearer {}",
    "authorization: token {}",
    "Authorization: ApiKey {}",
    '{{"Authorization":"Bearer {}"}}',
    "Proxy-Authorization: Negotiate {}",
    "Authorization: GenieKey {}",
    "Authorization: Splunk {}",
    'Authorization: Digest username="app", realm="shop", nonce="abc", uri="/", response="{}"',
    "Authorization: AWS4-HMAC-SHA256 Credential=x/20261121/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature={}",
    'Authorization: Hawk id="app", ts="1353832234", mac="{}"',
    "X-Api-Key: {}",
    "X-Auth-Token: {}",
    "api_key={}",
    "apiKey: '{}'",
    "access_token={}&expires_in=3600",
    "GET /v1/items?token={} HTTP/1.1",
    "Cookie: session={}; theme=dark",
    "Set-Cookie: SID={}; Path=/; HttpOnly",
    "jsessionid={}",
    "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={}==;EndpointSuffix=core.windows.net",
    "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={}=",
    "https://shop.blob.core.windows.net/c/b?sv=2022-11-02&sp=r&sig={}%3D",
    "https://s3.amazonaws.com/b/o?X-Amz-Expires=60&X-Amz-Signature={}",
    "aws_secret_access_key = {}",
    '{{"SecretAccessKey": "{}"}}',
    "secret_key: {}",
    "refresh_token={}",
    "//packages.example.com/:_authToken={}",
    "signing_key={}",
    "https://{}@github.com/org/repo.git",
    "SENTRY_AUTH_TOKEN={}",
    "DD_API_KEY={}",
    "webhook_secret={}",
    "bearer {}",
)
URLS = (
    "postgres://app:{}@db.internal:5432/shop",
    "redis://:{}@cache:6379/0",
    "amqp://app:{}@mq/vhost",
    "mongodb+srv://app:{}@cluster0.example.net/shop?retryWrites=true",
    "https://app:{}@api.example.com/v1",
    "could not connect to mysql://root:{}@10.0.0.7:3306/shop: timed out",
)


def secrets(seed: int = 7) -> list[Labelled]:
    """At least 400 lines, each with a credential."""
    rng = random.Random(seed)
    found = []
    for number, (name, draw) in enumerate(m.SHAPES.items()):
        for context in (SHAPED[0], SHAPED[1 + number % 4], SHAPED[1 + (number + 1) % 4]):
            secret = draw(rng)
            body = secret.rpartition("services/")[2] if "webhook" in name else secret
            found.append(Labelled(context.format(secret), (body,), name))
    for context in ASSIGNED:
        for _ in range(2):
            secret = m.password(rng)
            found.append(Labelled(context.format(secret), (secret,), f"assigned: {context}"))
    for context in TOKENS:
        for _ in range(2):
            secret = m.random_token(rng)
            found.append(Labelled(context.format(secret), (secret,), f"token: {context}"))
    for context in URLS:
        for draw in (m.password, m.odd_password, m.odd_password):
            secret = draw(rng)
            found.append(Labelled(context.format(secret), (secret,), f"url: {context}"))
    return found + _other_forms(rng)


def _other_forms(rng: random.Random) -> list[Labelled]:
    found = []
    for name in (
        "RSA PRIVATE KEY",
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ):
        key = m.pem(rng, name)
        lines = tuple(key.split("\n")[1:-1])
        found.append(Labelled(f"loaded\n{key}\nready", lines, f"block: {name}"))
        found.append(Labelled(f'{{"key":"{key.replace(chr(10), chr(92) + "n")}"}}', lines, f"block in JSON: {name}"))
    for text in ("password={}", "user:app\nsecret={}", "AKIA{}", '{{"api_key":"{}"}}', "Authorization: Bearer {}"):
        secret = m.chars(m.BASE32, 16)(rng) if text.startswith("AKIA") else m.random_token(rng)
        encoded = base64.b64encode(text.format(secret).encode()).decode()
        found.append(Labelled(f"config: {encoded}", (encoded,), f"base64: {text}"))
    for _ in range(3):
        secret = base64.b64encode(f"app:{m.password(rng)}".encode()).decode()
        found.append(Labelled(f"Authorization: Basic {secret}", (secret,), "basic"))
    for text in (
        "redirect=https%3A%2F%2Fapp%3A{}%40db.example.com%2Fshop",
        "q=password%3D{}%26x%3D1",
        "next=%2Flogin%3Ftoken%3D{}",
    ):
        secret = m.random_token(rng)
        found.append(Labelled(text.format(quote(secret)), (secret,), f"URL-encoded: {text}"))
    for name in ("GitHub classic token", "npm token", "Hugging Face token", "DigitalOcean token"):
        secret = m.SHAPES[name](rng)
        half = len(secret) // 2
        found.append(
            Labelled(
                f"token\n  {secret[:half]}\n  {secret[half:]}\nend",
                (secret[:half], secret[half:]),
                f"two lines: {name}",
            )
        )
    return found


PERSONAL = (
    ("e-mail", "mail to {} now", m.mailbox),
    ("e-mail", "from=<{}> to=<x>", m.mailbox),
    ("e-mail", "GET /users?email={} 200", lambda rng: m.mailbox(rng).replace("@", "%40")),
    ("e-mail", "Absender: jürgen{}", lambda rng: f"{rng.randrange(99)}@müller-shop.example"),
    ("e-mail", '{{"email":"{}"}}', m.mailbox),
    ("phone", "call {} back", lambda rng: f"+49 170 {rng.randrange(1000000, 9999999)}"),
    ("phone", "phone={}", lambda rng: f"+4420{rng.randrange(79000000, 79999999)}"),
    ("phone", "phone: {}", lambda rng: f"(415) 555-{rng.randrange(1000, 9999)}"),
    ("phone", "Telefon: {}", lambda rng: f"030 {rng.randrange(1000000, 9999999)}"),
    ("phone", "mobile_number={}", lambda rng: f"0612{rng.randrange(100000, 999999)}"),
    ("card", "card {} declined", lambda rng: m.in_fours(m.card(rng, "4", 16), " ")),
    ("card", "pan={}", lambda rng: m.card(rng, "53", 16)),
    ("card", "card {} declined", lambda rng: m.in_fours(m.card(rng, "4", 16), "-")),
    ("card", "amex {}", lambda rng: m.card(rng, "37", 15)),
    ("IBAN", "paid from {}", lambda rng: m.iban(rng, "DE", m.chars(m.DIGITS, 18))),
    (
        "IBAN",
        "paid from {} today",
        lambda rng: m.in_fours(m.iban(rng, "GB", m.joined("WEST", m.chars(m.DIGITS, 14))), " "),
    ),
    ("IBAN", "iban={}", lambda rng: m.iban(rng, "FR", m.chars(m.DIGITS, 23)).lower()),
    ("SSN", "ssn {} on file", m.ssn),
    ("SSN", "applicant {} approved", m.ssn),
    ("NINO", "NI number {}", m.nino),
    ("NIR", "assuré {}", m.nir),
    ("NIE", "extranjero {} registrado", m.nie),
    ("DNI", "dni={}", m.dni),
    ("passport", "passport number: {}", lambda rng: f"C{rng.randrange(10000000, 99999999)}"),
    ("passport", "passport_no={}", lambda rng: f"{rng.randrange(100000000, 999999999)}"),
    ("date of birth", "dob={}", lambda rng: f"19{rng.randrange(50, 99)}-0{rng.randrange(1, 9)}-1{rng.randrange(9)}"),
    (
        "date of birth",
        '{{"date_of_birth":"{}"}}',
        lambda rng: f"1{rng.randrange(9)}/0{rng.randrange(1, 9)}/19{rng.randrange(50, 99)}",
    ),
    (
        "date of birth",
        "Geburtsdatum: {}",
        lambda rng: f"1{rng.randrange(9)}.0{rng.randrange(1, 9)}.19{rng.randrange(50, 99)}",
    ),
    ("name", '{{"full_name":"{}"}}', m.person),
    ("name", 'customer_name="{}" order=17', m.person),
    ("name", "Nachname: {}", lambda rng: rng.choice(m.LAST)),
    ("name", "first_name={}", lambda rng: rng.choice(m.FIRST)),
    ("name", "<cardholder>{}</cardholder>", m.person),
    ("address", '{{"street_address":"{}"}}', lambda rng: f"{rng.randrange(1, 99)} Elm Street"),
    ("address", "shipping_address={}", lambda rng: f'"{rng.randrange(1, 99)} Rue de Rivoli, 75001 Paris"'),
    ("address", "Anschrift: {}", lambda rng: f"Hauptstraße {rng.randrange(1, 99)}, 10115 Berlin"),
    ("address", "zip_code={}", lambda rng: f"{rng.randrange(10000, 99999)}"),
    (
        "IP address",
        "client {} reset",
        lambda rng: f"81.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}",
    ),
)


def personal(seed: int = 11, *, each: int = 6) -> list[Labelled]:
    """Lines with personal data of the stated kinds."""
    rng = random.Random(seed)
    found = []
    for kind, context, draw in PERSONAL:
        for _ in range(each):
            datum = draw(rng)
            found.append(Labelled(context.format(datum), (datum.strip('"'),), kind))
    return found
