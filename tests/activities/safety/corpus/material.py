"""Credentials and personal data as their documentation describes them, made at run time from drawn characters.

No literal in this folder is one: prefixes and bodies meet only when the tests run.
"""

import base64
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
LETTERS, ALNUM, HEX = LOWER + UPPER, LOWER + UPPER + DIGITS, "0123456789abcdef"
URLSAFE, BASE64, BASE32 = ALNUM + "-_", ALNUM + "+/", UPPER + "234567"
Draw = Callable[[random.Random], str]


@dataclass(frozen=True)
class Labelled:
    """A line, and what of it must not survive."""

    text: str
    secrets: tuple[str, ...]
    kind: str


def chars(alphabet: str, count: int) -> Draw:
    """So many characters of an alphabet, the first of them a letter where there is one."""

    def draw(rng: random.Random) -> str:
        return "".join(rng.choice(alphabet) for _ in range(count))

    return draw


def joined(*parts: str | Draw) -> Draw:
    """Parts one after the other."""

    def draw(rng: random.Random) -> str:
        return "".join(part if isinstance(part, str) else part(rng) for part in parts)

    return draw


def uuid(rng: random.Random) -> str:
    """A UUID of version 4."""
    return "-".join(chars(HEX, size)(rng) for size in (8, 4, 4, 4, 12))


def jwt(rng: random.Random) -> str:
    """A JSON Web Token: header, payload and signature."""
    parts = ['{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{rng.randrange(10**9)}","iat":1732000000}}']
    encoded = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, chars(URLSAFE, 43)(rng)])


def pem(rng: random.Random, name: str = "RSA PRIVATE KEY") -> str:
    """A private key in PEM."""
    body = "\n".join(chars(BASE64, 64)(rng) for _ in range(4))
    return f"-----BEGIN {name}-----\n{body}\n-----END {name}-----"


