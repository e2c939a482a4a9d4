"""Lines in the shapes that services write."""

import pytest

from activities.telemetry.log_lines import Line, line_of

PLAIN = "2026-11-27 12:00:01 ERROR [main] cannot connect"
CASES = [
    (
        '{"level":"error","msg":"charge failed","trace_id":"t","span_id":"s"}',
        {},
        Line("error", "charge failed", "t", "s"),
    ),
    ('{"severity":"WARNING","message":"slow","traceId":"t"}', {}, Line("warning", "slow", "t", "")),
    ('time=2026 level=warn msg="pool is \\"full\\"" trace_id=abc', {}, Line("warning", 'pool is "full"', "abc", "")),
    (PLAIN, {}, Line("error", PLAIN, "", "")),
    ("E1127 plain text of nobody", {}, Line("", "E1127 plain text of nobody", "", "")),
    ("said by the label", {"detected_level": "fatal", "trace_id": "t"}, Line("critical", "said by the label", "t", "")),
    ("unknown is no level", {"detected_level": "unknown"}, Line("", "unknown is no level", "", "")),
    ('{"not closed": ', {}, Line("", '{"not closed": ', "", "")),
    ('["a list"]', {}, Line("", '["a list"]', "", "")),
    ("the word error in a sentence is no level", {}, Line("", "the word error in a sentence is no level", "", "")),
]


@pytest.mark.parametrize(("text", "about", "expected"), CASES)
def test_lines(text: str, about: dict[str, str], expected: Line) -> None:
    assert line_of(text, about) == expected
