"""The page shows the parameters as they are, and each says what it means."""

from dataclasses import fields

from activities.analysis.parameters import DEFAULT, table
from tests.conftest import PROJECT

PAGE = PROJECT / "activities" / "analysis" / "README.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end of parameters -->"


def test_the_table_of_the_page_is_the_one_of_the_code() -> None:
    """After a change: `python -m activities.analysis.parameters`, between the two comments."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == table()


def test_every_parameter_says_what_it_means() -> None:
    rows = [row.split(" | ") for row in table().splitlines()[2:]]
    assert len(rows) == len(fields(DEFAULT))
    assert [row[0] for row in rows if not row[2].strip(" |")] == []