SHAPES: dict[str, Draw] = {
    "AWS access key": joined("AKIA", chars(BASE32, 16)),
    "AWS temporary access key": joined("ASIA", chars(BASE32, 16)),
    "AWS session token": joined("IQoJb3JpZ2lu", chars(BASE64, 180)),
    "Azure client secret": joined(chars(ALNUM, 3), "8Q~", chars(ALNUM + "~._-", 33), "a"),
    "Google access token": joined("ya29.", chars(URLSAFE, 60)),
    "Google client secret": joined("GOCSPX-", chars(URLSAFE, 28)),
    "Google API key": joined("AIza", chars(ALNUM, 35)),
    "Google refresh token": joined("1//0", chars(URLSAFE, 60)),
    "Alibaba key": joined("LTAI", chars(ALNUM, 20)),
    "GitHub classic token": joined("ghp_", chars(ALNUM, 36)),
    "GitHub server token": joined("ghs_", chars(ALNUM, 36)),
    "GitHub fine-grained token": joined("github_pat_", chars(ALNUM, 22), "_", chars(ALNUM, 59)),
    "GitLab token": joined("glpat-", chars(URLSAFE, 20)),
    "GitLab runner token": joined("glrt-", chars(URLSAFE, 20)),
    "GitLab job token": joined("glcbt-", chars(ALNUM, 24)),
    "Atlassian token": joined("ATATT3xFfGF0", chars(URLSAFE, 100)),
    "Slack bot token": joined("xoxb-", chars(DIGITS, 12), "-", chars(DIGITS, 12), "-", chars(ALNUM, 24)),
    "Slack app token": joined("xapp-1-A", chars(UPPER + DIGITS, 10), "-", chars(DIGITS, 13), "-", chars(HEX, 64)),
    "Slack webhook": joined(
        "https://hooks.slack.com/", "services/T", chars(UPPER, 8), "/B", chars(UPPER, 8), "/", chars(ALNUM, 24)
    ),
    "Discord token": joined("MT", chars(ALNUM, 22), ".", chars(ALNUM, 6), ".", chars(ALNUM, 38)),
    "Telegram token": joined("9", chars(DIGITS, 9), ":AA", chars(URLSAFE, 32), "x"),
    "Vault service token": joined("hvs.", chars(URLSAFE, 90)),
    "Vault old token": joined("s.", chars(ALNUM, 24)),
    "Vault batch token": joined("hvb.", chars(URLSAFE, 138)),
    "Terraform token": joined(chars(ALNUM, 14), ".atlasv1.", chars(ALNUM, 67)),
    "Stripe secret key": joined("sk_", "live_", chars(ALNUM, 24)),
    "Stripe restricted key": joined("rk_", "live_", chars(ALNUM, 99)),
    "Stripe webhook secret": joined("whsec_", chars(ALNUM, 32)),
    "Square token": joined("sq0atp-", chars(URLSAFE, 22)),
    "PayPal token": joined("access_token$production$", chars(LOWER + DIGITS, 16), "$", chars(HEX, 32)),
    "Plaid token": joined("access-production-", uuid),
    "SendGrid key": joined("SG.", chars(URLSAFE, 22), ".", chars(URLSAFE, 43)),
    "Mailgun key": joined("key-", chars(HEX, 32)),
    "Mailchimp key": joined(chars(HEX, 32), "-us14"),
    "Brevo key": joined("xkeysib-", chars(HEX, 64), "-", chars(ALNUM, 16)),
    "Twilio key": joined("SK", chars(HEX, 32)),
    "npm token": joined("npm_", chars(ALNUM, 36)),
    "PyPI token": joined("pypi-AgEIcHlwaS5vcmc", chars(URLSAFE, 120)),
    "RubyGems key": joined("rubygems_", chars(HEX, 48)),
    "Cargo token": joined("cio", chars(ALNUM, 32)),
    "NuGet key": joined("oy2", chars(LOWER + DIGITS, 43)),
    "Docker token": joined("dckr_pat_", chars(URLSAFE, 27)),
    "DigitalOcean token": joined("dop_v1_", chars(HEX, 64)),
    "Heroku key": joined("HRKU-", uuid),
    "Fly token": joined("fo1_", chars(URLSAFE, 43)),
    "Netlify token": joined("nfp_", chars(ALNUM, 40)),
    "Hugging Face token": joined("hf_", chars(LETTERS, 34)),
    "OpenAI key": joined("sk-proj-", chars(URLSAFE, 48)),
    "Anthropic key": joined("sk-ant-api03-", chars(URLSAFE, 93), "AA"),
    "Groq key": joined("gsk_", chars(ALNUM, 52)),
    "Replicate token": joined("r8_", chars(ALNUM, 37)),
    "New Relic user key": joined("NRAK-", chars(UPPER + DIGITS, 27)),
    "New Relic licence": joined(chars(HEX, 32), "FFFFNRAL"),
    "Grafana token": joined("glsa_", chars(ALNUM, 32), "_", chars(HEX, 8)),
    "Grafana cloud token": joined("glc_", chars(ALNUM, 80), "="),
    "Sentry token": joined("sntryu_", chars(HEX, 64)),
    "Dynatrace token": joined("dt0c01.", chars(BASE32, 24), ".", chars(BASE32, 64)),
    "Databricks token": joined("dapi", chars(HEX, 32)),
    "Shopify token": joined("shpat_", chars(HEX, 32)),
    "age key": joined("AGE-SECRET-KEY-1", chars("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "Linear key": joined("lin_api_", chars(ALNUM, 40)),
    "Notion token": joined("ntn_", chars(ALNUM, 46)),
    "Figma token": joined("figd_", chars(URLSAFE, 40)),
    "Airtable token": joined("pat", chars(ALNUM, 14), ".", chars(HEX, 64)),
    "Doppler token": joined("dp.pt.", chars(ALNUM, 43)),
    "Postman key": joined("PMAK-", chars(HEX, 24), "-", chars(HEX, 34)),
    "Pulumi token": joined("pul-", chars(HEX, 40)),
    "LaunchDarkly key": joined("sdk-", uuid),
    "Tailscale key": joined("tskey-auth-", chars(ALNUM, 12), "-", chars(ALNUM, 32)),
    "SonarQube token": joined("squ_", chars(HEX, 40)),
    "Artifactory key": joined("AKCp", chars(ALNUM, 69)),
    "PlanetScale password": joined("pscale_pw_", chars(URLSAFE, 43)),
    "Supabase key": joined("sbp_", chars(HEX, 40)),
    "Aiven password": joined("AVNS_", chars(ALNUM, 19)),
    "Sourcegraph token": joined("sgp_", chars(HEX, 40)),
    "JSON Web Token": jwt,
    "bcrypt hash": joined("$2b$12$", chars(ALNUM + "./", 53)),
}
"""Credentials that are recognised by their shape, by name."""


def password(rng: random.Random) -> str:
    """A password as people and generators choose them."""
    kind = rng.randrange(5)
    if kind == 0:
        return chars(LOWER, 7)(rng) + chars(DIGITS, 2)(rng)
    if kind == 1:
        return chars(ALNUM, 16)(rng) + "9a"
    if kind == 2:
        return chars(LETTERS, 6)(rng) + rng.choice("!$%^*+?") + chars(DIGITS, 4)(rng)
    if kind == 3:
        return "-".join(chars(LOWER, 5)(rng) for _ in range(3)) + "7"
    return chars(UPPER, 1)(rng) + chars(LOWER, 8)(rng) + chars(DIGITS, 3)(rng)


def odd_password(rng: random.Random) -> str:
    """A password with characters that mean something elsewhere."""
    return (
        chars(LOWER, 4)(rng) + rng.choice("@:/#?&") + chars(ALNUM, 5)(rng) + rng.choice("@:!$") + chars(DIGITS, 2)(rng)
    )


def random_token(rng: random.Random) -> str:
    """An opaque token."""
    return chars(ALNUM, rng.choice((24, 32, 40)))(rng) + "7x"


def luhn(digits: str) -> str:
    """`digits` with their check digit (ISO/IEC 7812-1)."""
    total = sum(sum(divmod(2 * int(char), 10)) for char in digits[::-2])
    total += sum(int(char) for char in digits[-2::-2])
    return digits + str(-total % 10)


def card(rng: random.Random, prefix: str, length: int) -> str:
    """A payment card's number."""
    return luhn(prefix + chars(DIGITS, length - len(prefix) - 1)(rng))


def in_fours(digits: str, gap: str) -> str:
    """Digits in groups of four."""
    return gap.join(digits[place : place + 4] for place in range(0, len(digits), 4))


def iban(rng: random.Random, country: str, bban: Draw) -> str:
    """An account number with its check digits (ISO 13616)."""
    body = bban(rng)
    value = int("".join(str(int(char, 36)) for char in body + country + "00"))
    return f"{country}{98 - value % 97:02d}{body}"


def nir(rng: random.Random) -> str:
    """A French social security number with its key."""
    body = (
        f"{rng.choice('12')}{rng.randrange(40, 99):02d}{rng.randrange(1, 13):02d}{rng.randrange(1, 95):02d}"
        f"{rng.randrange(1, 999):03d}{rng.randrange(1, 999):03d}"
    )
    return f"{body}{97 - int(body) % 97:02d}"


def nie(rng: random.Random) -> str:
    """A Spanish number of a foreigner with its letter."""
    first, digits = rng.choice("XYZ"), chars(DIGITS, 7)(rng)
    return f"{first}{digits}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(str('XYZ'.index(first)) + digits) % 23]}"


def dni(rng: random.Random) -> str:
    """A Spanish identity card's number with its letter."""
    digits = chars(DIGITS, 8)(rng)
    return digits + "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23]


def ssn(rng: random.Random) -> str:
    """A social security number of the United States."""
    return f"{rng.randrange(101, 665):03d}-{rng.randrange(11, 99):02d}-{rng.randrange(1000, 9999):04d}"


def nino(rng: random.Random) -> str:
    """A British National Insurance number."""
    return (
        (
            f"{rng.choice('ACEHJ')}{rng.choice('ACEHJ')} {rng.randrange(10, 99)} {rng.randrange(10, 99)}"
            f" {rng.randrange(10, 99)} {rng.choice('ABCD')}"
        )
        .replace("GB", "AB")
        .replace("TN", "AB")
    )


FIRST = ("Anna", "Liam", "Noor", "Jürgen", "Chloé", "Mateo", "Aisha", "Oleg", "Ingrid", "Tomás", "Priya")
LAST = (
    "Schneider",
    "O'Brien",
    "Nguyen",
    "García",
    "Kowalska",
    "Müller",
    "Haddad",
    "Petrov",
    "Lindqvist",
    "Okafor",
    "Silva",
    "Tanaka",
)


def person(rng: random.Random) -> str:
    """A person's name."""
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def mailbox(rng: random.Random) -> str:
    """An e-mail address."""
    first, last = rng.choice(FIRST[:3]).lower(), rng.choice(LAST[2:3]).lower()
    return (
        f"{first}{rng.choice(('.', '_', '+', '-'))}{last}{rng.randrange(1, 99)}@{rng.choice(('mail', 'corp', 'post'))}"
        f".{rng.choice(('example.com', 'example.org', 'shop.example', 'example.co.uk'))}"
    )
