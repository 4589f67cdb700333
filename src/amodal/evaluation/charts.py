"""Small charts as inline SVG: bars over occlusion bins and a histogram. No scripts, no fonts, nothing from outside.

Drawn without matplotlib, which is larger than the core and all that it needs, OpenCV aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "curves", "histogram"]

COLOURS = ("#1764ab", "#8a8a8a", "#d07a1f", "#2f8f5b", "#8e44ad", "#b03a2e")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 260, 44, 34, 12


def _frame(parts: Sequence[str], title: str, height: int = HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="11"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )


def _axis() -> list[str]:
    """Lines and labels at 0, 20, ... 100 per cent."""
    parts = []
    for share in range(0, 101, 20):
        y = _height(share / 100)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{share}</text>')
    return parts


def _height(value: float) -> float:
    return HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP)


def curves(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float] | None]],
) -> str:
    """Values with intervals over labelled places, one line a series.

    Args:
        title: for screen readers.
        labels: of the places on the horizontal axis.
        series: name to one (value, low, high) in [0, 1] per label; None where undefined.
    """
    parts = _axis()
    step = (WIDTH - LEFT - 20) / max(len(labels), 1)
    for k, label in enumerate(labels):
        x = LEFT + step * (k + 0.5)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{escape(label)}</text>')
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = []
        for k, entry in enumerate(values):
            if entry is None:
                continue
            x = LEFT + step * (k + 0.5) + 6 * (number - len(series) / 2)
            value, low, high = (_height(v) for v in entry)
            points.append(f"{x:.1f},{value:.1f}")
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{value:.1f}" r="3.5" fill="{colour}"/>')
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        x = LEFT + 10 + 150 * number
        parts.append(f'<rect x="{x}" y="{HEIGHT - 13}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="{HEIGHT - 4}">{escape(name)}</text>')
    return _frame(parts, title)


def histogram(title: str, values: NDArray[np.float64], bins: int = 20) -> str:
    """How many of the values (n,) in [0, 1] fall in each of `bins` steps; NaN is left out."""
    counts, _ = np.histogram(values[~np.isnan(values)], bins=bins, range=(0.0, 1.0))
    top = max(int(counts.max(initial=0)), 1)
    width = (WIDTH - LEFT - 20) / bins
    parts = [f'<text x="{LEFT - 6}" y="{_height(1) + 4:.1f}" text-anchor="end" fill="#555">{top}</text>']
    for k, number in enumerate(counts.tolist()):
        y, x = _height(number / top), LEFT + k * width
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" fill="{COLOURS[0]}">'
            f"<title>{k / bins:.2f} to {(k + 1) / bins:.2f}: {number}</title></rect>"
        )
    for k in range(0, bins + 1, 4):
        label = f"{100 * k / bins:.0f}"
        parts.append(f'<text x="{LEFT + k * width:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{label}</text>')
    return _frame(parts, title)
