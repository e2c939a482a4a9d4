"""Small charts of a finding's series."""

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, MARGIN = 260, 56, 4
Points = Sequence[tuple[float, float]]


def sparkline(points: Points, width: int = 40) -> str:
    """The series as a row of block characters; empty without points."""
    values = [value for _, value in points][-width:]
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[min(7, int((value - low) / span * 8))] for value in values)


def svg(points: Points) -> str:
    """The series as an inline SVG with a line at the alert's time; empty with less than two points."""
    if len(points) < 2:
        return ""
    times, values = [time for time, _ in points], [value for _, value in points]
    left, right = min(*times, 0.0), max(*times, 0.0)
    low, high = min(values), max(values)

    def x(time: float) -> float:
        return MARGIN + (time - left) / ((right - left) or 1.0) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (value - low) / ((high - low) or 1.0) * (HEIGHT - 2 * MARGIN)

    path = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in points)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="from {low:.4g} to {high:.4g}">'
        f'<line class="alert" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{HEIGHT}"/>'
        f'<polyline points="{path}"/></svg>'
    )
