"""Reports for people: hostile text stays text, charts stay finite."""

import re

from hypothesis import given
from hypothesis import strategies as st

from workers.rendering.chart import sparkline, svg
from workers.rendering.plain_text import markdown, one_line

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), FINITE), max_size=80))
def test_charts_are_finite(points: list[tuple[float, float]]) -> None:
    drawing = svg(points)
    assert "nan" not in drawing
    assert "inf" not in drawing
    assert len(sparkline(points)) <= 40


@given(st.text(max_size=600))
def test_one_line_is_one_line_without_control_characters(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert not any(char in line for char in "\n\r\x1b\x00\u202e\u2028\u061c\ufeff")


def test_markdown_does_nothing() -> None:
    text = markdown("[x](http://evil) <b> `c` **d** www.evil.example | # ~~e~~ ![i](http://evil)")
    assert re.search(r"(?<!\\)[\[\]<`*!|#~]", text) is None, "everything active is escaped"
    assert "://" not in text
    assert "www.e" not in text
