"""Small charts of a finding's series."""

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT, MARGIN = 260, 56, 4
Points = Sequence[tuple[float, float]]


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


def svg(points: Points) -> str:
    """The series as an inline SVG with a line at the alert's time; empty with less than two points."""
    if len(points) < 2:
        return ""
    times, values = [time for time, _ in points], [value for _, value in points]
    left, right = min(*times, 0.0), max(*times, 0.0)
    low, high = min(values), max(values)

    def x(time: float) -> float:
        return MARGIN + (time - left) / ((right - left) or 1.0) * (WIDTH - 2 * MARGIN)

    heights = (HEIGHT - MARGIN - part * (HEIGHT - 2 * MARGIN) for part in _fractions(values))
    path = " ".join(f"{x(time):.1f},{height:.1f}" for time, height in zip(times, heights, strict=True))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="from {low:.4g} to {high:.4g}">'
        f'<line class="alert" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{HEIGHT}"/>'
        f'<polyline points="{path}"/></svg>'
    )
