"""The page shows the parameters as they are, each says what it means, and no module keeps numbers of its own."""

import ast
from dataclasses import fields
from pathlib import Path

from activities.analysis.parameters import DEFAULT, LIMITS, table
from tests.conftest import PROJECT

PAGE = PROJECT / "activities" / "analysis" / "README.md"
BEGIN, END = "<!-- parameters -->\n", "<!-- end of parameters -->"


def test_the_table_of_the_page_is_the_one_of_the_code() -> None:
    """After a change: `python -m activities.analysis.parameters`, between the two comments."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == table()


def test_every_parameter_says_what_it_means() -> None:
    rows = [row.split(" | ") for row in table().splitlines() if row.startswith("| `")]
    assert len(rows) == len(fields(DEFAULT)) + len(fields(LIMITS))
    assert [row[0] for row in rows if not row[2].strip(" |")] == []


DEFINITIONS = {
    "change_points.LATER": "a mark in place of a number",
    "change_points.EARLIER": "another one",
    "wording._SECONDS": "units",
    "recurrence.LARGEST_INTERVAL": "what a rule may say",
    "shares.PERCENT": "a unit",
    "verification.TOLERANCE": "the digits that a number of a claim is rounded to",
}


def _is_a_number(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant | ast.UnaryOp | ast.Tuple | ast.BinOp) and any(
        isinstance(part, ast.Constant) and isinstance(part.value, int | float) and not isinstance(part.value, bool)
        for part in ast.walk(value)
    )


def _numbers_of(module: Path) -> set[str]:
    """The constants of a module that are numbers, or tuples of them."""
    found = set()
    for statement in ast.parse(module.read_text()).body:
        if isinstance(statement, ast.Assign) and _is_a_number(statement.value):
            found |= {f"{module.stem}.{name.id}" for name in statement.targets if isinstance(name, ast.Name)}
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found |= {f"{module.stem}.{statement.target.id}"} if _is_a_number(statement.value) else set()
    return found


def test_no_module_of_the_engine_has_numbers_of_its_own() -> None:
    rooms = [PROJECT / "activities" / "analysis", PROJECT / "activities" / "reporting"]
    found = {name for room in rooms for module in room.rglob("*.py") for name in _numbers_of(module)}
    assert found == set(DEFINITIONS)
