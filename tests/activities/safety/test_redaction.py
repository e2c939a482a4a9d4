"""Secrets and personal data do not pass; ordinary text does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.safety.redaction import redact, redact_mapping

AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password=hunter2hunter2 user=bob", "hunter2hunter2"),
        ('{"api_key": "abc def"}', "abc def"),
        ("postgres://u:p4ss-word@h/db", "p4ss-word"),
        ("mail to bob.smith+x@mail.example.com now", "bob.smith"),
        ("card 4111 1111 1111 1111 declined", "4111 1111"),
        ("paid from GB82 WEST 1234 5698 7654 32", "5698"),
        ("Authorization: Bearer abcdefghijklmnopqrst", "abcdefghijklmnop"),
        (f"key {AWS_KEY} used", AWS_KEY),
        ("ghp_" + "a" * 36, "a" * 36),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJzdWIiOiIxIn0"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("ssn 078-05-1120 on file", "078-05-1120"),
        ("hvs." + "CAESIJ" * 6, "CAESIJ"),
    ],
)
def test_secrets_are_cut(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "[redacted:" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112 for shopper 12 took 15 ms",
        "connection to 10.0.0.12:5432 refused",
        "GET /api/cart?id=77 200 0.012",
        "trace 90715612d96f76a0da4ebe6abeb583f4 span a3a2b887c1473b64",
        "2026-11-21T07:54:28.653491Z token bucket is empty",
        'File "evals/lab/service.py", line 141, in serve',
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=400))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(
    st.text(alphabet=st.characters(codec="ascii", exclude_characters="\r\n\"'"), min_size=4, max_size=40).map(str.strip)
)
def test_a_quoted_password_never_passes(secret: str) -> None:
    if len(secret) >= 4 and "redacted" not in secret:
        assert f'"{secret}"' not in redact(f'connect with password="{secret}" please')


def test_a_key_that_names_a_secret_costs_its_value() -> None:
    assert redact_mapping({"db_password": "x y z", "service": "cart"}) == {
        "db_password": "[redacted:assigned-secret]",
        "service": "cart",
    }
