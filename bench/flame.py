"""A flame graph as an SVG that any browser opens; the widths are shares of all samples."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any

WIDTH, HEIGHT, FONT = 1200, 16, 11
_NARROWEST = 0.4  # pixels


def graph(stacks: Counter[Any], title: str) -> str:
    """Stacks are tuples of (file, function), outermost first."""
    boxes: list[str] = []
    deepest = _draw(boxes, Counter(stacks), 0, 0.0, WIDTH / max(1, sum(stacks.values())))
    height = (deepest + 2) * HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="4" y="{FONT}">{html.escape(title)}</text>\n' + "\n".join(boxes) + "\n</svg>\n"
    )


def _draw(boxes: list[str], stacks: Counter[Any], depth: int, left: float, unit: float) -> int:
    """Draw what stands at this depth, and what is above it; returns the greatest depth."""
    groups: dict[Any, Counter[Any]] = {}
    for stack, count in stacks.items():
        if len(stack) > depth:
            groups.setdefault(stack[depth], Counter())[stack] += count
    deepest = depth
    for (file, function), inner in sorted(groups.items()):
        width = sum(inner.values()) * unit
        if width >= _NARROWEST:
            boxes.append(_box(file, function, depth, left, width))
            deepest = max(deepest, _draw(boxes, inner, depth + 1, left, unit))
        left += width
    return deepest


def _box(file: str, function: str, depth: int, left: float, width: float) -> str:
    name = html.escape(f"{function} ({file})")
    colour = f"hsl({sum(map(ord, file)) % 60}, 80%, 70%)"
    top = (depth + 1) * HEIGHT
    shown = html.escape(function[: int(width / (FONT * 0.62))])
    return (
        f'<g><title>{name}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{HEIGHT - 1}" fill="{colour}"/>'
        f'<text x="{left + 2:.1f}" y="{top + FONT + 1}">{shown}</text></g>'
    )
