"""Secrets and personal data become pseudonyms; what says what is wrong stays."""

import base64
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.safety.formats import formats
from activities.safety.personal import AddressPolicy
from activities.safety.redaction import Redactor, without_pseudonyms
from activities.safety.rule import TOKEN
from activities.safety.scanner import widened
from tests.activities.safety.corpus import documented, generated, harmless
from tests.activities.safety.corpus.material import Labelled

REDACTOR = Redactor(b"k" * 32, "default")
SEED = 20_261_124


def missed(lines: list[Labelled]) -> dict[str, list[str]]:
    """The lines of each kind of which a secret survives."""
    found = defaultdict(list)
    for line, clean in zip(lines, REDACTOR.redact_all([line.text for line in lines]), strict=True):
        if any(secret in clean for secret in line.secrets):
            found[line.kind].append(clean)
    return dict(found)


def recall(lines: list[Labelled]) -> float:
    return 1 - sum(len(found) for found in missed(lines).values()) / len(lines)


@pytest.mark.parametrize("lines", [documented.secrets(), generated.secrets(SEED)], ids=["documented", "generated"])
def test_secrets_are_cut(lines: list[Labelled]) -> None:
    assert len(lines) >= 400
    assert recall(lines) >= 0.99, missed(lines)


@pytest.mark.parametrize("lines", [documented.personal(), generated.personal(SEED)], ids=["documented", "generated"])
def test_personal_data_is_cut(lines: list[Labelled]) -> None:
    assert recall(lines) >= 0.95, missed(lines)
    of_kind = {kind: [line for line in lines if line.kind == kind] for kind in {line.kind for line in lines}}
    assert {kind: recall(some) for kind, some in of_kind.items() if recall(some) < 0.95} == {}


@pytest.mark.parametrize("lines", [harmless.harmless(), generated.harmless(SEED)], ids=["documented", "generated"])
def test_harmless_lines_stay(lines: list[str]) -> None:
    assert len(lines) >= 300
    cut = [(line, clean) for line, clean in zip(lines, REDACTOR.redact_all(lines), strict=True) if line != clean]
    assert len(cut) <= 0.02 * len(lines), cut


def test_redacting_twice_is_redacting_once() -> None:
    labelled = [*documented.secrets(), *documented.personal(), *generated.secrets(SEED), *generated.personal(SEED)]
    once = REDACTOR.redact_all([line.text for line in labelled])
    assert REDACTOR.redact_all(once) == once


@given(st.text(max_size=400))
def test_of_any_text_as_well(text: str) -> None:
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


@given(
    st.text(
        alphabet=st.characters(codec="ascii", exclude_characters="\r\n\"'\\\\[]", min_codepoint=33),
        min_size=8,
        max_size=40,
    ),
    st.integers(0, 9),
)
def test_a_quoted_password_never_passes(secret: str, digit: int) -> None:
    """Whatever characters it has, unless it reads as a placeholder or as the address of one."""
    password = f"q{digit}{secret}"
    assert f'"{password}"' not in REDACTOR.redact(f'connect with password="{password}" please')


def test_many_texts_are_redacted_as_each_alone() -> None:
    texts = [line.text for line in documented.secrets()] + harmless.harmless() + ["", "ä\x00ö password=ünïcödé-99"]
    assert REDACTOR.redact_all(texts) == [REDACTOR.redact(text) for text in texts]


def test_the_same_thing_has_the_same_pseudonym_and_another_key_another() -> None:
    first = REDACTOR.redact("mail Bob.Smith@example.com")
    assert REDACTOR.redact("bounced: bob.smith%40example.com").endswith(first.removeprefix("mail "))
    assert REDACTOR.redact("card 4111 1111 1111 1111")[5:] == REDACTOR.redact("pan=4111111111111111")[4:]
    others = (Redactor(b"l" * 32, "default"), Redactor(b"k" * 32, "other"))
    assert len({first, *(other.redact("mail Bob.Smith@example.com") for other in others)}) == 3
    assert TOKEN.search(first)
    assert without_pseudonyms(first) == "mail [email]"


def test_a_key_that_names_a_secret_costs_its_value() -> None:
    clean = REDACTOR.redact_mapping({"db_password": "x y z", "service": "cart", "customer_name": "Jane Doe"})
    assert clean["db_password"].startswith("[secret:")
    assert clean["customer_name"].startswith("[person:")
    assert clean["service"] == "cart"


def test_addresses_follow_the_policy() -> None:
    line = "10.0.0.7 asked 81.2.69.142 and 2a02:8108:1::7"
    kept, private, none = (Redactor(b"k" * 32, "t", policy).redact(line) for policy in AddressPolicy)
    assert kept == line
    assert private.startswith("10.0.0.7 asked [ip:")
    assert "81.2.69.142" not in private
    assert "2a02" not in private
    assert "10.0.0.7" not in none


def test_every_format_has_a_source_and_is_looked_for() -> None:
    assert len(formats()) >= 80
    assert all(item.source for item in formats())
    assert widened(r"(?<![\w.])ab{2,40}c{3}(?![x])") == r"(?:^|[^\w.])ab{2,}c{3}(?:$|[^x])"


def test_base64_of_something_harmless_stays() -> None:
    text = base64.b64encode(b"the token bucket is empty, nothing to see").decode()
    assert REDACTOR.redact(f"payload {text}") == f"payload {text}"


HOSTILE = (
    *("password ", "password:", "a@b.", "eyJ", "eyJabcdefgh.", "mysql ", "curl a -u ", "4111 ", "4", "DE12 ABCD "),
    *("cGFzc3dvcmQ", "s.", 'token="', "<password ", "first_name: A ", "address: 1 a, ", "phone 1-", "http://a:b"),
    *("-----BEGIN RSA " + "PRIVATE KEY-----", "abc\n", "cookie: a=b; ", "authorization: digest a=b, ", "a", "+1 2 3 "),
    *("0123456789abcdef", "secret=a&", "token=\\", "password is ", "net use a b c /user:", "echo a |"),
)


@pytest.mark.timeout(120)
def test_no_text_takes_long() -> None:
    """Of each of these a hundred kilobytes take well under two seconds; what grows with the square took a minute."""
    texts = [unit * (100_000 // len(unit)) for unit in HOSTILE]
    clean = REDACTOR.redact_all(texts)
    assert len(clean) == len(texts)
    assert clean[HOSTILE.index("a")] == texts[HOSTILE.index("a")]
    assert clean[HOSTILE.index("cookie: a=b; ")].count("[secret:") == 100_000 // len("cookie: a=b; ")


def test_a_long_key_block_is_cut_whole() -> None:
    body = "\n".join("A1b2C3d4E5f6G7h8" * 4 for _ in range(700))
    name = "PGP " + "PRIVATE KEY BLOCK"
    assert REDACTOR.redact(f"before -----BEGIN {name}-----\n{body}\n-----END {name}----- after").count("A1b2") == 0
