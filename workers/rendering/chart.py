"""Small charts of a finding's series."""

from collections.abc import Sequence

from activities.analysis.wording import quantity

_BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 96, 58, 18, 8
"""Of a chart and its margins, in pixels."""

Points = Sequence[tuple[float, float]]
_MINUTE = 60.0


def sparkline(points: Points, width: int = 40) -> str:
    """The series as a row of block characters; empty without points."""
    values = [value for _, value in points][-width:]
    return "".join(_BLOCKS[min(7, int(part * 8))] for part in _fractions(values))


def _fractions(values: Sequence[float]) -> list[float]:
    """Each value's place between the least and the largest, 0 to 1; all 0 when they are equal."""
    if not values:
        return []
    # Halved first: the difference of two very large numbers would not be finite.
    low, high = min(values) / 2, max(values) / 2
    return [(value / 2 - low) / ((high - low) or 1.0) for value in values]


def svg(points: Points, unit: str = "") -> str:
    """The series as an inline SVG: both axes, the unit, and a line at the alert; empty with less than two points."""
    if len(points) < 2:
        return ""
    times, values = [time for time, _ in points], [value for _, value in points]
    left, right = min(*times, 0.0), max(*times, 0.0)
    low, high = min(values), max(values)

    def x(time: float) -> float:
        return LEFT + (time - left) / ((right - left) or 1.0) * (WIDTH - LEFT - TOP)

    heights = (HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP) for part in _fractions(values))
    path = " ".join(f"{x(time):.1f},{height:.1f}" for time, height in zip(times, heights, strict=True))
    base, label_x = HEIGHT - BOTTOM, LEFT - 4
    most, least = _shown(high, unit), _shown(low, unit)
    alert = x(0)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="from {least} to {most}, the alert at 0">'
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{base}"/>'
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - TOP}" y1="{base}" y2="{base}"/>'
        f'<text x="{label_x}" y="{TOP + 8}" text-anchor="end">{most}</text>'
        f'<text x="{label_x}" y="{base}" text-anchor="end">{least}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 5}">{_minutes(left)}</text>'
        f'<text class="alert" x="{alert:.1f}" y="{HEIGHT - 5}" text-anchor="{_anchor(alert)}">alert</text>'
        f'<line class="alert" x1="{alert:.1f}" x2="{alert:.1f}" y1="{TOP}" y2="{base}"/>'
        f'<polyline points="{path}"/></svg>'
    )


def _shown(value: float, unit: str) -> str:
    """A value of the axis; counted things without their name, which stands in the sentence beside it."""
    plain = unit if unit in ("ratio", "cores", "%", "s", "ms", "us", "By", "By/s") else ""
    return quantity(value, plain)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if abs(seconds) < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} min"


def _anchor(position: float) -> str:
    return "end" if position > WIDTH - 3 * TOP else "middle"
